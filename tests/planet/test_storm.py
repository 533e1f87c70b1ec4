"""Losing a continent."""

from __future__ import annotations

import numpy as np
import pytest

from worldos.model.limits import SECOND
from worldos.planet import parameters, storm
from worldos.planet.cities import CONTINENTS
from worldos.planet.simulated import Count
from worldos.planet.tree import planet
from worldos.sim.world import World

MEASURED = parameters.load()


def test_every_continent_lost_is_absorbed_in_some_seconds() -> None:
    world = planet(200_000, abroad=0.3)
    for code in CONTINENTS:
        loss = storm.lose(world, code, MEASURED)
        assert 0 < loss.nodes_lost < 0.6
        assert loss.headless > 0
        assert loss.most < 256
        assert loss.half_s <= loss.all_s < 30


def test_where_neighbours_are_together_only_those_high_up_notice() -> None:
    near, firms = planet(200_000), planet(200_000, abroad=0.3)
    assert storm.lose(near, "EU", MEASURED).headless < storm.lose(firms, "EU", MEASURED).headless / 20


def test_nobody_is_registered_before_there_is_somebody_to_register_with() -> None:
    first, ready = np.array([2.0, 2.0, 2.0]), np.array([0.0, 2.5, 4.5])
    assert storm._next_try(first, ready) == pytest.approx([2.0, 3.0, 5.0])


def test_strangers_at_a_door_wait_longer_the_more_there_are() -> None:
    few, many = storm.door(100, MEASURED), storm.door(2000, MEASURED)
    assert few.all_s < many.all_s < storm.PATIENCE_S
    assert few.refused < many.refused
    assert many.core <= 1.01


def test_the_same_seed_gives_the_same_storm() -> None:
    assert storm.door(300, MEASURED, seed=4) == storm.door(300, MEASURED, seed=4)


def test_a_site_that_starts_says_as_much_about_addresses_as_the_simulator_counts() -> None:
    world = World(1, 7, drift=False)
    count = Count()
    world.watchers.append(count)
    world.run_until(world.now_ns + 5 * SECOND)
    assert count.messages["PeersTold"] == storm.start(7, MEASURED).messages
    assert storm.start(200, MEASURED).core_s < 10
