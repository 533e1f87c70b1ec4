"""Memory: what is wanted again is read here, what is wrong is not kept, and nobody counts on a copy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.files.depots import Site, files_of, site

from worldos.files import memory as memory_module
from worldos.files.files import Files
from worldos.files.memory import Memory
from worldos.files.stores import Stores
from worldos.store.manifest import share_ids
from worldos.store.ops import FileRef

DATA = os.urandom(3_000_000)


@pytest.fixture
def away(five: Site, tmp_path: Path) -> Iterator[Callable[[], Files]]:
    """The files as programs on the third machine see them, one program after the other."""
    with files_of(five, tmp_path / "desk") as desk:
        desk.put(DATA, "work/plan.bin")
    opened: list[Files] = []

    def open_again() -> Files:
        for each in opened:
            each.close()
        files = files_of(five, tmp_path / "away", 2)
        files.session.follows = True
        opened[:] = [files]
        see(files, "work/plan.bin")
        return files

    yield open_again
    for each in opened:
        each.close()


def see(files: Files, name: str) -> None:
    """Wait until a name is known: on a busy machine a store that keeps the log may be passed over at first."""
    until_s = time.monotonic() + 30
    while not files.exists(name):
        assert time.monotonic() < until_s, f"{name} is not seen"
        files.refresh()


def far_bytes(files: Files) -> int:
    return sum(store.fetched_bytes for store in files.session.stores.known() if not store.at.here)


def kept(files: Files) -> Memory:
    memory = files.session.shelf.memory
    assert memory is not None
    return memory


def test_what_is_wanted_again_is_kept_and_then_read_here(away: Callable[[], Files]) -> None:
    first = away()
    assert first.read("work/plan.bin") == DATA
    assert far_bytes(first) > 0
    assert kept(first).size_bytes == 0  # from near, and for the first time
    second = away()
    assert second.read("work/plan.bin") == DATA
    kept(second).wait()
    assert kept(second).size_bytes > 0
    third = away()
    assert third.read("work/plan.bin") == DATA
    assert third.read("work/plan.bin", 1_000_000, 500) == DATA[1_000_000:1_000_500]
    assert far_bytes(third) == 0
    (standing,) = third.status("work/plan.bin")
    assert standing.near
    assert standing.heat > 0


def test_what_comes_from_far_is_kept_at_once(away: Callable[[], Files], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "FAR_RTT_US", 0)
    files = away()
    assert files.read("work/plan.bin") == DATA
    kept(files).wait()
    before = far_bytes(files)
    assert files.read("work/plan.bin") == DATA
    assert far_bytes(files) == before


def read_until_near(away: Callable[[], Files]) -> Files:
    for _ in range(2):
        files = away()
        files.read("work/plan.bin")
        kept(files).wait()
    files = away()
    files.read("work/plan.bin")
    assert far_bytes(files) == 0
    return files


def test_a_copy_is_no_share_and_does_not_make_a_file_safer(away: Callable[[], Files], five: Site) -> None:
    before = away().status("work/plan.bin")[0]
    files = read_until_near(away)
    after = files.status("work/plan.bin")[0]
    assert (after.devices, after.survives, after.debt) == (before.devices, before.survives, before.debt)
    opened = files.session.shelf.opened(ref_of(files))
    here = five.depots[2].store
    assert here is not None
    for segment in opened.made.segments:
        assert sum(size > 0 for size in here.have(share_ids(segment, opened.verify))) == 1
    assert "cache" in {each.kind for each in here.usage().owned}


def ref_of(files: Files) -> FileRef:
    return files.ref("work/plan.bin")


def test_a_copy_that_was_dropped_is_fetched_again(away: Callable[[], Files], five: Site) -> None:
    files = read_until_near(away)
    drop_copies(files, five)
    assert files.read("work/plan.bin") == DATA
    assert far_bytes(files) > 0


def drop_copies(files: Files, five: Site) -> None:
    opened = files.session.shelf.opened(ref_of(files))
    here = five.depots[2].store
    assert here is not None
    for segment in opened.made.segments:
        here.drop(memory_module._ids(segment, opened.verify))


def test_a_copy_that_goes_while_it_is_read_is_fetched_from_the_others(away: Callable[[], Files], five: Site) -> None:
    files = read_until_near(away)
    parts = files.parts(ref_of(files))
    near = kept(files).near(files.session.shelf.opened(ref_of(files)).made.segments, b"")
    assert near
    drop_copies(files, five)
    assert b"".join(bytes(part) for part in parts) == DATA


def test_wrong_bytes_are_not_kept(away: Callable[[], Files]) -> None:
    files = away()
    opened = files.session.shelf.opened(ref_of(files))
    for segment in opened.made.segments:
        kept(files).keep(segment, opened.verify, memoryview(os.urandom(segment.size_bytes + 4096)), wanted=True)
    kept(files).wait()
    assert kept(files).size_bytes == 0


def test_what_the_disk_has_no_room_for_goes(away: Callable[[], Files], five: Site) -> None:
    files = read_until_near(away)
    here = five.depots[2].store
    assert here is not None
    size = kept(files).size_bytes
    assert size > 0
    five.depots[2].capacity_bytes = 0
    files.session.stores.refresh(at_once=True)
    kept(files).fit()
    assert kept(files).size_bytes == 0
    assert away().read("work/plan.bin") == DATA


def test_two_programs_of_one_home_know_of_each_others_copies(
    five: Site, tmp_path: Path, away: Callable[[], Files]
) -> None:
    files = read_until_near(away)
    with files_of(five, tmp_path / "away", 2) as other:
        other.session.follows = True
        assert kept(other).size_bytes == kept(files).size_bytes
        opened = other.session.shelf.opened(ref_of(other))
        for segment in opened.made.segments:
            kept(other).forget(segment)
        kept(files).fit()
        assert kept(files).size_bytes == 0


@pytest.mark.parametrize("book", [b"", b"\xc1", b"\x93\x63\x90\x80", b"\x91" * 5000])
def test_a_book_that_cannot_be_read_is_begun_anew(away: Callable[[], Files], tmp_path: Path, book: bytes) -> None:
    read_until_near(away).close()
    (tmp_path / "away" / "files" / "memory").write_bytes(book)
    files = away()
    assert kept(files).size_bytes == 0
    assert files.read("work/plan.bin") == DATA


def test_a_machine_without_a_store_keeps_nothing(tmp_path: Path) -> None:
    with site(5) as five:
        with files_of(five, tmp_path / "desk") as desk:
            desk.put(DATA, "work/plan.bin")
        with files_of(five, tmp_path / "away", 0) as files:
            files.session.stores = Stores(lambda: [replace(row, here=False) for row in five.rows()])
            files.session.follows = True
            see(files, "work/plan.bin")
            assert [files.read("work/plan.bin") for _ in range(3)] == [DATA] * 3
            assert kept(files).size_bytes == 0
            assert far_bytes(files) > 2 * len(DATA)
