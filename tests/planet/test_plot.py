"""Plots as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from worldos.planet.plot import Axis, Series, chart

ACROSS = Axis("nodes", 100, 1e8)
UP = Axis("bytes", 1, 1e5)


def test_a_chart_is_well_formed_and_names_all_it_shows() -> None:
    picture = chart(
        "A <title> & more", ACROSS, UP, [Series("one", [(100, 10), (1e8, 1000)]), Series("two", [(1e4, 5)])]
    )
    said = "".join(ET.fromstring(picture).itertext())
    for text in ("A <title> & more", "nodes", "bytes", "one", "two", "10⁴"):
        assert text in said


def test_it_reads_on_a_dark_page_too() -> None:
    assert "prefers-color-scheme:dark" in chart("t", ACROSS, UP, [])


def test_places_on_a_logarithmic_axis_are_equal_steps_for_equal_factors() -> None:
    assert ACROSS.place(1e5) == pytest.approx(0.5)
    assert Axis("x", 0, 10, linear=True).place(2.5) == pytest.approx(0.25)
    assert ACROSS.place(0) == 0


def test_ticks_are_round() -> None:
    assert Axis("x", 0, 37, linear=True).ticks() == [0, 10, 20, 30]
    assert ACROSS.ticks() == [10.0**power for power in range(2, 9)]
    assert Axis("x", 5, 200).ticks() == [5, 10, 20, 50, 100, 200]


def test_a_target_is_a_dashed_line_without_points() -> None:
    picture = chart("t", ACROSS, UP, [Series("target", [(100, 200), (1e8, 200)], dashed=True)])
    assert picture.count("<circle") == 0
    assert 'class="l c0 d"' in picture
