"""Stories of realms that a simulation once told: each was a bug, named here so that it stays away."""

from __future__ import annotations

from random import Random

from worldos.model.limits import SECOND
from worldos.model.realm import RealmId
from worldos.sim.councils import all_primaries, reigns_of
from worldos.sim.founding import Founding
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.realm_progress import why_no_tree
from worldos.sim.tree import Tree, even_tree
from worldos.sim.world import SitePlan, World


def watched(world: World) -> World:
    world.watchers.append(RealmSafety(world))
    return world


def founded(sites: int, size: int, fan: int, levels: int) -> tuple[World, Tree]:
    """A world whose realms stand as one tree."""
    tree = even_tree(sites, size, fan, levels, Random(1))
    world = watched(World(1, tree.sites, with_realms=True, drift=False))
    world.run_until(world.now_ns + 3 * SECOND)
    founding = Founding(world, tree)
    world.run_until(world.now_ns + 20 * SECOND)
    assert founding.open() == []
    assert why_no_tree(world, tree) == ""
    return world, tree


def test_a_site_without_a_parent_does_not_wake_in_vain() -> None:
    """Its table of superiors was due at once, for ever."""
    world = watched(World(1, [SitePlan(3)], with_realms=True))
    world.run_until(world.now_ns + 10 * SECOND)
    assert world.steps < 3000
    assert len(all_primaries(world)[RealmId(world.sites[0].account)]) == 1


def test_an_heir_that_waits_for_its_turn_does_not_wake_in_vain() -> None:
    """Its island was due, and was looked at only once a second."""
    world, tree = founded(sites=4, size=2, fan=2, levels=3)
    center = all_primaries(world)[tree.realms[0].realm][0]
    before = world.steps
    world.sessions.raise_wall({center.number})
    world.run_until(world.now_ns + 10 * SECOND)
    assert world.steps - before < 10_000


def one_tree_within(world: World, tree: Tree, bound_ns: int) -> None:
    end_ns = world.now_ns + bound_ns
    while (why := why_no_tree(world, tree)) and world.now_ns < end_ns:
        world.run_until(world.now_ns + SECOND // 10)
    assert why == ""


def test_who_stood_in_for_a_realm_above_resigns_soon_after_the_wall_falls() -> None:
    """The council outbid the island and told it to its registered children only; the island had not the council as kin."""
    for number in range(4):
        world, tree = founded(sites=4, size=2, fan=2, levels=3)
        wall = world.sessions.raise_wall({machine.number for machine in world.sites[number].machines})
        world.run_until(world.now_ns + 8 * SECOND)
        islands = [
            reign.epoch
            for reigning in all_primaries(world).values()
            for machine in reigning
            for reign in reigns_of(machine).values()
            if reign.epoch.provisional
        ]
        assert islands
        world.sessions.take_down(wall)
        one_tree_within(world, tree, 5 * SECOND)
