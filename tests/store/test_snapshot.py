"""Snapshots: all comes back, only what is looked at is read, and damage is told."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.writers import DEVICES, NAMES, Writers, file_of, picture

from worldos.errors import CorruptFile
from worldos.store.directory import Directory
from worldos.store.ops import Change, Put

LAPTOP = DEVICES[0]


def library() -> Directory:
    """A hundred folders of ten files."""
    directory = Directory()
    ops = tuple(Put(path=f"shelf {number // 10}/{number}", file=file_of(number)) for number in range(1000))
    directory.apply(LAPTOP, 1, Change(at_ns=1, after=0, ops=ops))
    return directory


@given(st.integers(0, 1 << 40))
@settings(max_examples=30)
def test_everything_comes_back_through_any_number_of_snapshots(seed: int) -> None:
    writers = Writers(Random(seed), devices=3)
    for _ in range(25):
        writers.act()
    plain = writers.merged()
    kept = Directory.restore(plain.snapshot())
    for _ in range(3):
        kept = Directory.restore(kept.snapshot())
        kept.get(writers.dice.choice(NAMES))
    assert kept.heads() == plain.heads()
    assert picture(kept) == picture(plain)
    assert [kept.history(name) for name in NAMES] == [plain.history(name) for name in NAMES]
    assert kept.conflicts() == plain.conflicts()
    assert kept.tree.root.live == plain.tree.root.live
    assert kept.dead_caps() == plain.dead_caps()


@given(st.integers(0, 1 << 40))
@settings(max_examples=30)
def test_who_goes_on_from_a_snapshot_sees_what_all_see(seed: int) -> None:
    writers = Writers(Random(seed), devices=3)
    for _ in range(20):
        writers.act()
    for number in range(3):
        writers.directories[number] = Directory.restore(writers.directories[number].snapshot())
    for _ in range(20):
        writers.act()
    again = Directory.restore(writers.directories[0].snapshot())
    for entry in writers.entries():
        again.apply(*entry)
    assert picture(again) == picture(writers.merged())


def test_only_the_folders_that_are_looked_at_are_read() -> None:
    directory = library()
    kept = Directory.restore(directory.snapshot())
    assert [row.path for row in kept.list("shelf 7")] == [f"shelf 7/{number}" for number in range(70, 80)]
    stored = kept.tree.stored
    assert len(getattr(stored, "loaded", ())) == 2
    kept.apply(LAPTOP, 2, Change(at_ns=2, after=1, ops=kept.put("shelf 8/new", file_of(5))))
    assert len(getattr(stored, "loaded", ())) == 3
    directory.apply(LAPTOP, 2, Change(at_ns=2, after=1, ops=directory.put("shelf 8/new", file_of(5))))
    assert picture(Directory.restore(kept.snapshot())) == picture(directory)


def test_what_is_removed_for_good_leaves_nothing_in_the_next_snapshot() -> None:
    directory = Directory()
    empty = len(directory.snapshot())
    directory.apply(LAPTOP, 1, Change(at_ns=1, after=0, ops=directory.put("a/b/c", file_of(1))))
    directory = Directory.restore(directory.snapshot())
    directory.apply(LAPTOP, 2, Change(at_ns=2, after=1, ops=directory.move("a", "z")))
    directory = Directory.restore(directory.snapshot())
    directory.apply(LAPTOP, 3, Change(at_ns=3, after=2, ops=directory.remove("z", recursive=True)))
    day = 86_400_000_000_000
    for now_ns in range(day, 50 * day, day):
        directory = Directory.restore(directory.snapshot())
        directory.forget(now_ns, (LAPTOP,))
    assert not directory.tree.root.spots
    assert len(directory.snapshot()) < empty + 250


@given(st.data())
@settings(max_examples=60)
def test_a_damaged_snapshot_is_told_as_such_or_harmless(data: st.DataObject) -> None:
    whole = bytearray(library().snapshot())
    where = data.draw(st.integers(0, len(whole) - 1))
    whole[where] ^= data.draw(st.integers(1, 255))
    try:
        seen = picture(Directory.restore(bytes(whole)))
    except CorruptFile:
        return
    assert seen == picture(library())


@pytest.mark.parametrize("data", [b"", b"wosdir01", b"wosdir02" + bytes(100), b"wosdir01" + bytes(100)])
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptFile):
        Directory.restore(data)


def test_a_snapshot_cut_short_is_refused_where_it_ends() -> None:
    whole = library().snapshot()
    with pytest.raises(CorruptFile):
        picture(Directory.restore(whole[:-1]))
    with pytest.raises(CorruptFile):
        Directory.restore(whole[:40])
