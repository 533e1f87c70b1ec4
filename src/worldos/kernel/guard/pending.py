"""A command that this node knows of, what was said about it, and whether its turn has come here.

``turn`` is the whole rule, in order: not stopped, nothing frozen, the right roll, enough approvals, budget, this node's wave, its
time, and the witnesses of each wave before. Whatever is not there means no.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable

import msgspec

from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.budget import share_of, within
from worldos.kernel.guard.command import Command, Resume
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.quorum import Tally, needed, tally
from worldos.kernel.guard.roll import Roll, roll_id
from worldos.kernel.guard.said import Did, Health, Spent
from worldos.kernel.guard.waves import opens_s, population, settles_s
from worldos.kernel.guard.witness import Gate, gate
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND


class Stage(enum.StrEnum):
    """Where a command is on this node."""

    WAITING = "waiting"
    CARRYING = "carrying out"
    DID = "carried out"
    HALTED = "stopped"
    ENDED = "ended"


class Pending(msgspec.Struct, kw_only=True):
    """One command. ``seen_s`` and ``seen_ns`` are when it was first heard of, by people's clock and by this life's.

    ``approvals`` are by key, with the number of statements that came for it; ``spent`` are by share holder.
    """

    id: str
    body: bytes
    command: Command
    proposer: NodeId
    wave: int | None
    seen_ns: int
    seen_s: int
    stage: Stage = Stage.WAITING
    why: str = ""
    approvals: list[str] = []
    spent: list[tuple[NodeId, Spent]] = []
    did: dict[NodeId, Did] = {}
    healths: dict[int, dict[NodeId, Health]] = {}
    is_alarmed: bool = False
    hasty: list[str] = []  # keys that were muted because it was due and not agreed on, as far as this node heard
    gates: dict[int, Gate] = {}  # what ``did`` and ``healths`` come to; whoever adds to these clears it


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to carry a command out now, and why not. ``sick``: a wave before did badly."""

    go: bool
    why: str = ""
    sick: bool = False


def agreed(pending: Pending, roll: Roll, void: Container[str] = ()) -> Tally:
    """Count the approvals of a command, without those of keys that are ``void``."""
    keys = [key for key in pending.approvals if key not in void]
    return tally(roll, needed(roll, pending.command), keys)


def is_bare(pending: Pending, roll: Roll) -> bool:
    """Tell whether a command goes with less than a quorum: then budgets bound how many nodes such ones reach together."""
    return needed(roll, pending.command).approvals <= 1


def has_budget(pending: Pending, roll: Roll, places: Iterable[str], void: Container[str] = ()) -> bool:
    """Tell whether units of a share of one of these places were given to all nodes that the command reaches there."""
    here = set(places)
    for holder, spent in pending.spent:
        share = share_of(roll, holder, spent.place)
        is_good = share is not None and holder not in void and spent.place in here and within(share, spent)
        if is_good and spent.count >= population(pending.command, roll):
            return True
    return False


def turn(
    pending: Pending,
    roll: Roll | None,
    breaker: Breaker,
    now_ns: int,
    now_s: int,
    places: tuple[str, ...] = (),
    void: Container[str] = (),
) -> Turn:
    """Say whether this node carries the command out now."""
    command = pending.command
    if pending.stage is not Stage.WAITING:
        return Turn(go=False, why=pending.why or pending.stage.value)
    if not now_s or not pending.seen_s:
        return Turn(go=False, why="this machine does not know the time yet")
    if now_s >= command.expires_s:
        return Turn(go=False, why="its time is over")
    if roll is None or roll_id(roll) != command.roll:
        return Turn(go=False, why="it was made under another roll")
    if breaker.is_open and not isinstance(command.action, Resume):
        return Turn(go=False, why=f"all stays as it is: {breaker.why}")
    missing = agreed(pending, roll, void).missing
    if missing:
        return Turn(go=False, why=missing)
    if is_bare(pending, roll) and RULES[command.level].budgeted and not has_budget(pending, roll, places, void):
        return Turn(go=False, why="no budget was given to it")
    if pending.wave is None:
        return Turn(go=False, why="it is not for this node")
    return _its_time(pending, roll, now_ns, now_s)


def _its_time(pending: Pending, roll: Roll, now_ns: int, now_s: int) -> Turn:
    """Say whether the waves before did well, and the time has come."""
    command, wave = pending.command, pending.wave
    assert wave is not None
    for before in range(wave):
        passed = _gate_of(pending, roll, before)
        if not passed.is_open:
            return Turn(go=False, why=passed.why, sick=passed.is_sick)
    if now_s < opens_s(command, wave, pending.seen_s):
        return Turn(go=False, why=f"wave {wave} is not yet")
    if now_ns < pending.seen_ns + settles_s(command, wave) * SECOND:
        return Turn(go=False, why=f"wave {wave} waits for stops that may be on their way")
    return Turn(go=True)


def sick_wave(pending: Pending, roll: Roll) -> str:
    """Return why a wave of this command did badly, whichever; nothing if none is known to."""
    for wave in sorted(pending.healths):
        passed = _gate_of(pending, roll, wave)
        if passed.is_sick:
            return passed.why
    return ""


def _gate_of(pending: Pending, roll: Roll, wave: int) -> Gate:
    known = pending.gates.get(wave)
    if known is None:
        seen = pending.healths.get(wave, {})
        known = pending.gates[wave] = gate(pending.command, pending.id, roll, wave, pending.did, seen)
    return known
