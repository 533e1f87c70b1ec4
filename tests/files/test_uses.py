"""Uses: what was used here is known to the next program and to the keeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.files.uses import Uses, read_book
from worldos.store.heat import DEGREE

NOW_NS = 1_700_000_000 * 1_000_000_000
FILE, OTHER = b"f" * 32, b"o" * 32


class Clock:
    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


def test_the_first_use_is_written_down_at_once_and_more_of_them_together(tmp_path: Path) -> None:
    clock = Clock()
    uses = Uses(tmp_path, "here", clock)
    uses.use(FILE, 100)
    assert read_book(tmp_path).used_ns == NOW_NS
    clock.now_ns += 1
    uses.use(FILE, 100)
    uses.use(OTHER, 5)
    (warm,) = read_book(tmp_path).warm
    assert (warm.file, warm.place, warm.heat, warm.size_bytes) == (FILE, "here", DEGREE, 100)
    uses.write()
    assert {each.file: each.heat for each in read_book(tmp_path).warm} == {FILE: 2 * DEGREE, OTHER: DEGREE}
    assert read_book(tmp_path).used_ns == NOW_NS + 1


def test_two_programs_add_up(tmp_path: Path) -> None:
    clock = Clock()
    first, second = Uses(tmp_path, "here", clock), Uses(tmp_path, "here", clock)
    first.use(FILE, 1)
    second.use(FILE, 1)
    clock.now_ns += 10_000_000_000
    assert first.heat(FILE) == second.heat(FILE) == 2 * DEGREE
    assert first.heat(OTHER) == 0


@pytest.mark.parametrize("book", [b"", b"\xc1", b"\x93\x07\x00\x90", b"\x91" * 5000])
def test_a_book_that_cannot_be_read_is_begun_anew(tmp_path: Path, book: bytes) -> None:
    (tmp_path / "uses").write_bytes(book)
    assert read_book(tmp_path).warm == ()
    Uses(tmp_path, "here").use(FILE, 1)
    assert len(read_book(tmp_path).warm) == 1
