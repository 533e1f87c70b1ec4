"""One planet: what its nodes send, in all, and by cause. The figures that are drawn against its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from worldos.planet import centers, site
from worldos.planet.cities import Floats
from worldos.planet.sizes import Sizes
from worldos.planet.tree import Planet, planet

SCALES: Final = tuple(10**power for power in range(2, 9))
UNITS: Final = ("messages", "payload", "wire")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one node sends in a second on average, by cause, in each unit; and the size of the tree."""

    nodes: int
    sites: int
    realms: int
    depth: int
    by_cause: dict[str, dict[str, float]]  # unit -> cause -> amount

    def total(self, unit: str) -> float:
        """Return the sum over all causes."""
        return sum(self.by_cause[unit].values())


def figures(
    world: Planet,
    sizes: Sizes,
    *,
    load: site.Load = site.IDLE,
    above: centers.Load = centers.IDLE,
    pace: site.Pace | None = None,
    pace_above: centers.Pace | None = None,
) -> Figures:
    """Put together what sites and centers say."""
    nodes = world.sites.nodes.astype(np.float64)
    within = site.site_traffic(nodes, sizes, load=load, pace=pace)
    by_cause: dict[str, dict[str, float]] = {unit: {} for unit in UNITS}
    for unit in UNITS:
        parts: dict[str, Floats] = getattr(within, unit)
        by_cause[unit] = {cause: float(np.sum(each * nodes)) / world.nodes for cause, each in parts.items()}
    for traffic in centers.above(world, sizes, load=above, pace=pace_above).values():
        for unit in UNITS:
            for cause, each in getattr(traffic, unit).items():
                known = by_cause[unit].get(cause, 0.0)
                by_cause[unit][cause] = known + float(np.sum(each)) / world.nodes
    return Figures(
        nodes=world.nodes,
        sites=len(nodes),
        realms=sum(int(level.real.sum()) for level in world.levels),
        depth=world.depth,
        by_cause=by_cause,
    )


def sweep(
    sizes: Sizes, *, load: site.Load = site.IDLE, above: centers.Load = centers.IDLE, seed: int = 1
) -> list[Figures]:
    """Return the figures of planets from 10^2 to 10^8 nodes."""
    return [figures(planet(nodes, seed=seed), sizes, load=load, above=above) for nodes in SCALES]


def slope(sizes: list[float], amounts: list[float]) -> float:
    """Return the exponent of the power law through the points: least squares on the logarithms."""
    fitted = np.polyfit(np.log10(np.array(sizes)), np.log10(np.array(amounts)), 1)
    return float(fitted[0])


class Shape(NamedTuple):
    """A tree of so many levels above the sites, all realms with equally many children."""

    levels: int
    children: int
    hops: int


def shapes(sites: int, depths: Sequence[int] = (1, 2, 3, 4, 5)) -> list[Shape]:
    """Return how many children a center has, and how far a need goes at most, if the tree is so deep."""
    return [Shape(depth, round(sites ** (1 / depth)), 1 + 2 * depth) for depth in depths]
