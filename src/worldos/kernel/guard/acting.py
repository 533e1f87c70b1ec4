"""Acting: what this node does about a command now, if anything. ``pending.turn`` is the rule; here it is followed.

A command is begun once. The guard's own (a roll, closing the breaker) are done here, what is driven is asked of the owner's
envelope first, and the rest is for the shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.kernel.effects import Carry, Effect, State
from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.command import (
    Drive,
    Resume,
    SetRoll,
    narrows,
)
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.limits import (
    ENDED_MAX,
    HASTE_GRACE_S,
)
from worldos.kernel.guard.pending import Pending, Stage, Turn, agreed, has_budget, is_bare, sick_wave, turn
from worldos.kernel.guard.roll import Roll, read_roll
from worldos.kernel.guard.said import (
    Did,
    Outcome,
    encode_said,
    topic_of,
)
from worldos.kernel.guard.table import Table, notice, places_of
from worldos.kernel.guard.waves import population, reports
from worldos.model.rights import Impact
from worldos.model.statements import Topic

if TYPE_CHECKING:
    from worldos.kernel.household import Household


def turn_of(table: Table, now_ns: int, pending: Pending, house: Household) -> Turn:
    """Say whether a command's turn has come here, and why not."""
    roll = table.rolls.get(pending.command.realm)
    places = (*table.places, *places_of(house))
    breaker = table.breakers.get(pending.command.realm, Breaker())
    return turn(pending, roll, breaker, now_ns, house.wall_s(now_ns), places, table.void(house))


def act(table: Table, now_ns: int, pending: Pending, house: Household) -> list[Effect]:
    """Do what can be done about a command now."""
    roll = table.roll_of(pending)
    if roll is None or pending.stage is not Stage.WAITING or house.statements.restoring:
        return []
    pending.seen_s = pending.seen_s or house.wall_s(now_ns)
    effects = feel(table, now_ns, pending, roll)
    effects.extend(_watch(table, now_ns, pending, roll, house))
    effects.extend(_give(table, now_ns, pending, roll, house))
    if not turn_of(table, now_ns, pending, house).go:
        return effects
    bare = narrows(pending.command.action) and not table.buckets.narrow.take(now_ns)
    if bare or not table.buckets.node.take(now_ns):
        return effects  # its turn stays, for when there is room again
    return [*effects, *_begin(table, now_ns, pending, house)]


def _begin(table: Table, now_ns: int, pending: Pending, house: Household) -> list[Effect]:
    """Carry a command out: the guard's own by itself, within the envelope what is driven, the rest by the shell."""
    pending.stage = Stage.CARRYING
    action = pending.command.action
    if isinstance(action, SetRoll):
        table.set_roll(read_roll(action.roll))
        return conclude(table, now_ns, pending, Outcome.DONE, "", house)
    if isinstance(action, Resume):
        table.resume(pending.command.realm)
        return conclude(table, now_ns, pending, Outcome.DONE, "", house)
    if isinstance(action, Drive):
        why = table.envelope.refusal(now_ns, action)
        if why:
            return conclude(table, now_ns, pending, Outcome.REFUSED, why, house)
        table.envelope.drove(now_ns, action)
    return [Carry(command=pending.body)]


def conclude(table: Table, now_ns: int, pending: Pending, outcome: Outcome, why: str, house: Household) -> list[Effect]:
    """Note how it went here, and tell it where this node is one that tells; what failed freezes the realm on this node."""
    assert pending.wave is not None
    pending.stage, pending.why = Stage.DID, why
    effects: list[Effect] = [notice("command carried out", pending, outcome=outcome.value, why=why)]
    roll = table.roll_of(pending)
    if outcome is Outcome.FAILED and table.breaker_of(pending).trip(now_ns, pending.id, f"it failed here: {why}"):
        effects.append(notice("guard frozen", pending, why=why))
    if roll is not None and reports(pending.command, pending.id, roll, house.node):
        did = Did(command=pending.id, wave=pending.wave, outcome=outcome)
        effects.append(State(topic=topic_of(did), body=encode_said(did)))
    return effects


def feel(table: Table, now_ns: int, pending: Pending, roll: Roll) -> list[Effect]:
    """Freeze the realm if witnesses saw that a wave did badly."""
    why = sick_wave(pending, roll)
    if not why or not table.breaker_of(pending).trip(now_ns, pending.id, why):
        return []
    if pending.stage is Stage.WAITING:
        pending.stage, pending.why = Stage.HALTED, why
    return [notice("guard frozen", pending, why=why)]


def _watch(table: Table, now_ns: int, pending: Pending, roll: Roll, house: Household) -> list[Effect]:
    """Sound the alarm for a physical command that is due and was not agreed on: nobody honest is in such haste."""
    command, now_s = pending.command, house.wall_s(now_ns)
    if not RULES[command.level].hasty or command.cls < Impact.PHYSICAL or not now_s or now_s < command.not_before_s:
        return []
    tally = agreed(pending, roll, table.void(house))
    if not tally.missing:
        return []
    effects: list[Effect] = []
    if not pending.is_alarmed:
        pending.is_alarmed = True
        effects.extend(table.alarm(pending.proposer, pending.id, "it is due, and is not agreed on", mute=False))
    if now_s >= max(command.not_before_s, pending.seen_s) + HASTE_GRACE_S:
        pending.stage, pending.why = Stage.HALTED, "it was due, and was not agreed on"
        lonely = pending.approvals if len(tally.owners) <= 1 else ()
        pending.hasty = sorted({pending.proposer, *lonely} - table.muted.keys())
        for key in pending.hasty:
            effects.extend(table.alarm(key, pending.id, pending.why, mute=True))
    return effects


def heal(table: Table, pending: Pending, roll: Roll, house: Household) -> list[Effect]:
    """Take back that a key was in haste: a quorum is there after all, and this node only heard of it late."""
    if not pending.hasty or agreed(pending, roll, table.void(house) - set(pending.hasty)).missing:
        return []
    for key in pending.hasty:
        table.muted.pop(key, None)
    pending.hasty = []
    pending.stage, pending.why = Stage.WAITING, ""
    return [notice("guard alarm over", pending, why="enough had approved it; this node heard of that late")]


def _give(table: Table, now_ns: int, pending: Pending, roll: Roll, house: Household) -> list[Effect]:
    """Give units of the shares that this node holds to a command that needs them; each once, as long as there are any."""
    now_s, command = house.wall_s(now_ns), pending.command
    if not RULES[command.level].budgeted or not is_bare(pending, roll) or now_s < max(1, command.not_before_s):
        return []
    if agreed(pending, roll, table.void(house)).missing:
        return []
    effects: list[Effect] = []
    for share in roll.shares:
        if share.holder != house.node or has_budget(pending, roll, (share.place,), table.void(house)):
            continue
        spent = table.purse_of(roll, share.place, house).spend(pending.id, population(command, roll), now_s)
        if spent is not None:
            effects.append(State(topic=Topic.APPROVAL, body=encode_said(spent)))
    return effects


def end(table: Table, pending: Pending) -> list[Effect]:
    """Let a command go: its time is over."""
    del table.commands[pending.id]
    table.put_away(pending.id)
    table.ended[pending.id] = pending.stage.value
    while len(table.ended) > ENDED_MAX:
        del table.ended[next(iter(table.ended))]
    if pending.stage in {Stage.WAITING, Stage.HALTED}:
        return [notice("command ended", pending, why=pending.why or "its time is over")]
    return []
