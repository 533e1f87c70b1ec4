"""Witnesses: whether a wave did well enough for the next one to begin.

A gate between two waves opens when four of five witnesses of different owners say that nodes of that wave are well, *after* the
soak, and each of them speaks of enough nodes that carried the command out, as those nodes themselves signed. A witness that
vouches for nodes that did nothing, for itself, or for nodes of another wave says nothing. It speaks only of nodes that it
knows: a stranger can make keys until one has its turn, and say that all went well. So many reports of sick nodes that the gate
can never open trip the breaker: silence only waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec

from worldos.kernel.guard.command import Command
from worldos.kernel.guard.limits import SICK_PART, WITNESS_PART
from worldos.kernel.guard.roll import Roll, witnesses_of
from worldos.kernel.guard.said import Did, Health, Outcome
from worldos.kernel.guard.waves import is_slight, opens_s, proofs, wave_of
from worldos.model.ids import NodeId


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the next wave may begin; whether the breaker trips; why not (empty: it may)."""

    is_open: bool
    is_sick: bool = False
    why: str = ""


def witnesses_needed(owners: int) -> int:
    """Return how many of so many witnesses must agree; never none."""
    part, whole = WITNESS_PART
    return max(1, -(-owners * part // whole))


def gate(
    command: Command,
    command_id: str,
    roll: Roll,
    wave: int,
    did: Mapping[NodeId, Did],
    healths: Mapping[NodeId, Health],
) -> Gate:
    """Say whether a wave did well: ``did`` is by node, ``healths`` of this wave by witness."""
    if is_slight(command, roll, wave):
        return Gate(is_open=True)
    owners: set[str] = set()
    well: set[str] = set()
    sick: set[str] = set()
    for known, witness in witnesses_of(roll).items():
        node = NodeId(known)
        need = proofs(command, command_id, roll, wave, node)
        if not need:
            continue  # the wave was this witness alone: it cannot vouch for it
        owners.add(witness.owner)
        health = healths.get(node)
        if health is None:
            continue
        if is_sick(health, did):
            sick.add(witness.owner)
        elif health.at_s >= opens_s(command, wave + 1, 0) and _proves(
            command, command_id, roll, health, node, did, need
        ):
            well.add(witness.owner)
    needed = witnesses_needed(len(owners))
    if sick and len(sick) > len(owners) - needed:
        return Gate(is_open=False, is_sick=True, why=f"{len(sick)} witnesses saw sick nodes after wave {wave}")
    if len(well) < needed:
        return Gate(is_open=False, why=f"wave {wave} is vouched for by {len(well)} of {needed} witnesses")
    return Gate(is_open=True)


def is_sick(health: Health, did: Mapping[NodeId, Did]) -> bool:
    """Tell whether so many of the nodes that a witness speaks of are not well that it is the command's doing.

    One is let pass, unless it is all, and of many one in eight: or any machine that breaks, goes to sleep, or pretends to, could
    freeze everything. What is let pass is not vouched for either: with too few that are well the next wave waits.
    """
    bad = sum(node in did for node in health.sick)
    many = bad + len(health.well)
    return bad > max(many // SICK_PART, min(many // 2, 1))


def carried_out(command: Command, command_id: str, roll: Roll, node: NodeId, did: Did) -> bool:
    """Tell whether a node carried the command out in the wave in which it had its turn."""
    return did.outcome is Outcome.DONE and did.wave == wave_of(command, command_id, roll, node)


def _proves(
    command: Command, command_id: str, roll: Roll, health: Health, witness: str, did: Mapping[NodeId, Did], need: int
) -> bool:
    """Tell whether this witness vouches for so many nodes of the wave that carried the command out, besides itself."""
    proven = (
        node
        for node in health.well
        if node != witness
        and node in did
        and did[node].wave == health.wave
        and carried_out(command, command_id, roll, node, did[node])
    )
    return sum(1 for _ in islice(proven, need)) == need
