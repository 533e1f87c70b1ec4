"""The tree of realms over the cities."""

from __future__ import annotations

import numpy as np
import pytest

from worldos.planet.cities import distance_km
from worldos.planet.tree import SITE_NODES_MAX, SITE_NODES_MIN, planet


@pytest.mark.parametrize("nodes", [100, 1000, 10_000, 1_000_000])
def test_every_node_is_in_a_site_and_every_realm_in_another_up_to_the_planet(nodes: int) -> None:
    world = planet(nodes)
    for level in world.levels:
        assert level.nodes.sum() == nodes
    assert world.sites.nodes.min() >= SITE_NODES_MIN
    assert world.sites.nodes.max() <= SITE_NODES_MAX
    assert len(world.levels[-1].nodes) == 1
    for lower, upper in zip(world.levels, world.levels[1:], strict=False):
        assert np.array_equal(np.bincount(lower.parent, minlength=len(upper.children)), upper.children)


def test_no_realm_has_more_than_some_hundred_children() -> None:
    world = planet(10_000_000)
    assert max(level.children.max() for level in world.levels) < 256
    assert world.depth == 6


def test_a_small_world_has_fewer_levels() -> None:
    assert planet(100).depth < planet(10_000).depth


def test_a_primary_sits_in_a_site_of_its_own_realm() -> None:
    world = planet(100_000)
    row = np.arange(len(world.sites.nodes))
    for lower, upper in zip(world.levels, world.levels[1:], strict=False):
        row = lower.parent[row]
        assert np.array_equal(row[upper.seat], np.arange(len(upper.seat)))


def test_the_sites_of_a_city_lie_around_it() -> None:
    world = planet(100_000)
    first = world.city == world.city[0]
    middle = np.array([world.latitude[first].mean()]), np.array([world.longitude[first].mean()])
    assert distance_km(world.latitude[first], world.longitude[first], *middle).mean() < 60


def test_the_same_seed_gives_the_same_planet() -> None:
    assert np.array_equal(planet(5000, seed=3).longitude, planet(5000, seed=3).longitude)
    assert not np.array_equal(planet(5000, seed=3).sites.nodes, planet(5000, seed=4).sites.nodes)
