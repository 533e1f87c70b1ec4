"""What is missing is made again by whoever is there, and what only sleeps is not: real depots, real files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import until
from tests.files.carers import DAY_NS, Carer, carers
from tests.files.depots import Depot, Site, files_of, site

from worldos.files.files import Files
from worldos.store.limits import LEAF_BYTES

pytestmark = pytest.mark.slow

DATA = os.urandom(300_000)


@pytest.fixture
def nine() -> Iterator[Site]:
    with site(9) as made:
        yield made


@pytest.fixture
def all_carers(nine: Site) -> Iterator[list[Carer]]:
    with carers(nine) as made:
        yield made


@pytest.fixture
def nine_files(nine: Site, tmp_path: Path) -> Iterator[Files]:
    with files_of(nine, tmp_path / "home") as opened:
        yield opened


def shares_at(depot: Depot) -> int:
    assert depot.store is not None
    return sum(owned.count for owned in depot.store.usage().owned if owned.kind == "share")


def whole(files: Files, name: str = "file") -> bool:
    files.session.stores.refresh(at_once=True)
    found = files.status(name)[0]
    return found.debt == 0 and found.survives == found.n - found.k


def wipe(depot: Depot) -> None:
    """Lose the disk; come back empty."""
    depot.end()
    shutil.rmtree(depot.folder)
    depot.start()


def test_wiped_stores_are_filled_again_without_the_owner(
    nine: Site, nine_files: Files, all_carers: list[Carer]
) -> None:
    nine_files.put(DATA, "file")
    carer = all_carers[0]
    carer.until(lambda: whole(nine_files))
    for depot in nine.depots[3:6]:
        wipe(depot)
    assert not whole(nine_files)
    carer.until(lambda: whole(nine_files))
    for depot in nine.depots[6:9]:
        depot.end()
    assert nine_files.read("file") == DATA


def test_a_sleeping_store_is_left_alone_and_a_lost_one_is_not(tmp_path: Path) -> None:
    with site(7) as seven, carers(seven) as all_carers, files_of(seven, tmp_path / "home") as files:
        files.put(DATA, "file")
        carer = all_carers[0]
        carer.until(lambda: whole(files))
        gone = next(depot for depot in seven.depots[1:] if shares_at(depot))
        gone.end()
        carer.look_anew()
        carer.live(1)
        for _ in range(4):
            carer.step(400)
        assert carer.caring.repaired == 0, "it only sleeps"
        carer.watch.give_up(gone.node)
        carer.until(lambda: carer.caring.repaired > 0)
        carer.until(lambda: whole(files))
        gone.start()
        carer.step(150)
        assert whole(files), "what it brings back does no harm"


def test_a_debt_of_a_write_is_paid_when_the_device_is_back(
    nine: Site, nine_files: Files, all_carers: list[Carer]
) -> None:
    for depot in nine.depots[4:]:
        depot.end()
    nine_files.session.stores.refresh(at_once=True)
    nine_files.put(DATA, "file")
    assert nine_files.read("file") == DATA
    for depot in nine.depots[4:]:
        depot.start()
    carer = all_carers[0]
    carer.until(lambda: whole(nine_files))
    for depot in nine.depots[:3]:
        depot.end()
    nine_files.session.stores.refresh(at_once=True)
    assert nine_files.read("file") == DATA


def test_what_rotted_is_found_by_a_scrub_and_made_again(nine: Site, nine_files: Files, all_carers: list[Carer]) -> None:
    nine_files.put(DATA, "file")
    carer = all_carers[0]
    carer.until(lambda: whole(nine_files))
    depot = next(each for each in nine.depots[1:] if shares_at(each))
    depot.end()
    pack = max(depot.folder.glob("packs/*"), key=lambda file: file.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[LEAF_BYTES * 2] ^= 1
    pack.write_bytes(raw)
    depot.start()
    assert depot.store is not None
    found = depot.store.scrub(b"", 1 << 30)
    if not found.bad:
        pytest.skip("the bit that was flipped lies in no share")
    assert not whole(nine_files)
    carer.until(lambda: whole(nine_files))


def test_a_copy_too_many_goes_after_a_month_and_not_before(tmp_path: Path) -> None:
    with site(7) as seven, carers(seven) as all_carers, files_of(seven, tmp_path / "home") as files:
        files.put(DATA, "file")
        carer = all_carers[0]
        carer.until(lambda: whole(files))
        gone = next(depot for depot in seven.depots[1:] if shares_at(depot))
        gone.end()
        carer.watch.give_up(gone.node)
        carer.until(lambda: whole(files))
        gone.start()
        carer.step(150)
        kept = sum(map(shares_at, seven.depots))
        carer.until(lambda: whole(files))
        all_carers[gone.number].end()
        all_carers[gone.number] = Carer(seven, gone)
        for each in all_carers:
            each.run_pass()
        assert sum(map(shares_at, seven.depots)) == kept
        for each in all_carers:
            each.now_ns += 31 * DAY_NS
            each.run_pass()
            each.run_pass()
        until(lambda: sum(map(shares_at, seven.depots)) < kept, "the copies are dropped")
        assert whole(files)


def test_one_carer_at_a_time_does_the_work(nine: Site, nine_files: Files, all_carers: list[Carer]) -> None:
    nine_files.put(DATA, "file")
    for carer in all_carers:
        carer.until(lambda: whole(nine_files))
    wipe(nine.depots[5])
    wipe(nine.depots[6])
    before = sum(carer.caring.repaired for carer in all_carers)
    missing = nine_files.status("file")[0].debt
    for carer in all_carers[:3]:
        carer.step(8)
        carer.step(8)
    assert sum(carer.caring.repaired for carer in all_carers) - before <= missing
    for _ in range(200):
        for carer in all_carers[:3]:
            carer.step(60)
        if whole(nine_files):
            break
    assert whole(nine_files)
    assert sum(carer.caring.repaired for carer in all_carers) - before == missing
