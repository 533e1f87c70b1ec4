"""The registry: what this machine has, what it tells of it and when, and whose word about others is taken."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.offers import offer

from worldos.kernel.leases import Leases
from worldos.kernel.registry import Registry, changed
from worldos.model import limits
from worldos.model.ids import AccountId, NodeId, ResourceId
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.resource import ResourceState, Scanned
from worldos.model.wire import LeaseAsk

ME, A = NodeId("abcdefghijkl"), NodeId("a")
CPU = ResourceId("abcdefgh/cpu/0")
CORES = Scanned(kind="CPU", local="0", name="cpu", unit="milli", capacity=4000, free=4000)
LAMP = Scanned(kind="Power", local="mains", name="mains", unit="piece", capacity=1, free=1, leasable=False)


def registry() -> tuple[Registry, Leases]:
    return Registry(node=ME, owner=AccountId("me"), boot=1, name="desk", place="home"), Leases(node=ME, boot=1)


def scanned(*found: Scanned, now_ns: int = 0) -> tuple[Registry, Leases]:
    table, leases = registry()
    table.scan(now_ns, now_ns + 1000, found or (CORES, LAMP), leases)
    return table, leases


def lend(leases: Leases, milli: int, number: int = 1) -> None:
    need = Need(kind="CPU", amount=milli)
    leases.ask(0, A, LeaseAsk(ask=number, use="u", need=need, resources=(CPU,), ttl_ns=SECOND, hold=False))


def test_a_resource_has_an_id_an_owner_a_place_and_an_address() -> None:
    table, leases = scanned()
    cpu = table.own_offer(leases).resources[0]
    assert (cpu.id, cpu.owner, cpu.place) == (CPU, "me", "home")
    assert cpu.uri == f"wos://{ME}/cpu/0"


def test_what_is_lent_is_not_offered() -> None:
    table, leases = scanned()
    lend(leases, 3000)
    cpu = table.own_offer(leases).resources[0]
    assert (cpu.capacity, cpu.free) == (4000, 1000)


def test_what_cannot_be_leased_is_shown_and_never_free() -> None:
    table, leases = scanned()
    mains = table.own_offer(leases).resources[1]
    assert mains.free == 0
    assert mains.id not in leases.capacity


def test_what_is_kept_to_its_owner_is_lent_to_no_other_account() -> None:
    kept = Scanned(kind="Store", local="depot", name="room", unit="B", capacity=10, free=10, facts={"for": "me"})
    table, _ = scanned(CORES, kept)
    store = ResourceId("abcdefgh/store/depot")
    assert not table.lends_all([CPU])
    table.lends = True
    assert table.lends_all([CPU])
    assert table.lends_all([ResourceId("nothing")])
    assert not table.lends_all([store])
    assert not table.lends_all([CPU, store])


def test_the_state_of_a_resource_follows_its_leases_and_its_history_says_so() -> None:
    table, leases = scanned()
    lend(leases, 1000)
    (notice,) = table.refresh(5, leases)
    assert notice.fields == {"resource": CPU, "state": "in use"}
    assert table.refresh(6, leases) == []
    assert [line.note for line in table.history[CPU]] == ["seen by the scan", "1000 of 4000 milli leased"]


def test_history_is_told_by_the_wall_clock_and_keeps_the_last_lines() -> None:
    table, _ = scanned(now_ns=50)
    assert table.history[CPU][0].at_ns == 1050
    for number in range(200):
        table.note(100, CPU, f"note {number}")
    assert len(table.history[CPU]) == limits.HISTORY_PER_RESOURCE_MAX
    assert table.history[CPU][-1].note == "note 199"


def test_what_is_not_found_any_more_is_offline_and_comes_back_when_it_is() -> None:
    table, leases = scanned()
    table.scan(1, 1, (LAMP,), leases)
    assert table.states[CPU] is ResourceState.OFFLINE
    assert leases.free(CPU) == 0
    assert table.own_offer(leases).resources[0].free == 0
    table.scan(2, 2, (CORES, LAMP), leases)
    assert table.states[CPU] is ResourceState.AVAILABLE
    assert leases.free(CPU) == 4000


def test_in_maintenance_everything_says_so() -> None:
    table, leases = scanned()
    leases.drained = True
    table.refresh(1, leases)
    mine = table.own_offer(leases)
    assert {resource.state for resource in mine.resources} == {ResourceState.MAINTENANCE}
    assert not mine.rules.open


def test_an_offer_is_told_once_then_when_it_changed_and_now_and_then_anyway() -> None:
    table, leases = scanned()
    first = table.tell(SECOND, leases)
    assert first is not None
    assert first.number == 1
    assert table.tell(2 * SECOND, leases) is None
    lend(leases, 1000)
    again = table.tell(2 * SECOND, leases)
    assert again is not None
    assert again.number == 2
    refreshed = table.tell(2 * SECOND + limits.OFFER_REFRESH_NS, leases)
    assert refreshed is not None
    assert refreshed.number == 3


def test_a_change_is_told_at_most_ten_times_a_second() -> None:
    table, leases = scanned()
    table.tell(SECOND, leases)
    lend(leases, 1000)
    assert table.tell(SECOND + limits.OFFER_PERIOD_MIN_NS - 1, leases) is None
    assert table.tell(SECOND + limits.OFFER_PERIOD_MIN_NS, leases) is not None


def test_a_change_below_five_percent_is_not_worth_telling() -> None:
    old = offer("a", cores=4)
    cpu = old.resources[0]
    for free, worth in ((3801, False), (3799, True)):
        moved = msgspec.structs.replace(cpu, free=free)
        new = msgspec.structs.replace(old, resources=(moved, *old.resources[1:]))
        assert changed(old, new) is worth


@pytest.mark.parametrize(
    ("name", "old", "new", "worth"),
    [
        ("load_percent", 10, 14, False),
        ("load_percent", 10, 16, True),
        ("battery", False, True, True),
        ("speed_mips", 10_000, 10_400, False),
        ("speed_mips", 10_000, 11_000, True),
        ("arch", "x86_64", "arm64", True),
    ],
)
def test_facts_may_drift_a_little(name: str, old: object, new: object, worth: bool) -> None:
    assert changed(offer("a", **{name: old}), offer("a", **{name: new})) is worth


def test_a_new_resource_or_fact_or_address_is_always_worth_telling() -> None:
    old = offer("a")
    assert changed(old, msgspec.structs.replace(old, resources=old.resources[:1]))
    assert changed(old, msgspec.structs.replace(old, facts={}))
    assert changed(old, msgspec.structs.replace(old, addresses=("10.0.0.1:1",)))
    assert not changed(old, msgspec.structs.replace(old, number=99))


def test_an_offer_is_believed_only_from_the_node_that_it_is_about() -> None:
    table, _ = registry()
    (notice,) = table.hear(NodeId("b"), offer("a"))
    assert notice.name == "offer refused"
    (notice,) = table.hear(ME, offer(ME))
    assert notice.name == "offer refused"
    assert table.offers == {}


def test_an_offer_never_goes_back_in_time() -> None:
    table, _ = registry()
    for boot, number in ((1, 5), (1, 4), (2, 1), (1, 99), (2, 1)):
        table.hear(A, msgspec.structs.replace(offer("a"), boot=boot, number=number))
    assert (table.offers[A].boot, table.offers[A].number) == (2, 1)


def test_who_is_gone_offers_nothing() -> None:
    table, _ = registry()
    table.hear(A, offer("a"))
    table.drop(A)
    table.drop(A)
    assert table.offers == {}


def test_a_machine_that_finds_too_much_offers_the_first_of_it() -> None:
    many = tuple(msgspec.structs.replace(CORES, local=str(n)) for n in range(limits.RESOURCES_PER_NODE_MAX + 100))
    table, leases = scanned(*many)
    assert len(table.own_offer(leases).resources) == limits.RESOURCES_PER_NODE_MAX


def test_things_that_come_and_go_under_ever_new_names_do_not_pile_up() -> None:
    table, leases = scanned()
    for number in range(limits.RESOURCES_PER_NODE_MAX + 100):
        table.scan(number, number, (CORES, msgspec.structs.replace(LAMP, local=f"stick {number}")), leases)
    assert len(table.own_offer(leases).resources) == limits.RESOURCES_PER_NODE_MAX


def test_an_offer_that_is_told_late_is_a_whole_one() -> None:
    table, leases = scanned()
    told = table.tell(50 * MS, leases)
    assert told == table.offers[ME]
