"""Files being written: named when they are closed, and only then."""

from __future__ import annotations

import gc
import os

import pytest

from worldos.files.files import Files


def test_closing_twice_keeps_it_once(files: Files) -> None:
    file = files.writer("a")
    file.write(b"one")
    assert file.writable()
    assert file.tell() == 3
    file.close()
    file.close()
    assert files.read("a") == b"one"
    assert len(files.history("a")) == 1
    with pytest.raises(ValueError, match="closed"):
        file.write(b"more")


def test_what_nobody_closed_is_not_kept(files: Files) -> None:
    file = files.writer("a")
    file.write(os.urandom(100_000))
    del file
    gc.collect()
    assert not files.exists("a")
    assert files.usage().stored_bytes == 0


def test_pieces_of_any_size_make_one_file(files: Files) -> None:
    pieces = [os.urandom(size) for size in (1, 4095, 1, 100_000, 0, 3_000_000)]
    with files.writer("a") as file:
        for piece in pieces:
            file.write(piece)
    assert files.read("a") == b"".join(pieces)


def test_many_at_once_do_not_mix(files: Files) -> None:
    open_files = [files.writer(f"n{number}") for number in range(6)]
    for turn in range(3):
        for number, file in enumerate(open_files):
            file.write(bytes([number + turn]) * 30_000)
    for file in open_files:
        file.close()
    for number in range(6):
        assert files.read(f"n{number}") == b"".join(bytes([number + turn]) * 30_000 for turn in range(3))
