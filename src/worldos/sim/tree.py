"""Trees of realms as they are to be: which sites there are, where, and which realm stands over which.

Sites of one realm lie near each other, realms of one parent a little further apart; so a path up the tree grows longer step by
step, as on a map. Level 1 of ``levels`` is the sites, the highest is one realm that holds all. Places in microseconds of light.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from worldos.model.realm import Level, RealmId
from worldos.sim.machine import Place
from worldos.sim.world import SitePlan

TOP: Final = -1
SPAN_US: Final = (500, 1500, 4000, 10_000, 30_000)  # how far apart are sites, and realms of level 2, 3, ... at most
LEVELS_MAX: Final = 5


class RealmPlan(NamedTuple):
    """An upper realm as it is to be. ``parent`` is another's number; ``sites`` are those right below it."""

    realm: RealmId
    name: str
    level: Level
    parent: int
    sites: tuple[int, ...]


class Tree(NamedTuple):
    """Sites, and the realms over them, parents first."""

    sites: tuple[SitePlan, ...]
    realms: tuple[RealmPlan, ...]


def even_tree(sites: int, size: int, fan: int, levels: int, dice: Random) -> Tree:
    """Return a tree of so many sites of one size, ``fan`` of them under each realm, and so on up to one."""
    return _tree([size] * sites, fan, levels, dice)


def tree_by_chance(nodes: int, levels: int, dice: Random) -> Tree:
    """Return a tree with so many machines: sites of one to seven, two to five of them under a realm."""
    sizes: list[int] = []
    while (left := nodes - sum(sizes)) > 0:
        sizes.append(min(left, (1, 2, 3, 3, 3, 5, 7)[int(dice.random() * 7)]))
    return _tree(sizes, 2 + int(dice.random() * 4), levels, dice)


def _tree(sizes: list[int], fan: int, levels: int, dice: Random) -> Tree:
    assert 2 <= levels <= LEVELS_MAX
    counts = [len(sizes)]
    for _ in range(levels - 2):
        counts.append(max(1, -(-counts[-1] // fan)))
    counts.append(1)  # counts[0] sites, counts[-1] the top
    numbers: list[list[int]] = [[] for _ in counts]
    places: list[list[Place]] = [[] for _ in counts]
    plans: list[RealmPlan] = []
    for height in range(levels - 1, 0, -1):
        for nth in range(counts[height]):
            parent, around = TOP, Place()
            if height + 1 < levels:
                above = _above(nth, counts, height)
                parent, around = numbers[height + 1][above], places[height + 1][above]
            numbers[height].append(len(plans))
            places[height].append(_near(around, SPAN_US[height], dice))
            sites = tuple(site for site in range(counts[0]) if height == 1 and _above(site, counts, 0) == nth)
            name = f"{'-abcde'[height]}{nth}"
            level = Level(Level.PLANET - (levels - 1 - height))
            plans.append(RealmPlan(RealmId(f"realm-{name}"), name, level, parent, sites))
    where = [_near(places[1][_above(site, counts, 0)], SPAN_US[0], dice) for site in range(counts[0])]
    return Tree(tuple(SitePlan(size, place) for size, place in zip(sizes, where, strict=True)), tuple(plans))


def _above(nth: int, counts: list[int], height: int) -> int:
    """Return which realm of the next level is over the ``nth`` of this one: as many under each as can be."""
    return nth * counts[height + 1] // counts[height]


def _near(place: Place, span_us: int, dice: Random) -> Place:
    east_us, north_us = (int((dice.random() * 2 - 1) * span_us) for _ in range(2))
    return Place(place.east_us + east_us, place.north_us + north_us)
