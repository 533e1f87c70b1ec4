"""What a node sends, from a hundred nodes on."""

from __future__ import annotations

import pytest

from worldos.planet.sizes import sizes
from worldos.planet.tree import planet
from worldos.planet.world import UNITS, figures, shapes, slope

SLOPE_MAX = 1.05


def test_the_cost_of_a_node_does_not_grow_with_the_planet() -> None:
    scales = [figures(planet(nodes), sizes()) for nodes in (1000, 10_000, 100_000, 1_000_000)]
    for unit in UNITS:
        fit = slope([float(each.nodes) for each in scales], [each.total(unit) * each.nodes for each in scales])
        assert 0.95 < fit <= SLOPE_MAX, unit


def test_a_slope_is_the_exponent_of_a_power_law() -> None:
    assert slope([10.0, 100.0, 1000.0], [3 * n**1.5 for n in (10.0, 100.0, 1000.0)]) == pytest.approx(1.5)


def test_most_of_what_an_idle_node_says_it_says_inside_its_site() -> None:
    causes = figures(planet(1_000_000), sizes()).by_cause["wire"]
    outside = sum(causes[cause] for cause in ("registers", "summaries", "links above"))
    assert outside < sum(causes.values()) / 100


def test_a_flatter_tree_has_fewer_hops_and_larger_centers() -> None:
    deep, flat = shapes(1_000_000, (5, 2))
    assert (flat.children, flat.hops) == (1000, 5)
    assert (deep.children, deep.hops) == (16, 11)
