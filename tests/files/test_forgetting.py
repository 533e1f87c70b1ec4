"""Forgetting: removed files give their room back when nobody can have them back, and nothing else ever goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.files.house import House, house_of
from tests.files.test_memory import see

from worldos.errors import Unreachable
from worldos.files import logs
from worldos.files.about import About
from worldos.files.files import Files
from worldos.files.forgetting import ForgettingLoop, forget_now
from worldos.files.limits import FORGET_FIRST_S
from worldos.files.sharing import resealed
from worldos.home import Home
from worldos.store import keys
from worldos.store.limits import DAY_NS
from worldos.store.manifest import share_ids
from worldos.store.ops import FileRef

DATA = os.urandom(400_000)
OTHER = os.urandom(300_000)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_of(tmp_path) as made:
        yield made


def shares_of(files: Files, name: str) -> list[bytes]:
    opened = files.session.shelf.opened(files.ref(name))
    return [share for segment in opened.made.segments for share in share_ids(segment, opened.verify)]


def kept(house: House, shares: list[bytes]) -> int:
    """How many of these shares are in any depot."""
    stores = [depot.store for depot in house.five.depots if depot.store is not None]
    return sum(size > 0 for store in stores for size in store.have(shares))


def days_pass(house: House, begin_ns: int, days: int, *homes: Home) -> int:
    """Let the keepers of these homes look every second day; return the day after."""
    both = [(home, house.stores(home)) for home in homes or (house.desk, house.laptop)]
    try:
        for day in range(0, days, 2):
            for home, stores in both:
                forget_now(home, stores, begin_ns + day * DAY_NS)
    finally:
        for _, stores in both:
            stores.close()
    return begin_ns + days * DAY_NS


def put_and_remove(house: House) -> tuple[list[bytes], int]:
    with house.files(house.desk) as desk:
        desk.put(OTHER, "keep/other.bin")
        about: About = desk.put(DATA, "gone/plan.bin")
        shares = shares_of(desk, "gone/plan.bin")
        desk.remove("gone", recursive=True)
    return shares, about.modified_ns


def test_after_30_days_that_all_know_of_the_shares_of_a_removed_file_are_dropped(house: House) -> None:
    shares, begin_ns = put_and_remove(house)
    assert kept(house, shares) == len(shares)
    next_ns = days_pass(house, begin_ns, 28)
    assert kept(house, shares) == len(shares)
    with house.files(house.laptop) as laptop:
        see(laptop, "keep/other.bin")
        laptop.undelete("gone/plan.bin")
        assert laptop.read("gone/plan.bin") == DATA
        laptop.remove("gone/plan.bin")
    next_ns = days_pass(house, next_ns, 28)
    assert kept(house, shares) == len(shares)
    days_pass(house, next_ns, 8)
    assert kept(house, shares) == 0
    with house.files(house.laptop) as laptop:
        assert laptop.read("keep/other.bin") == OTHER
        others = shares_of(laptop, "keep/other.bin")
        assert kept(house, others) == len(others)


def test_no_carer_looks_after_what_was_let_go(house: House) -> None:
    with house.files(house.desk) as desk:
        desk.put(DATA, "plan.bin")
        verify = desk.session.shelf.opened(desk.ref("plan.bin")).verify
        about = desk.stat("plan.bin")
        desk.remove("plan.bin")
    locator = keys.locator_of(verify)
    assert locator in cared_for(house)
    days_pass(house, about.modified_ns, 36)
    assert locator not in cared_for(house)


def cared_for(house: House) -> set[bytes]:
    stores = [depot.store for depot in house.five.depots if depot.store is not None]
    return {care.locator for store in stores for care in store.cares(b"", 1000)}


def test_a_device_that_does_not_know_keeps_everything(house: House) -> None:
    shares, begin_ns = put_and_remove(house)
    days_pass(house, begin_ns, 40, house.desk)
    assert kept(house, shares) == len(shares)


def test_segments_that_another_file_uses_stay(house: House) -> None:
    with house.files(house.desk) as desk:
        desk.put(DATA, "plan.bin")
        ref = desk.ref("plan.bin")
        shares = shares_of(desk, "plan.bin")
        write = os.urandom(32)
        logs.append(desk.session.stores.reachable(), [resealed(desk, write, ref, "again.bin", 1)])
        desk.name("again.bin", FileRef(write=write, size_bytes=ref.size_bytes, digest=ref.digest))
        about = desk.stat("plan.bin")
        desk.remove("plan.bin")
    next_ns = days_pass(house, about.modified_ns, 36)
    assert kept(house, shares) == len(shares)
    with house.files(house.laptop) as laptop:
        see(laptop, "again.bin")
        assert laptop.read("again.bin") == DATA
        laptop.remove("again.bin")
    days_pass(house, next_ns, 36)
    assert kept(house, shares) == 0


def test_a_store_that_slept_drops_its_part_when_its_own_device_forgets(house: House) -> None:
    shares, begin_ns = put_and_remove(house)
    next_ns = days_pass(house, begin_ns, 28)
    house.five.depots[1].end()
    days_pass(house, next_ns, 8, house.desk)
    house.five.depots[1].start()
    assert kept(house, shares) == len(shares) // 5
    days_pass(house, next_ns, 8, house.laptop)
    assert kept(house, shares) == 0


def test_what_came_back_is_struck_out_of_what_is_leaving(house: House) -> None:
    shares, begin_ns = put_and_remove(house)
    days_pass(house, begin_ns, 4)
    leaving = house.desk.path / "files" / "leaving"
    assert len(msgspec.msgpack.decode(leaving.read_bytes())) == 1
    with house.files(house.desk) as desk:
        desk.undelete("gone/plan.bin")
    next_ns = days_pass(house, begin_ns + 4 * DAY_NS, 40)
    assert msgspec.msgpack.decode(leaving.read_bytes()) == {}
    assert kept(house, shares) == len(shares)
    leaving.write_bytes(b"\xc1")
    days_pass(house, next_ns, 2)
    assert kept(house, shares) == len(shares)


def test_nothing_goes_while_a_manifest_that_counts_cannot_be_read(house: House) -> None:
    shares, begin_ns = put_and_remove(house)
    with house.files(house.desk) as desk:
        desk.name("lost.bin", FileRef(write=os.urandom(32), size_bytes=9, digest=bytes(32)))
    next_ns = days_pass(house, begin_ns, 28)
    with pytest.raises(Unreachable, match="not all manifests"):
        days_pass(house, next_ns, 6)
    assert kept(house, shares) == len(shares)


def test_the_keeper_looks_now_and_then_and_not_at_once(house: House) -> None:
    loop = ForgettingLoop(house.desk, house.stores(house.desk))
    due_ns = loop.step(1_000)
    assert due_ns == 1_000 + round(FORGET_FIRST_S * 1e9)
    assert loop.step(due_ns) > due_ns + DAY_NS // 5
