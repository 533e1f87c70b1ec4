"""The report is what the page shows."""

from __future__ import annotations

from pathlib import Path

from worldos.planet import agreement, report
from worldos.planet.sizes import sizes
from worldos.planet.tree import planet
from worldos.planet.world import figures

PAGE = Path(__file__).parents[2] / "docs" / "planet.md"


def test_the_agreement_on_the_page_is_the_one_that_was_kept() -> None:
    assert report.checked(agreement.load()) in PAGE.read_text(encoding="utf-8")


def test_the_causes_are_in_order_and_add_up() -> None:
    text = report.causes(figures(planet(10_000), sizes())).splitlines()
    amounts = [float(line.split("|")[-2].replace(",", "")) for line in text[2:]]
    assert amounts[:-1] == sorted(amounts[:-1], reverse=True)
    assert abs(sum(amounts[:-1]) / amounts[-1] - 1) < 0.01
