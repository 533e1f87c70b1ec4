"""The report is what the page shows."""

from __future__ import annotations

from pathlib import Path

from worldos.planet import agreement, parameters, report
from worldos.planet.sizes import sizes
from worldos.planet.tree import planet
from worldos.planet.world import figures

PAGE = Path(__file__).parents[2] / "docs" / "planet.md"


def test_the_page_has_a_place_for_each_table_and_shows_each_picture() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (
        "scale",
        "causes",
        "sites",
        "saving",
        "checked",
        "trees",
        "starts",
        "levels",
        "centers",
        "depths",
        "needs",
        "losses",
        "doors",
    ):
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1
    for name in ("scale", "sites", "centers", "needs", "doors"):
        assert f"(planet/{name}.svg)" in text
        assert (PAGE.parent / "planet" / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")


def test_every_site_that_was_watched_has_a_row() -> None:
    kept = agreement.load()
    assert len(report.checked(kept).splitlines()) == 2 + len(kept.idle) + len(kept.changing)


def test_the_causes_are_in_order_and_add_up() -> None:
    text = report.causes(figures(planet(10_000), sizes())).splitlines()
    amounts = [float(line.split("|")[-2].replace(",", "")) for line in text[2:]]
    assert amounts[:-1] == sorted(amounts[:-1], reverse=True)
    assert abs(sum(amounts[:-1]) / amounts[-1] - 1) < 0.01


def test_what_was_measured_is_what_the_page_says() -> None:
    assert report.measured_table(parameters.load()) in PAGE.read_text(encoding="utf-8")
