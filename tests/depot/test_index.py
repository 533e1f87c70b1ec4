"""The index: whatever the order in which frames are met, it says the same; counts fit the rows."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.depot.index import Index, State, frame_bytes
from worldos.depot.records import Place, Row
from worldos.errors import CorruptFile
from worldos.store.pack import Kind

ID = b"i" * 32
LOG = b"l" * 32
PUBLIC = b"p" * 32


def share(order: int, *, pack: int = 0, mark: bytes = b"m" * 16) -> Row:
    state = State.ALIVE if mark else State.BAD
    return Row(pack, 64 * order, 16, 100, 100, order, state, order, 0, 0, 0, mark)


def opened() -> Index:
    index = Index(None)
    index.owner_number("ann")
    return index


FRAMES = (
    ("put", 1),
    ("drop", 2),
    ("restore", 3),
    ("bad", 4),
    ("put", 5),
    ("drop", 6),
)


@pytest.mark.parametrize("many", range(1, len(FRAMES) + 1))
def test_frames_say_the_same_in_any_order(many: int) -> None:
    said = set()
    for frames in itertools.permutations(FRAMES[:many]):
        index = opened()
        for what, order in frames:
            if what == "put":
                index.take_share(ID, share(order))
            else:
                index.take_state(Kind[what.upper()], [ID], order, order)
        row = index.share(ID)
        assert row is not None
        said.add((row.state, row.order, row.state_order))
        assert index.alive.get(0, 0) == (frame_bytes(16, 100) if row.state in {State.ALIVE, State.TRASH} else 0)
        assert index.used_by("ann") == (100 if row.state == State.ALIVE else 0)
        assert index.damaged() == (row.state == State.BAD)
        index.close()
    assert len(said) == 1


def test_a_share_whose_bytes_are_gone_never_comes_alive_again() -> None:
    for frames in itertools.permutations(("share", "drop", "restore")):
        index = opened()
        for what in frames:
            if what == "share":
                index.take_share(ID, share(1, mark=b""))
            else:
                index.take_state(Kind[what.upper()], [ID], 2 if what == "drop" else 3, 0)
        row = index.share(ID)
        assert row is not None
        assert row.state in {State.BAD, State.PURGED}
        index.close()


def test_a_copy_that_was_cut_never_takes_the_place_of_a_whole_frame() -> None:
    for states in ((), ("drop", "restore")):
        for frames in itertools.permutations(("whole", "cut")):
            index = opened()
            for frame in frames:
                index.take_share(ID, share(1, pack=0) if frame == "whole" else share(1, pack=1, mark=b""))
            for order, what in enumerate(states, 2):
                index.take_state(Kind[what.upper()], [ID], order, 0)
            index.take_share(ID, share(1, pack=2, mark=b""))
            row = index.share(ID)
            assert row is not None
            assert (row.pack, row.state) == (0, State.ALIVE)
            assert index.alive == {0: frame_bytes(16, 100)} | ({1: 0} if 1 in index.alive else {})
            index.close()


@given(st.permutations([(seq, mark) for seq in (1, 2, 3, 5) for mark in (b"a" * 32, b"b" * 32)]), st.booleans())
def test_logs_are_the_same_in_any_order(entries: list[tuple[int, bytes]], register: bool) -> None:
    index = opened()
    for at, (seq, mark) in enumerate(entries):
        index.take_entry(LOG, seq, Place(0, 64 * at, 1, 10), mark, public=PUBLIC, register=register)
    ((head, public),) = [known for known in [index.head(LOG)] if known]
    assert public == PUBLIC
    assert (head.seq, head.whole) == ((5, 5) if register else (5, 3))
    assert [seq for seq, _ in index.entries(LOG, 0, 9)] == ([5] if register else [1, 2, 3, 5])
    assert head.digest == (b"a" * 32 if register else bytes(32))  # four times the same, each with itself
    assert index.alive[0] == frame_bytes(1, 10) * (1 if register else 4)
    index.close()


def test_an_entry_that_is_lost_is_missed_and_can_come_again() -> None:
    index = opened()
    for seq in (1, 2, 3):
        index.take_entry(LOG, seq, Place(0, 64 * seq, 1, 10), bytes([seq]) * 32, public=PUBLIC, register=False)
    before = index.heads(b"", 9)
    index.lose_entry(LOG, 2)
    assert (index.heads(b"", 9)[0].seq, index.heads(b"", 9)[0].whole) == (3, 1)
    index.take_entry(LOG, 2, Place(1, 64, 1, 10), b"\2" * 32, public=PUBLIC, register=False)
    assert index.heads(b"", 9) == before
    index.close()


def test_cares_follow_the_higher_order() -> None:
    for orders in itertools.permutations(((1, b"v" * 32), (2, b""), (3, b"w" * 32))):
        index = opened()
        for order, verify in orders:
            index.take_care(ID, Place(0, order, 1, len(verify)), order, verify, "ann")
        assert [cared.verify for cared in index.cares(b"", 9)] == [b"w" * 32]
        assert index.care(LOG) is None
        index.close()


def test_what_was_committed_is_there_again_and_the_rest_is_not(tmp_path: Path) -> None:
    index = Index(tmp_path / "index")
    index.owner_number("ann")
    index.take_new_shares([(ID, share(1))])
    index.set_indexed(0, 500, 1)
    index.commit()
    index.take_new_shares([(LOG, share(2))])
    index.set_indexed(0, 900, 2)
    index.close()
    index = Index(tmp_path / "index")
    assert (index.indexed, index.order, index.used_by("ann")) == ((0, 500), 1, 100)
    assert index.sizes([ID, LOG]) == [100, -1]
    index.take_new_shares([(LOG, share(2))])
    assert index.used_by("ann") == 200
    index.roll_back()
    assert (index.used_by("ann"), index.sizes([LOG])) == (100, [-1])
    index.close()


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"no database at all" * 100)
    with pytest.raises(CorruptFile):
        Index(tmp_path / "index")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE shares(id)")
    other.commit()
    other.close()
    with pytest.raises(CorruptFile):
        Index(tmp_path / "other")


def test_what_lies_in_a_pack_is_known_in_its_order_and_forgotten_with_it() -> None:
    index = opened()
    index.take_new_shares([(bytes([n]) * 32, share(n, pack=n % 2)) for n in range(1, 7)])
    index.take_entry(LOG, 1, Place(1, 100, 1, 10), b"a" * 32, public=PUBLIC, register=False)
    assert [place.offset for _, place, _ in index.of_pack(1, 0, 9)] == [64, 100, 192, 320]
    assert [kind for _, _, kind in index.of_pack(1, 65, 2)] == [Kind.ENTRY, Kind.SHARE]
    assert index.is_here(Kind.SHARE, b"\1" * 32, Place(1, 64, 16, 100))
    assert not index.is_here(Kind.SHARE, b"\1" * 32, Place(1, 128, 16, 100))
    index.take_state(Kind.DROP, [b"\1" * 32, b"\2" * 32], 50, 0)
    assert index.still_said([b"\1" * 32, b"\2" * 32, b"\3" * 32], 50) == [b"\1" * 32, b"\2" * 32]
    index.forget_pack(0)
    assert index.still_said([b"\1" * 32, b"\2" * 32], 50) == [b"\1" * 32]
    assert 0 not in index.alive
    index.close()
