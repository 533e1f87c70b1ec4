"""Logs between real depots: pushed when written, pulled after an absence, and one bad store spoils nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.files.depots import ACCOUNT, Depot, Site

from worldos.depot.link import StoreLink
from worldos.depot.wire import Append, Who
from worldos.files.syncing import Peers, Syncing
from worldos.store.entry import Entry, sign_entry
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(b"k" * 32)
NOW_NS = 1


def entry(log: int, seq: int, body: bytes = b"body", *, register: bool = False) -> Entry:
    return sign_entry(KEY, log.to_bytes(32, "big"), seq, body, register=register)


def syncing_of(site: Site, depot: Depot, *, foreign: tuple[int, ...] = ()) -> Syncing:
    """The loop of one depot's keeper; ``foreign`` depots are other people's."""
    stores = site.stores(depot.number)

    def peers() -> Peers:
        stores.refresh(at_once=True)
        others = [store for store in stores.reachable() if not store.at.here]
        strange = {site.depots[number].node for number in foreign}
        return Peers(
            tuple(store for store in others if store.at.node not in strange),
            tuple(store for store in others if store.at.node in strange),
        )

    assert depot.store is not None
    loop = Syncing(depot.store, peers)
    assert depot.server is not None
    depot.server.heard = lambda who, request: (
        loop.heard(request.entries) if isinstance(request, Append) and who.node == depot.node else None
    )
    return loop


def until(condition: Callable[[], bool], loop: Syncing, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        loop.step(NOW_NS)
        assert time.monotonic() < end_s


def write(depot: Depot, *entries: Entry) -> None:
    """Append as a program of that machine does."""
    with StoreLink.open(depot.path, Who(node=depot.node, account=ACCOUNT, rights="own")) as link:
        link.append(entries).result(30)


def has(depot: Depot, wanted: Entry) -> bool:
    assert depot.store is not None
    return wanted in depot.store.read_log(wanted.log)


def test_what_a_program_writes_is_on_all_depots_within_two_seconds(five: Site) -> None:
    here = five.depots[0]
    loop = syncing_of(five, here)
    loop.step(NOW_NS)
    written = entry(1, 1)
    write(here, written)
    begun_s = time.monotonic()
    until(lambda: all(has(depot, written) for depot in five.depots), loop)
    assert time.monotonic() - begun_s < 15, "the usual round is a minute"


def test_what_came_from_another_device_is_not_pushed_back(five: Site) -> None:
    here, there = five.depots[:2]
    loop = syncing_of(five, here)
    written = entry(1, 1)
    with StoreLink.open(here.path, Who(node=there.node, account=ACCOUNT, rights="own")) as link:
        link.append([written]).result(30)
    loop.step(NOW_NS)
    assert not has(five.depots[2], written)


def test_who_was_away_pulls_logs_registers_and_cares(five: Site) -> None:
    here, there = five.depots[0], five.depots[3]
    many = [entry(2, seq, b"x" * 2000) for seq in range(1, 300)]
    write(there, *many, entry(3, 7, b"new", register=True))
    write(here, *many[:10], entry(3, 5, b"old", register=True))
    assert there.store is not None
    assert here.store is not None
    there.store.care(b"l" * 32, b"v" * 32, ACCOUNT)
    loop = syncing_of(five, here)
    found: list[bytes] = []
    loop._found = lambda care: found.append(care.locator)
    loop.step(NOW_NS)
    assert has(here, many[-1])
    assert found == [b"l" * 32]
    last = here.store.last((3).to_bytes(32, "big"))
    assert last is not None
    assert last.body == b"new"
    assert here.store.cares()[0].verify == b"v" * 32


def test_an_entry_missing_in_the_middle_is_fetched(five: Site) -> None:
    here, there = five.depots[:2]
    write(there, entry(2, 1), entry(2, 2), entry(2, 3))
    write(here, entry(2, 1), entry(2, 3))
    loop = syncing_of(five, here)
    loop.step(NOW_NS)
    assert has(here, entry(2, 2))


def test_a_log_that_another_key_began_here_keeps_nothing_else_out(five: Site) -> None:
    here, there = five.depots[:2]
    other = DeviceKey.from_seed(b"o" * 32)
    stolen = (4).to_bytes(32, "big")
    write(here, sign_entry(other, stolen, 1, b"squatter", register=True))
    write(there, entry(4, 1, b"real", register=True), entry(5, 1, b"fine", register=True))
    loop = syncing_of(five, here)
    loop.step(NOW_NS)
    assert has(here, entry(5, 1, b"fine", register=True))
    assert loop.refused == 1


def test_a_depot_that_ends_and_comes_back_is_brought_up_to_date(five: Site) -> None:
    here, away = five.depots[:2]
    loop = syncing_of(five, here)
    loop.step(NOW_NS)
    away.end()
    write(here, entry(6, 1))
    loop.step(NOW_NS)
    away.start()
    theirs = syncing_of(five, away)
    until(lambda: has(away, entry(6, 1)), theirs)


def test_a_small_site_leaves_its_logs_with_the_stores_that_it_leases(five: Site) -> None:
    here = five.depots[0]
    loop = syncing_of(five, here, foreign=(1, 2, 3, 4))
    write(here, entry(7, 1), entry(8, 3, register=True))
    until(lambda: all(has(depot, entry(7, 1)) for depot in five.depots[1:3]), loop)
    assert sum(has(depot, entry(8, 3, register=True)) for depot in five.depots) == 4, "four in all, no more"


def test_a_large_site_leaves_nothing_with_others(five: Site) -> None:
    here = five.depots[0]
    loop = syncing_of(five, here, foreign=(4,))
    write(here, entry(7, 1))
    loop.step(NOW_NS)
    loop.step(NOW_NS)
    assert not has(five.depots[4], entry(7, 1))
