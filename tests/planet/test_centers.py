"""What being a center costs."""

from __future__ import annotations

import numpy as np

from worldos.planet import parameters
from worldos.planet.centers import BUSY, above, center, realm_traffic, seats
from worldos.planet.sizes import sizes
from worldos.planet.tree import planet


def test_seats_grow_with_the_members() -> None:
    assert list(seats(np.array([1, 2, 3, 6, 7, 200]))) == [1, 1, 3, 3, 5, 5]


def test_a_realm_with_one_child_costs_nothing() -> None:
    world = planet(1000)
    for realms in world.levels[1:]:
        traffic = realm_traffic(realms, sizes())
        assert (traffic.total("wire")[~realms.real] == 0).all()


def test_summaries_are_sent_only_when_something_changes() -> None:
    world = planet(10_000)
    idle, busy = above(world, sizes()), above(world, sizes(), load=BUSY)
    for level, traffic in idle.items():
        assert (traffic.messages["summaries"] == 0).all()
        assert (busy[level].messages["summaries"] <= 1).all()


def test_the_planet_has_no_superior() -> None:
    top = above(planet(100_000), sizes())[planet(100_000).levels[-1].level]
    assert top.messages["registers"].sum() == 0


def test_a_center_of_ten_thousand_nodes_meets_its_targets_while_its_sites_are_not_all_tiny() -> None:
    measured = parameters.load()
    for site_nodes in (5, 50, 200):
        load = center(10_000 // site_nodes, measured)
        assert load.memory_bytes <= 1e9
        assert load.core_share <= 0.25
    assert center(200, measured, load=BUSY).core_share <= 0.25
