"""What being a center costs."""

from __future__ import annotations

import numpy as np

from worldos.model.limits import REGISTER_PERIOD_NS, SECOND
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
        assert (busy[level].messages["summaries"] * 2 >= busy[level].messages["registers"]).all(), level


def test_a_site_has_no_children_and_the_child_of_its_own_primary_registers_without_a_message() -> None:
    world = planet(100_000)
    assert realm_traffic(world.sites, sizes()).messages["registers"].sum() == 0
    top = world.levels[-1]
    asked = realm_traffic(top, sizes()).messages["registers"][0] * REGISTER_PERIOD_NS / SECOND / 2
    assert asked == top.children[0] - 1


def test_a_center_of_ten_thousand_nodes_meets_its_targets_while_its_sites_are_not_all_tiny() -> None:
    measured = parameters.load()
    for site_nodes in (5, 50, 200):
        load = center(10_000 // site_nodes, measured)
        assert load.memory_bytes <= 1e9
        assert load.core_share <= 0.25
    assert center(200, measured, load=BUSY).core_share <= 0.25
