"""Filling a page between its marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.planet.pages import filled, said, table, write

PAGE = "text\n<!-- one -->\nold\n<!-- /one -->\nmore\n"


def test_only_what_is_between_the_marks_changes_and_twice_is_as_once() -> None:
    once = filled(PAGE, {"one": "| new |"})
    assert once == "text\n<!-- one -->\n| new |\n<!-- /one -->\nmore\n"
    assert filled(once, {"one": "| new |"}) == once


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places for 'two'"):
        filled(PAGE, {"two": "x"})


def test_numbers_have_as_many_digits_as_mean_something() -> None:
    assert [said(x) for x in (0, 7, 1234.5, 123.45, 1.234, 0.01234, "a")] == [
        "0",
        "7",
        "1,234",
        "123.5",
        "1.23",
        "0.012",
        "a",
    ]


def test_a_table_has_a_row_for_each() -> None:
    assert table(["a", "b"], [["x", 1], ["y", 2.5]]).splitlines()[2:] == ["| x | 1 |", "| y | 2.50 |"]


def test_pictures_lie_beside_the_page(tmp_path: Path) -> None:
    (tmp_path / "planet.md").write_text(PAGE)
    write(tmp_path, {"one": "1"}, {"p": "<svg/>"})
    assert (tmp_path / "planet" / "p.svg").read_text() == "<svg/>"
