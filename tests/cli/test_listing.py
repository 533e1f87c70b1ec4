"""``wos ls``, ``du``, ``history``, ``undelete``: lists as they are drawn, also long ones."""

from __future__ import annotations

import io
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.cli import listing
from worldos.cli.names import when
from worldos.files.about import About, Usage, Version

MANY = 100_000


@given(st.lists(st.integers(0, 90), max_size=60), st.integers(1, 200))
def test_columns_fit_and_hold_every_name(cells: list[int], width: int) -> None:
    rows, widths = listing.columns_for(cells, width)
    assert rows * len(widths) >= len(cells)
    for place, needed in enumerate(cells):
        assert widths[place // rows] >= needed + listing.GAP_CELLS
    assert len(widths) <= 1 or sum(widths) - listing.GAP_CELLS <= width


def test_short_names_stand_beside_each_other() -> None:
    assert listing.columns_for([3, 3, 3, 3], 80) == (1, [5, 5, 5, 5])
    assert listing.columns_for([3, 3, 3, 3], 10) == (2, [5, 5])


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("ü", 1), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_a_name_takes_as_many_cells_as_the_terminal_gives_it(text: str, cells: int) -> None:
    assert listing.cell_len(text) == cells


def said_of(entries: list[About], monkeypatch: pytest.MonkeyPatch, *, long: bool) -> str:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    labels = [(entry, listing._label(entry, whole=False)) for entry in entries]
    (listing._print_long if long else listing._print_short)(labels, coloured=False)
    return out.getvalue()


def test_a_long_list_says_size_time_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    at_ns = 1_700_000_000_000_000_000
    entries = [
        About(name="a/photos", folder=True, modified_ns=at_ns),
        About(name="a/big.bin", size_bytes=4_200_000, modified_ns=at_ns),
        About(name="a/none", size_bytes=0, modified_ns=0),
        About(name="a/link", target="big.bin", modified_ns=at_ns),
    ]
    date = when(at_ns)
    assert said_of(entries, monkeypatch, long=True).splitlines() == [
        f"           {date}  photos/",
        f"   4.2 MB  {date}  big.bin",
        "        0                    none",
        f"        0  {date}  link -> big.bin",
    ]


def test_in_a_pipe_each_name_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [About(name="x/b", folder=True), About(name="x/a\u00df")]
    assert said_of(entries, monkeypatch, long=False) == "b/\na\u00df\n"


@pytest.mark.parametrize("long", [False, True])
def test_a_hundred_thousand_names_are_written_in_a_moment(monkeypatch: pytest.MonkeyPatch, *, long: bool) -> None:
    entries = [
        About(name=f"d/{number:06} \u00fc", size_bytes=number, modified_ns=time.time_ns()) for number in range(MANY)
    ]
    assert said_of(entries, monkeypatch, long=long).count("\n") == MANY


def test_the_state_of_a_version_is_said_in_a_word() -> None:
    said = [
        listing._state(Version(id="1", name="a", at_ns=1, device="d", current=current, removed=removed))
        for current, removed in ((True, False), (False, True), (False, False))
    ]
    assert said == ["is there", "removed", "replaced"]


def test_names_of_others_are_shown_as_they_are() -> None:
    assert listing._usage_row("[bold]x/", Usage(files=2, plain_bytes=2000, stored_bytes=4000)) == (
        "\\[bold]x/",
        2,
        "2.0 kB",
        "4.0 kB",
    )
