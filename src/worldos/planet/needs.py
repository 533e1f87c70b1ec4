"""How far a need travels: hops and milliseconds from a program to a node that can fill it, over the tree and the globe.

A need that its site cannot fill goes to the site's center, up through superiors until a realm's summaries promise it, and down to
a site; the candidates come back the same way (kernel/bids.py). With the lowest common realm ``rise`` levels above the site that
is ``1 + 2 * rise`` messages there and as many back. Then the program's node dials the node that was found and asks it for the
lease: one round trip for TCP, one for TLS 1.3, one for the question.

Columns with a row per need. Who asks is a node by chance; who can fill it is a node by chance in the realm in which it is found.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from worldos.model.limits import BID_FANOUT
from worldos.planet.cities import Floats, Ints, distance_km, one_way_ms
from worldos.planet.parameters import Parameters
from worldos.planet.tree import Planet

DIAL_TRIPS: Final = 3
LOCAL_MS: Final = 0.3  # inside a site
HOPS_TARGET: Final = 5


class Localities(NamedTuple):
    """How needs are spread: which share is filled at how many levels above the site, the site itself first."""

    name: str
    share_of_a_level: float  # of what reaches a level, so much is filled there; the last level fills the rest

    def rises(self, levels: int) -> Floats:
        """Return the share that is filled ``0, 1, 2, ...`` levels above the site."""
        left: Floats = (1 - self.share_of_a_level) ** np.arange(levels, dtype=np.float64)
        shares: Floats = left * self.share_of_a_level
        shares[-1] = left[-1]
        return shares


SPREADS: Final = (
    Localities("near: 9 of 10 at each level", 0.9),
    Localities("even: half at each level", 0.5),
    Localities("far: 1 of 10 at each level", 0.1),
    Localities("all across the planet", 0.0),
)


class Trips(NamedTuple):
    """A row per need: the levels it rises, the messages of the way there, and how long until candidates and the lease.

    ``messages`` are all of them, there and back, if on the way down every center asks as many children as it may at once.
    """

    rise: Ints
    hops: Ints
    messages: Ints
    matched_ms: Floats
    leased_ms: Floats


def trips(world: Planet, spread: Localities, parameters: Parameters, *, amount: int = 100_000, seed: int = 1) -> Trips:
    """Let so many needs travel."""
    dice = np.random.default_rng(seed)
    sites = world.sites.nodes
    asking = dice.choice(len(sites), amount, p=sites / sites.sum())
    chain = _chain(world, asking)
    rise = dice.choice(len(spread.rises(len(world.levels))), amount, p=spread.rises(len(world.levels)))
    filling = _somewhere_below(world, chain, rise, dice)
    other = _chain(world, filling)
    way_ms, up, down = _way(world, asking, filling, chain, other, rise)
    handle_ms = _handling_ms(world, parameters)
    hops = np.where(rise > 0, 1 + up + down, 0)
    fanned = (BID_FANOUT ** (down + 1) - BID_FANOUT) // (BID_FANOUT - 1)
    messages = np.where(rise > 0, 2 * (1 + up + fanned), 0)
    matched_ms = np.where(rise > 0, 2 * (LOCAL_MS + way_ms) + 2 * hops * handle_ms, 0.0)
    apart = _between(world, asking, filling)
    direct_ms = np.where(asking == filling, LOCAL_MS, apart)
    dials = np.where(asking == filling, 1, DIAL_TRIPS)
    return Trips(rise, hops, messages, matched_ms, matched_ms + 2 * dials * direct_ms)


def _chain(world: Planet, sites: Ints) -> list[Ints]:
    """Return the realms above each site, level by level from the site itself."""
    chain = [sites]
    for level in world.levels[:-1]:
        chain.append(level.parent[chain[-1]])
    return chain


def _somewhere_below(world: Planet, chain: list[Ints], rise: Ints, dice: np.random.Generator) -> Ints:
    """Return a site by chance, a node each as likely, in the realm ``rise`` levels above; sites of a realm lie together."""
    found = chain[0].copy()
    upto = np.concatenate(([0], np.cumsum(world.sites.nodes)))
    rows = np.arange(len(world.sites.nodes))
    for level in range(1, len(world.levels)):
        rows = world.levels[level - 1].parent[rows]
        order = np.argsort(rows, kind="stable")
        here = np.flatnonzero(rise == level)
        if not len(here):
            continue
        sorted_rows = rows[order]
        realm = chain[level][here]
        first, last = np.searchsorted(sorted_rows, realm), np.searchsorted(sorted_rows, realm, side="right")
        weight = np.concatenate(([0], np.cumsum(world.sites.nodes[order])))
        point = weight[first] + dice.random(len(here)) * (weight[last] - weight[first])
        found[here] = order[np.minimum(np.searchsorted(weight, point, side="right") - 1, last - 1)]
    assert upto[-1] == world.nodes
    return found


def _way(
    world: Planet, asking: Ints, filling: Ints, chain: list[Ints], other: list[Ints], rise: Ints
) -> tuple[Floats, Ints, Ints]:
    """Return the time one way over all centers between two sites, and the steps up and down; unreal levels count none."""
    way_ms = np.zeros(len(asking))
    steps: list[Ints] = []
    for end in (chain, other):
        steps.append(np.zeros(len(asking), np.int64))
        at = end[0]
        for level in range(1, len(world.levels)):
            realms = world.levels[level]
            passes = (rise >= level) & realms.real[end[level]]
            seat = realms.seat[end[level]]
            way_ms += np.where(passes, _between(world, at, seat), 0.0)
            steps[-1] += passes
            at = np.where(passes, seat, at)
    return way_ms, steps[0], steps[1]


def _between(world: Planet, one: Ints, other: Ints) -> Floats:
    """Return the time from site to site; a primary that asks itself takes none."""
    km = distance_km(world.latitude[one], world.longitude[one], world.latitude[other], world.longitude[other])
    return np.where(one == other, 0.0, one_way_ms(km))


def _handling_ms(world: Planet, parameters: Parameters) -> float:
    """Return what a center takes for one message of a bid: with as many children as a realm has on average."""
    cpu = parameters.cpu_ns
    children = float(np.mean([realms.children[realms.real].mean() for realms in world.levels[1:] if realms.real.any()]))
    ask_ns = (
        cpu["handle BidAsk"] + children * cpu["weigh a child for a bid"] + cpu["decode BidAsk"] + cpu["encode BidAsk"]
    )
    answer_ns = cpu["decode BidAnswer"] + cpu["encode BidAnswer"]
    return (ask_ns + answer_ns) / 2 / 1e6 + (cpu["shell, one message"] + cpu["TLS record, one end"]) * 2 / 1e6


class Row(NamedTuple):
    """What is told of one spread of needs."""

    name: str
    hops_mean: float
    hops_p99: float
    within_target: float
    messages_mean: float
    matched_ms: tuple[float, float, float]  # median, 90th, 99th of those that leave their site
    leased_ms: tuple[float, float, float]


def row(spread: Localities, each: Trips) -> Row:
    """Put trips together to one row."""
    away = each.rise > 0
    matched = each.matched_ms[away] if away.any() else np.zeros(1)
    leased = each.leased_ms[away] if away.any() else np.zeros(1)
    return Row(
        name=spread.name,
        hops_mean=float(each.hops.mean()),
        hops_p99=float(np.percentile(each.hops, 99)),
        within_target=float((each.hops <= HOPS_TARGET).mean()),
        messages_mean=float(each.messages.mean()),
        matched_ms=_percentiles(matched),
        leased_ms=_percentiles(leased),
    )


def _percentiles(values: Floats) -> tuple[float, float, float]:
    low, high, most = np.percentile(values, [50, 90, 99])
    return float(low), float(high), float(most)
