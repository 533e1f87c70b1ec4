"""Trash and compaction: room comes back, and what was restored or moved meanwhile is never harmed."""

from __future__ import annotations

import os
from pathlib import Path

from worldos.depot.block_store import BlockStore
from worldos.depot.index import State
from worldos.errors import BadRequest
from worldos.store.pack import Kind

MIB = 1 << 20
NOW_NS = 10**18


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def opened(folder: Path, *, pack_bytes: int = 1 << 30) -> BlockStore:
    return BlockStore(folder, capacity_bytes=1 << 34, pack_bytes=pack_bytes, now_ns=lambda: NOW_NS)


def test_emptying_gives_room_back_at_once_and_no_more_than_is_wanted(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(6):
            store.put(name(number), os.urandom(MIB))
        store.drop([name(number) for number in range(4)])
        before = store.disk_bytes
        freed = store._trash.empty(NOW_NS + 1, MIB)
        assert MIB <= freed < 3 * MIB
        assert store.disk_bytes == before - freed
        left = [number for number in range(4) if store.restore([name(number)])]
        assert len(left) == 4 - freed // (MIB - 8192)
        assert store.scrub().bad == ()


def test_a_share_that_was_restored_meanwhile_is_not_emptied(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        data = os.urandom(MIB)
        store.put(name(1), data)
        store.drop([name(1)])
        row = store._index.share(name(1))
        assert row is not None
        store.restore([name(1)])
        assert not store._index.purge(name(1), row)
        assert store._trash.empty(NOW_NS + 1, 0) == 0
        assert store.get(name(1)) == data


def test_a_restore_that_came_too_late_stays_undone_after_a_crash(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put(name(1), os.urandom(MIB))
        store.drop([name(1)])
        row = store._index.share(name(1))
        assert row is not None
        store._trash.empty(NOW_NS + 1, 0)
        store._index.take_state(Kind.RESTORE, [name(1)], row.state_order + 1, 0)
        after = store._index.share(name(1))
        assert after is not None
        assert after.state == State.PURGED
        store._say(Kind.RESTORE, [name(1)])  # the frame is in the pack all the same
    (tmp_path / "index").unlink()
    with opened(tmp_path) as store:
        assert store.have([name(1)]) == [-1]


def test_compaction_moves_shares_in_every_state_and_keeps_their_states(tmp_path: Path) -> None:
    with opened(tmp_path, pack_bytes=60_000) as store:
        data = {number: os.urandom(1000) for number in range(100)}
        for number, share in data.items():
            store.put(name(number), share)
        store.drop([name(number) for number in data if number % 4])
        store._trash.empty(NOW_NS + 1, 50_000_000)
        store.put(name(1), data[1])  # over what was given up
        store.drop([name(4)])
        store.drop([name(8)])
        store.restore([name(8)])
        packs = len(store._packs.numbers())
        while store.tidy():
            pass
        assert len(store._packs.numbers()) < packs
    for turn in range(2):
        if turn:
            (tmp_path / "index").unlink()
        with opened(tmp_path) as store:
            here = {number for number in data if number % 4 == 0 or number == 1} - {4}
            assert {number for number, size in enumerate(store.have([name(n) for n in data])) if size >= 0} == here
            assert all(store.get(name(number)) == data[number] for number in here)
    with opened(tmp_path) as store:
        assert store.restore([name(4)]) == 1
        assert store.get(name(4)) == data[4]


def test_a_pack_with_a_frame_that_cannot_be_moved_stays(tmp_path: Path) -> None:
    with opened(tmp_path, pack_bytes=60_000) as store:
        for number in range(60):
            store.put(name(number), bytes([number]) * 1500)
        store.drop([name(number) for number in range(60) if number != 2])
        store._trash.empty(NOW_NS + 1, 0)
        file = store._packs.file(0)
        with file.open("r+b") as out:
            out.seek(file.read_bytes().index(bytes([2]) * 1500) + 700)
            out.write(b"!")
        store._trash.compact()
        assert 0 in store._packs.numbers()
        assert store.scrub().bad == (name(2),)
        while store._trash.compact():
            pass
        try:
            store.get(name(2))
        except BadRequest:
            return
        raise AssertionError("a damaged share was served")
