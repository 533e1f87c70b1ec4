"""Folders brought back: runs of packs, and streams over them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged
from worldos.files.bringing import Span, packed_runs
from worldos.files.files import Files
from worldos.files.limits import PACK_GAP_BYTES
from worldos.store.directory import Named
from worldos.store.ops import FileRef

PACK = random.Random(3).randbytes(100_000)


def row(write: int, offset: int, size_bytes: int) -> tuple[Named, FileRef]:
    ref = FileRef(write=bytes([write]) * 32, packed=True, offset=offset, size_bytes=size_bytes)
    return Named(path=f"{write}/{offset}", real="", file=ref), ref


@given(st.lists(st.tuples(st.integers(0, 99_000), st.integers(0, 1000)), max_size=30), st.integers(1, 7000))
def test_files_of_a_pack_come_out_of_one_stream(places: list[tuple[int, int]], step: int) -> None:
    start = min((offset for offset, _ in places), default=0)
    parts = (memoryview(PACK[at : at + step]) for at in range(start, len(PACK), step))
    span = Span(parts, start)
    for offset, size in sorted(places):
        assert span.take(offset, size) == PACK[offset : offset + size]


def test_a_pack_that_ends_too_soon_is_damaged() -> None:
    with pytest.raises(Damaged):
        Span(iter([memoryview(b"abc")]), 0).take(1, 3)


def test_runs_are_parted_where_another_pack_or_much_else_lies_between() -> None:
    far = 2000 + PACK_GAP_BYTES + 1
    rows = [row(2, 0, 10), row(1, 1000, 1000), row(1, far, 5), row(1, 0, 1000), row(1, 0, 1000)]
    found = [[(ref.write[0], ref.offset) for _, ref in run] for run in packed_runs(rows)]
    assert found == [[(1, 0), (1, 0), (1, 1000)], [(1, far)], [(2, 0)]]


def test_equal_files_are_kept_once_and_all_come_back(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    small, large = os.urandom(50_000), os.urandom(2_500_000)
    for number in range(3):
        (source / f"small{number}").write_bytes(small)
        (source / f"large{number}").write_bytes(large)
    (source / "other").write_bytes(large[:-1] + b"!")
    files.put(source, "kept")
    secrets = {name: files.ref(f"kept/{name}").write for name in ("small0", "small1", "small2", "large0", "large1")}
    assert secrets["small0"] == secrets["small1"] == secrets["small2"]
    assert secrets["large0"] == secrets["large1"]
    assert files.ref("kept/other").write != secrets["large0"]
    files.get("kept", tmp_path / "back")
    for file in source.iterdir():
        assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()
    (source / "late").write_bytes(small)
    files.put(source, "kept")
    assert files.ref("kept/late").write == secrets["small0"]
