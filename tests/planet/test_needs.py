"""How far needs travel."""

from __future__ import annotations

import numpy as np
import pytest

from worldos.planet import needs, parameters
from worldos.planet.tree import planet

MEASURED = parameters.load()
AMOUNT = 5000


def test_a_need_that_its_site_fills_goes_nowhere() -> None:
    trips = needs.trips(planet(10_000), needs.Localities("home", 1.0), MEASURED, amount=AMOUNT)
    assert (trips.hops == 0).all()
    assert (trips.matched_ms == 0).all()


def test_across_the_planet_it_takes_one_hop_and_two_for_each_level_at_most() -> None:
    world = planet(1_000_000)
    trips = needs.trips(world, needs.Localities("far", 0.0), MEASURED, amount=AMOUNT)
    assert trips.hops.max() == 1 + 2 * (world.depth - 1)
    assert trips.messages.max() == 2 * (1 + 5 + 3 + 9 + 27 + 81 + 243)
    assert trips.hops.max() <= 2 * world.depth


def test_a_need_is_filled_in_the_realm_that_it_rose_to() -> None:
    world = planet(100_000)
    dice = np.random.default_rng(1)
    asking = dice.choice(len(world.sites.nodes), 300)
    rise = dice.integers(0, 6, 300)
    chain = needs._chain(world, asking)
    other = needs._chain(world, needs._somewhere_below(world, chain, rise, dice))
    for level in range(6):
        at = rise == level
        assert np.array_equal(chain[level][at], other[level][at])


def test_nearer_needs_are_matched_sooner_and_light_sets_the_pace() -> None:
    world = planet(1_000_000)
    near, far = (
        needs.row(spread, needs.trips(world, spread, MEASURED, amount=AMOUNT))
        for spread in (needs.SPREADS[0], needs.SPREADS[-1])
    )
    assert near.within_target > 0.99 > far.within_target
    assert near.matched_ms[0] < 50 < far.matched_ms[0] < 1000
    assert far.leased_ms[0] > far.matched_ms[0]


def test_shares_of_the_levels_add_up() -> None:
    for spread in needs.SPREADS:
        assert spread.rises(6).sum() == pytest.approx(1)
