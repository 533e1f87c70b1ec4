"""A continent is lost: who loses the center, who stands for election, who registers anew, how long until all is well.

All that lies on the continent falls silent at one moment. Each realm that goes on elsewhere and had its primary there elects
another where a majority of its council is left (kernel/raft), else the best of those that are left stands in (kernel/island.py).
Its children find the link silent after two seconds, ask the contacts that they know, and try again after 1, 2, 4 s until there
is a center (kernel/superior.py); it takes them one after another, as fast as was measured.

``door`` is the harder case: children that the new center was never linked with, all at once, before a door that lets in no
more strangers than it has places for, each with a handshake. Times in seconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from worldos.fabric.limits import DIAL_RETRY_NS_MAX, DIAL_RETRY_NS_MIN, HALF_OPEN_MAX, LINK_SILENT_NS_MAX
from worldos.kernel.gossip import NEWS_PER_MESSAGE_MAX, TELLINGS_PER_DOUBLING
from worldos.kernel.raft.pace import LAN, WAN
from worldos.model.limits import (
    AWAY_MAX_NS,
    AWAY_MIN_NS,
    ISLAND_AFTER_NS,
    ISLAND_STEP_NS,
    PROBE_PERIOD_NS,
    RAFT_HINT_NS,
    SECOND,
)
from worldos.planet.centers import seats
from worldos.planet.cities import CONTINENTS, Floats, Ints, cities, distance_km, one_way_ms
from worldos.planet.parameters import Parameters
from worldos.planet.tree import Planet, Realms

SILENT_S: Final = LINK_SILENT_NS_MAX / SECOND
TRIPS_OF_AN_ELECTION: Final = 3  # pre-vote, vote, and the first entry of the new term
TRIPS_OF_A_REGISTRATION: Final = 2  # one that says where to ask, and the one that counts
STEP_S: Final = 0.01
PATIENCE_S: Final = 600.0


class Loss(NamedTuple):
    """What the loss of one continent does to one planet."""

    continent: str
    nodes_lost: float  # share
    headless: int  # realms that lost their primary and go on
    islands: int  # of these, those without a majority: somebody stands in
    moved: int  # registrations that have to be made anew
    most: int  # ... at one center
    half_s: float
    all_s: float


class _Level(NamedTuple):
    """What became of the realms of one level: which go on, which needed another primary, and when they had one."""

    goes_on: np.ndarray[tuple[int], np.dtype[np.bool_]]
    headless: np.ndarray[tuple[int], np.dtype[np.bool_]]
    stood_in: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ready_s: Floats


def lose(world: Planet, continent: str, parameters: Parameters, *, seed: int = 1) -> Loss:
    """Lose a continent (its code)."""
    dice = np.random.default_rng(seed)
    towns = cities()
    lost = towns.continent[world.city] == towns.continents.index(continent)
    levels = [_sites(world, lost, dice)]
    for lower, upper in zip(world.levels, world.levels[1:], strict=False):
        levels.append(_realms(world, lower, upper, levels[-1], lost, dice))
    waits: list[Floats] = []
    most = 0
    service_s = registration_s(parameters)
    for number, lower in enumerate(world.levels[:-1]):
        wait_s, busiest = _registered_again(world, lower, levels[number], levels[number + 1], service_s, dice)
        waits.append(wait_s)
        most = max(most, busiest)
    all_waits = np.concatenate(waits)
    return Loss(
        continent=CONTINENTS[continent],
        nodes_lost=float(world.sites.nodes[lost].sum() / world.nodes),
        headless=sum(int(level.headless.sum()) for level in levels),
        islands=sum(int(level.stood_in.sum()) for level in levels),
        moved=len(all_waits),
        most=most,
        half_s=float(np.median(all_waits)) if len(all_waits) else 0.0,
        all_s=float(max((level.ready_s[level.headless].max() for level in levels if level.headless.any()), default=0.0))
        if not len(all_waits)
        else float(all_waits.max()),
    )


def registration_s(parameters: Parameters) -> float:
    """Return what a registration over a link that is there takes of the center's processor."""
    cpu = parameters.cpu_ns
    line_ns = 2 * (cpu["TLS record, one end"] + cpu["shell, one message"])
    told_ns = cpu["decode Register"] + cpu["handle Register"] + cpu["encode Registered"]
    return (line_ns + told_ns) / SECOND


def _sites(world: Planet, lost: np.ndarray[tuple[int], np.dtype[np.bool_]], dice: np.random.Generator) -> _Level:
    """A site lies in one place: it is lost as a whole, or nothing happens to it."""
    count = len(world.sites.nodes)
    nothing = np.zeros(count, bool)
    return _Level(~lost, nothing, nothing, np.zeros(count))


def _realms(
    world: Planet,
    lower: Realms,
    upper: Realms,
    below: _Level,
    lost: np.ndarray[tuple[int], np.dtype[np.bool_]],
    dice: np.random.Generator,
) -> _Level:
    count = len(upper.seat)
    left = np.bincount(lower.parent, weights=below.goes_on, minlength=count)
    goes_on = left > 0
    headless = upper.real & goes_on & lost[upper.seat]
    voters = seats(upper.children)
    order = np.lexsort((dice.random(len(lower.parent)), lower.parent))
    first = np.searchsorted(lower.parent[order], np.arange(count))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - first[lower.parent[order]]
    votes = place < voters[lower.parent]
    gone = np.bincount(lower.parent, weights=votes & lost[lower.seat], minlength=count)
    stood_in = headless & (2 * gone >= voters)
    shortest = WAN.election_min_ns + dice.random(count) * (WAN.election_max_ns - WAN.election_min_ns) / np.maximum(
        voters - gone, 1
    )
    hinted_s = SILENT_S + RAFT_HINT_NS / SECOND
    elected_s = np.minimum(shortest / SECOND, hinted_s) + TRIPS_OF_AN_ELECTION * dice.random(count) * 0.15
    in_doubt_s = SILENT_S + (ISLAND_AFTER_NS + ISLAND_STEP_NS * dice.poisson(0.5, count)) / SECOND
    ready_s = np.where(headless, np.where(stood_in, in_doubt_s, elected_s), 0.0)
    return _Level(goes_on, headless, stood_in, ready_s)


def _registered_again(
    world: Planet, lower: Realms, below: _Level, above: _Level, service_s: float, dice: np.random.Generator
) -> tuple[Floats, int]:
    """Return when each child that had to was registered again, and how many the busiest center had to take."""
    moves = below.goes_on & (above.headless[lower.parent] | below.headless) & above.goes_on[lower.parent]
    rows = np.flatnonzero(moves)
    if not len(rows):
        return np.zeros(0), 0
    parent = lower.parent[rows]
    ready_s = np.maximum(above.ready_s[parent], below.ready_s[rows])
    first_s = SILENT_S + dice.random(len(rows)) * LAN.heartbeat_ns / SECOND
    tried_s = _next_try(first_s, ready_s)
    candidates = rows[dice.permutation(len(rows))]
    chosen = np.zeros(int(lower.parent.max()) + 1, np.int64)
    chosen[lower.parent[candidates]] = lower.seat[candidates]
    one, other = lower.seat[rows], chosen[parent]
    trip_s = 2 * _way_s(world, one, other)
    arrived_s = tried_s + TRIPS_OF_A_REGISTRATION * trip_s
    order = np.lexsort((arrived_s, parent))
    first = np.searchsorted(parent[order], parent[order])
    queue = np.empty(len(rows))
    queue[order] = np.arange(len(rows)) - first
    return arrived_s + (queue + 1) * service_s, int(np.bincount(parent).max())


def _way_s(world: Planet, one: Ints, other: Ints) -> Floats:
    km = distance_km(world.latitude[one], world.longitude[one], world.latitude[other], world.longitude[other])
    return np.where(one == other, 0.0, one_way_ms(km) / 1000)


def _next_try(first_s: Floats, ready_s: Floats) -> Floats:
    """Return the first try at or after a moment: at ``first_s``, then 1, 2, 4, ... s after the one before."""
    tried_s, pause_s = first_s.copy(), np.full(len(first_s), AWAY_MIN_NS / SECOND)
    while (late := tried_s < ready_s).any():
        tried_s[late] += pause_s[late]
        pause_s[late] = np.minimum(2 * pause_s[late], AWAY_MAX_NS / SECOND)
    return tried_s


class Door(NamedTuple):
    """How long it took until so many strangers were registered at one center."""

    children: int
    half_s: float
    all_s: float
    refused: float  # dials per child that found no place at the door
    core: float  # share of a core while it lasted


def door(children: int, parameters: Parameters, *, seed: int = 1, places: int = HALF_OPEN_MAX) -> Door:
    """Let so many children come to one center at once, from cities all over the world, in steps of 10 ms."""
    dice = np.random.default_rng(seed)
    towns = cities()
    share = towns.people / towns.people.sum()
    home = dice.choice(len(share), children, p=share)
    center = np.full(children, dice.choice(len(share), p=share))
    km = distance_km(towns.latitude[home], towns.longitude[home], towns.latitude[center], towns.longitude[center])
    trip_s = 2 * one_way_ms(km) / 1000
    service_s = registration_s(parameters) + parameters.cpu_ns["handshake, one end"] / SECOND
    next_s = SILENT_S + dice.random(children) * 0.5
    pause_s = np.full(children, DIAL_RETRY_NS_MIN / SECOND)
    leaves_s = np.full(children, np.inf)  # when a stranger at the door has its handshake done, if the processor is free
    done_s = np.full(children, np.inf)
    refused, worked_s, now_s = 0, 0.0, 0.0
    while np.isinf(done_s).any() and now_s < PATIENCE_S:
        now_s += STEP_S
        budget = int(STEP_S / service_s + dice.random())
        ripe = np.flatnonzero(leaves_s <= now_s)
        served = ripe[np.argsort(leaves_s[ripe])][:budget]
        done_s[served] = now_s + trip_s[served]
        leaves_s[served] = np.inf
        worked_s += len(served) * service_s
        due = np.flatnonzero(next_s <= now_s)
        free = max(0, places - int(np.isfinite(leaves_s).sum()))
        dice.shuffle(due)
        inside, outside = due[:free], due[free:]
        next_s[inside] = np.inf
        leaves_s[inside] = now_s + 2 * trip_s[inside]
        refused += len(outside)
        next_s[outside] = now_s + pause_s[outside] * (0.5 + dice.random(len(outside)))
        pause_s[outside] = np.minimum(2 * pause_s[outside], DIAL_RETRY_NS_MAX / SECOND)
    span_s = float(done_s.max()) - SILENT_S
    return Door(
        children=children,
        half_s=float(np.median(done_s)),
        all_s=float(done_s.max()),
        refused=refused / children,
        core=worked_s / span_s,
    )


class Start(NamedTuple):
    """What it takes when all nodes of a site start at once, as after a power cut."""

    nodes: int
    messages: int  # of all nodes together, on where others can be dialled
    core_s: float  # of each node's processor: handshakes, and these messages
    news_s: float  # until everybody has told everything that is new to it as often as it must


def start(nodes: int, parameters: Parameters) -> Start:
    """Return what the start of a whole site takes.

    Each node hears of each other at a new address and tells all others (node.py ``_offer_told``): ``n * (n - 1) * (n - 2)``.
    Of each member every node tells ``3 * log2(nodes)`` times, eight to a message, a ping and an answer each round.
    """
    cpu = parameters.cpu_ns
    others = nodes - 1
    line_ns = cpu["TLS record, one end"] + cpu["shell, one message"]
    peers_ns = cpu["encode PeersTold"] + cpu["decode PeersTold"] + cpu["handle PeersTold"] + 2 * line_ns
    offers_ns = cpu["encode OfferTold"] + cpu["decode OfferTold"] + cpu["handle OfferTold"] + 2 * line_ns
    each_ns = others * (cpu["handshake, one end"] + offers_ns) + others * max(0, nodes - 2) * peers_ns
    tellings = TELLINGS_PER_DOUBLING * nodes.bit_length()
    rounds = nodes * tellings / (2 * NEWS_PER_MESSAGE_MAX)
    return Start(nodes, nodes * others * max(0, nodes - 2), each_ns / SECOND, rounds * PROBE_PERIOD_NS / SECOND)
