"""A scrub reads everything once, in steps, and finds a header that went bad as well as a body."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldos.depot.block_store import BlockStore
from worldos.errors import BadRequest


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def opened(folder: Path) -> BlockStore:
    return BlockStore(folder, capacity_bytes=1 << 34, pack_bytes=50_000)


def test_steps_of_any_size_see_everything_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(40):
            store.put(name(number), os.urandom(100 * number))
        whole = store.scrub(budget_bytes=1 << 40)
        assert (whole.checked, whole.bad, whole.next) == (40, (), b"")
        for budget in (1, 5000, 100_000):
            checked, cursor = 0, b""
            while True:
                step = store.scrub(cursor, budget)
                checked += step.checked
                cursor = step.next
                if not cursor:
                    break
            assert checked == 40


@pytest.mark.parametrize("at", [0, 5, 30, 60, 70, 90, 900, 1090])
def test_a_byte_that_changed_anywhere_in_a_frame_is_found(tmp_path: Path, at: int) -> None:
    with opened(tmp_path) as store:
        for number in range(20):
            store.put(name(number), bytes([number]) * 1000)
        row = store._index.share(name(7))
        assert row is not None
        with store._packs.file(row.pack).open("r+b") as file:
            file.seek(row.offset + at)
            old = file.read(1)
            file.seek(row.offset + at)
            file.write(bytes([old[0] ^ 0x40]))
        assert store.scrub().bad == (name(7),)
        assert store.have([name(7)]) == [-1]
        assert store.scrub().bad == ()
        assert store.usage().damaged == 1


def test_a_cursor_of_another_kind_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store, pytest.raises(BadRequest):
        store.scrub(b"nowhere")
