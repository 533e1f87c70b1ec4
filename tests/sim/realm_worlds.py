"""A world whose realms stand as one tree, for tests: sites of two machines, two below each realm."""

from __future__ import annotations

from random import Random

from worldos.model.limits import SECOND
from worldos.sim.founding import Founding
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.tree import Tree, even_tree
from worldos.sim.world import World


def founded(sites: int = 2, size: int = 2) -> tuple[World, Tree, Founding]:
    """Found the realms of a small tree, every step looked at."""
    tree = even_tree(sites, size, 2, 2, Random(1))
    world = World(1, tree.sites, with_realms=True, drift=False)
    world.watchers.append(RealmSafety(world))
    world.run_until(world.now_ns + 3 * SECOND)
    founding = Founding(world, tree)
    world.run_until(world.now_ns + 12 * SECOND)
    return world, tree, founding
