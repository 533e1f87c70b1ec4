"""The tree of realms over real cities: sites of 5 to 200 nodes, then home, enterprise, group, nation and planet.

Columns with a row per realm, one set per level; never a row per node. A nation is a nation, a group is a city; within
a city the sites are put together twice, so that no realm has more children than the cube root of its city's sites
(and never more than needed). A realm that would have a single child is none: its child stands in its place. So a
small world has fewer levels, as it would have.

``seat`` is the site in which a realm's primary sits: one of its own, by chance, for a council chooses by fitness and
not by place.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from worldos.model.realm import Level
from worldos.planet.cities import Cities, Floats, Ints, cities

SITE_NODES_MIN: Final = 5
SITE_NODES_MAX: Final = 200
SITE_NODES_MEAN: Final = (SITE_NODES_MAX - SITE_NODES_MIN) / np.log(SITE_NODES_MAX / SITE_NODES_MIN)
SCATTER_KM: Final = 25.0  # how far the sites of a city lie from its middle, on average
KM_PER_DEGREE: Final = 111.2
LEVELS: Final = tuple(Level)


class Realms(NamedTuple):
    """All realms of one level. ``parent``: the row of each in the level above. ``real``: it has more than one child."""

    level: Level
    parent: Ints
    children: Ints
    nodes: Ints
    seat: Ints
    real: np.ndarray[tuple[int], np.dtype[np.bool_]]


class Planet(NamedTuple):
    """Sites (a row each, the sites of a realm together), in which city they lie, and the levels from the sites up."""

    nodes: int
    city: Ints
    latitude: Floats
    longitude: Floats
    levels: tuple[Realms, ...]

    @property
    def sites(self) -> Realms:
        """The lowest level."""
        return self.levels[0]

    @property
    def depth(self) -> int:
        """How many levels of realms stand above each other at most."""
        return 1 + sum(bool(level.real.any()) for level in self.levels[1:])


def planet(nodes: int, *, seed: int = 1, abroad: float = 0.0) -> Planet:
    """Spread so many nodes over the cities of the world, as people are, and build the tree above them.

    ``abroad`` is the share of sites that lie in some other city than their realm: those of firms, not of neighbours.
    """
    dice = np.random.default_rng(seed)
    world = cities()
    sizes = _site_sizes(nodes, dice)
    count = len(sizes)
    per_city = dice.multinomial(count, world.people / world.people.sum())
    city = np.repeat(np.arange(len(per_city)), per_city)
    where = _where(city, dice, abroad)
    away = dice.exponential(SCATTER_KM, count) / KM_PER_DEGREE
    angle = dice.uniform(0.0, 2 * np.pi, count)
    latitude = np.clip(world.latitude[where] + away * np.sin(angle), -89.0, 89.0)
    longitude = world.longitude[where] + away * np.cos(angle) / np.cos(np.radians(latitude))
    parents = _parents(city, per_city, world)
    levels = _levels(sizes, parents, dice)
    return Planet(nodes=nodes, city=where, latitude=latitude, longitude=longitude, levels=levels)


def _where(city: Ints, dice: np.random.Generator, abroad: float) -> Ints:
    """Return in which city each site lies: that of its realm, but some have changed places."""
    where = city.copy()
    movers = np.flatnonzero(dice.random(len(city)) < abroad)
    where[movers] = city[dice.permutation(movers)]
    return where


def _site_sizes(nodes: int, dice: np.random.Generator) -> Ints:
    """Return how many nodes each site has, all orders of magnitude equally likely; together just ``nodes``."""
    assert nodes >= SITE_NODES_MIN
    count = max(1, round(nodes / SITE_NODES_MEAN))
    drawn = np.exp(dice.uniform(np.log(SITE_NODES_MIN), np.log(SITE_NODES_MAX), count))
    scaled = np.clip(np.round(drawn * (nodes / drawn.sum())), SITE_NODES_MIN, SITE_NODES_MAX)
    sizes: Ints = scaled.astype(np.int64)
    while (missing := nodes - int(sizes.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = np.flatnonzero(sizes < SITE_NODES_MAX if step > 0 else sizes > SITE_NODES_MIN)
        if not len(room):
            break
        sizes[room[: abs(missing)]] += step
    return sizes


def _parents(city: Ints, per_city: Ints, world: Cities) -> list[Ints]:
    """Return the rows of the parents: of sites, of homes, of enterprises, of groups (cities), of nations."""
    first = np.cumsum(per_city) - per_city
    within = np.arange(len(city)) - first[city]
    branch = np.maximum(np.ceil(np.cbrt(per_city)).astype(np.int64), 2)
    home, home_of_site = _numbered(city, within // branch[city])
    home_city = city[home]
    enterprise, enterprise_of_home = _numbered(home_city, (within // branch[city] ** 2)[home])
    enterprise_city = home_city[enterprise]
    group, group_of_enterprise = np.unique(enterprise_city, return_inverse=True)
    nation, nation_of_group = np.unique(world.nation[group], return_inverse=True)
    return [home_of_site, enterprise_of_home, group_of_enterprise, nation_of_group, np.zeros(len(nation), np.int64)]


def _numbered(city: Ints, part: Ints) -> tuple[Ints, Ints]:
    """Number the parts of all cities through: the first row of each, and the number of each row. Rows lie in order."""
    new = np.ones(len(city), dtype=bool)
    new[1:] = (city[1:] != city[:-1]) | (part[1:] != part[:-1])
    return np.flatnonzero(new), np.cumsum(new) - 1


def _levels(sizes: Ints, parents: list[Ints], dice: np.random.Generator) -> tuple[Realms, ...]:
    nobody = np.zeros(len(sizes), np.int64)
    seat = np.arange(len(sizes))
    nodes, children, real = sizes, nobody, np.ones(len(sizes), bool)
    levels = []
    for number, level in enumerate(LEVELS):
        parent = parents[number] if number < len(parents) else np.zeros(1, np.int64)
        levels.append(Realms(level, parent, children, nodes, seat, real))
        if number == len(parents):
            break
        count = int(parent.max()) + 1
        order = dice.permutation(len(parent))
        chosen = np.zeros(count, np.int64)
        chosen[parent[order]] = order  # of equal indices the last one stays: a child by chance
        nodes = np.bincount(parent, weights=nodes, minlength=count).astype(np.int64)
        children = np.bincount(parent, minlength=count)
        seat = seat[chosen]
        real = children > 1
    return tuple(levels)
