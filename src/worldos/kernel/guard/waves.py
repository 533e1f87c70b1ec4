"""Waves: when this node's turn comes. It finds its own place in the order; nobody tells it.

The rank of a node is a hash of the command, its beacon and the node. Where the nodes are named, by the command or by the roll,
the order among them is exact; where they are too many to name, ranks are compared with parts of all numbers. The first wave is of
canaries, and never empty: a wave that ran nowhere says nothing, so its size is given in nodes and not only in parts, and the
next one waits until enough nodes are known to have carried the command out (``witness.py``).

Whoever makes a command may try many beacons until a node that he has in mind comes first; he cannot make a wave larger.
Source: one-box deployments and bake times of large operators; the wave of 1e-5 of 100 000 nodes that was empty is ours.
"""

from __future__ import annotations

import functools
import hashlib
from bisect import bisect_right

from worldos.kernel.guard.command import Command
from worldos.kernel.guard.limits import CANARIES, CANARIES_DRAWN, PPM, REPORTERS_DRAWN, SETTLE_S
from worldos.kernel.guard.roll import Roll
from worldos.model.ids import NodeId

RANKS = 1 << 64
_EXPECTED_PER_PROOF = 5  # of a drawn wave so many nodes are expected for each that must be seen


def rank(command_id: str, beacon: bytes, node: str) -> int:
    """Return the place of a node in the order of a command: uniform in [0, 2**64)."""
    said = b"worldos/guard-rank\0" + command_id.encode() + beacon + node.encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big")


def named(command: Command, roll: Roll) -> tuple[NodeId, ...]:
    """Return the nodes that a command reaches, where they are few enough to be named."""
    return command.to or roll.nodes


def population(command: Command, roll: Roll) -> int:
    """Return how many nodes a command reaches."""
    return len(command.to) or roll.population


def canaries(many: int) -> int:
    """Return how many nodes go first, at the least: half of few, three of more."""
    return min(CANARIES, max(1, many // 2))


@functools.lru_cache(maxsize=1024)
def ends(command: Command, roll: Roll) -> tuple[int, ...]:
    """Return for each wave the bound below which a node has its turn: of places where nodes are named, else of ranks."""
    many = population(command, roll)
    if named(command, roll):
        whole, first = many, canaries(many)
    else:
        whole, first = RANKS, min(RANKS, -(-RANKS * CANARIES_DRAWN // many))
    return (*(max(-(-whole * part // PPM), first) for part in command.waves_ppm[:-1]), whole)


def wave_of(command: Command, command_id: str, roll: Roll, node: NodeId) -> int | None:
    """Return the wave in which a node has its turn; None for one that the command does not reach."""
    mine = rank(command_id, command.beacon, node)
    nodes = named(command, roll)
    if not nodes:
        return bisect_right(ends(command, roll), mine)
    if node not in nodes:
        return None
    before = sum(rank(command_id, command.beacon, other) < mine for other in nodes)
    return bisect_right(ends(command, roll), before)


def proofs(command: Command, command_id: str, roll: Roll, wave: int, witness: NodeId) -> int:
    """Return of how many nodes of a wave a witness must speak before the next, itself not counted."""
    bounds = ends(command, roll)
    size = bounds[wave] - (bounds[wave - 1] if wave else 0)
    many = population(command, roll)
    if not named(command, roll):
        return min(size * many // RANKS // _EXPECTED_PER_PROOF, canaries(many))
    besides = size - (wave_of(command, command_id, roll, witness) == wave)
    return min(besides, canaries(many))


def is_slight(command: Command, roll: Roll, wave: int) -> bool:
    """Tell whether a later wave has too few nodes to prove anything, or none: the one before had nearly all of its part."""
    bounds = ends(command, roll)
    if wave == 0:
        return False
    size = bounds[wave] - bounds[wave - 1]
    return size == 0 if named(command, roll) else size * population(command, roll) < RANKS * _EXPECTED_PER_PROOF


def reports(command: Command, command_id: str, roll: Roll, node: NodeId) -> bool:
    """Tell whether a node says that it carried the command out: all where nodes are named, else some of each wave."""
    if named(command, roll):
        return True
    mine = rank(command_id, command.beacon, node)
    bounds = ends(command, roll)
    wave = bisect_right(bounds, mine)
    begin = bounds[wave - 1] if wave else 0
    return mine - begin < RANKS * REPORTERS_DRAWN // roll.population


def opens_s(command: Command, wave: int, seen_s: int) -> int:
    """Return the unix second before which a wave does not begin, on a node that knows of the command since ``seen_s``."""
    return max(command.not_before_s, seen_s) + wave * command.soak_s


def settles_s(command: Command, wave: int) -> int:
    """Return how long, by its own steady clock, a node has known a command before this wave of it."""
    return min(wave * command.soak_s, SETTLE_S)
