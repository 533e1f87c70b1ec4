"""How far needs travel."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from worldos.kernel.effects import Effect, Send
from worldos.kernel.events import Event
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.realm import BidAnswer
from worldos.model.resource import Kind
from worldos.planet import needs, parameters
from worldos.planet.tree import planet
from worldos.sim.founding import Founding
from worldos.sim.machine import Machine
from worldos.sim.programs import Plan, Program
from worldos.sim.realm_progress import why_no_tree
from worldos.sim.tree import even_tree
from worldos.sim.world import World

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


class Answers:
    """Watches a world for what bids came to."""

    def __init__(self) -> None:
        self.hops: list[int] = []

    def stepped(self, _machine: Machine, _event: Event, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send and isinstance(effect.message, BidAnswer) and effect.node == effect.message.home:
                self.hops.append(effect.message.hops)


def test_the_kernel_counts_as_many_hops_to_a_neighbouring_site_as_the_model() -> None:
    tree = even_tree(3, 3, 3, 2, Random(1))
    world = World(1, tree.sites, with_realms=True, drift=False)
    world.run_until(world.now_ns + 3 * SECOND)
    founding = Founding(world, tree)
    while not founding.done or why_no_tree(world, tree):
        world.run_until(world.now_ns + SECOND // 10)
        assert world.now_ns < 120 * SECOND
    world.run_until(world.now_ns + 5 * SECOND)
    most = max(machine.size[0] for machine in world.machines)
    lacking = [m for m in world.machines if all(o.size[0] < most for o in world.machines if o.site is m.site)]
    answers = Answers()
    world.watchers.append(answers)
    need = Need(kind=Kind.CPU, amount=most)
    plan = Plan(needs=(need,), ttl_ns=5 * SECOND, calls=1, retries=3, service_ns=MS, rest_ns=MS)
    programs = [Program(world, machine, number, plan) for number, machine in enumerate(lacking)]
    for program in programs:
        program.begin()
        world.run_until(world.now_ns + 6 * SECOND)
    assert programs
    assert all(program.granted for program in programs)
    rise = 1
    assert set(answers.hops) == {2 * (1 + 2 * rise)}
