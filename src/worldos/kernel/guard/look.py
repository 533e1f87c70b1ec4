"""A look: what a witness is to look at after a wave, and of which nodes it may speak.

It speaks of nodes that it knows and that signed that they carried the command out, in their own wave, and never of itself.
Those that say themselves that it went wrong are sick, whatever they look like.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from worldos.kernel.guard.limits import LOOK_AGAIN_S, VOUCHED_MAX
from worldos.kernel.guard.pending import Pending
from worldos.kernel.guard.roll import Roll
from worldos.kernel.guard.said import Outcome
from worldos.kernel.guard.waves import opens_s, proofs, rank
from worldos.kernel.guard.witness import carried_out, is_sick
from worldos.model.ids import NodeId


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What this node, as a witness, should look at now: ``nodes`` that carried a command out in a wave, after its soak."""

    command: str
    wave: int
    nodes: tuple[NodeId, ...]
    failed: tuple[NodeId, ...] = ()


def sample(
    pending: Pending, roll: Roll, wave: int, besides: NodeId, is_known: Callable[[NodeId], bool]
) -> tuple[NodeId, ...]:
    """Return the nodes of a wave of which a witness speaks: those that carried the command out, the first by rank."""
    command = pending.command
    done = [
        node
        for node, did in pending.did.items()
        if node != besides and did.wave == wave and is_known(node) and carried_out(command, pending.id, roll, node, did)
    ]
    first = sorted(done, key=lambda node: rank(pending.id, command.beacon, node))[:VOUCHED_MAX]
    return tuple(sorted(first))


def failed(pending: Pending, wave: int, is_known: Callable[[NodeId], bool]) -> tuple[NodeId, ...]:
    """Return the nodes of a wave that say themselves that it went wrong."""
    bad = [
        node
        for node, did in pending.did.items()
        if did.wave == wave and did.outcome is Outcome.FAILED and is_known(node)
    ]
    return tuple(sorted(bad)[:VOUCHED_MAX])


def looks(pending: Pending, roll: Roll, witness: NodeId, now_s: int, is_known: Callable[[NodeId], bool]) -> list[Look]:
    """Return the waves of a command at which a witness should look now: done, their soak over, not looked at yet."""
    found: list[Look] = []
    for wave in range(len(pending.command.waves_ppm)):
        if now_s < opens_s(pending.command, wave + 1, pending.seen_s):
            break
        need = proofs(pending.command, pending.id, roll, wave, witness)
        before = pending.healths.get(wave, {}).get(witness)
        if before is not None:
            is_enough = len(before.well) >= need or is_sick(before, pending.did)
            if is_enough or now_s < before.at_s + LOOK_AGAIN_S:
                continue  # else it is time to see whether more can be said: who was asleep may be back
        nodes = sample(pending, roll, wave, witness, is_known)
        bad = failed(pending, wave, is_known)
        if 0 < need <= len(nodes) or bad:
            found.append(Look(command=pending.id, wave=wave, nodes=nodes, failed=bad))
    return found
