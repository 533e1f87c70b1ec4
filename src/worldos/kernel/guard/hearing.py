"""Hearing: what becomes of a statement under the guard's topics. It is kept, or refused with a reason for the honest.

A command must be whole, of this node's roll, within its level, and by somebody of the realm. What is said of one that is not
known yet is put aside for a while: statements come in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.effects import Effect
from worldos.kernel.guard.acting import act, feel, heal
from worldos.kernel.guard.budget import overlap, share_of, within
from worldos.kernel.guard.command import (
    Command,
    SetRoll,
    command_id,
    haste,
    read_command,
    too_far_ahead,
)
from worldos.kernel.guard.limits import (
    COMMANDS_MAX,
    COMMANDS_PER_SIGNER_MAX,
    EARLY_MAX,
    EARLY_PER_SIGNER_MAX,
    SHARE_WINDOW_S,
    WINDOWS_KEPT,
)
from worldos.kernel.guard.pending import Pending, Stage, agreed
from worldos.kernel.guard.quorum import voice
from worldos.kernel.guard.roll import Roll, approvers_of, read_roll, roll_id, witnesses_of
from worldos.kernel.guard.said import (
    Approval,
    Did,
    Halt,
    Health,
    Said,
    Spent,
    encode_said,
    read_said,
    topic_of,
)
from worldos.kernel.guard.table import Table, notice
from worldos.kernel.guard.waves import population, reports, wave_of
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.statements import Statement, Topic
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household


def judge(table: Table, now_ns: int, statement: Statement, house: Household) -> Verdict:
    """Take in a statement about a command, or refuse it."""
    try:
        if statement.topic is Topic.COMMAND:
            about, verdict = command_id(statement.body), _proposed(table, now_ns, statement, house)
        else:
            said = read_said(statement.topic, statement.body)
            about, verdict = said.command, _heard(table, now_ns, statement, said, house)
    except (PeerBroke, BadSignature) as error:
        return _no(str(error))
    if verdict.keep:
        table.kept.setdefault(about, []).append((statement.topic, statement_id(statement)))
    return msgspec.structs.replace(verdict, drop=(*verdict.drop, *table.over.pop(statement.topic, ())))


def _heard(table: Table, now_ns: int, statement: Statement, said: Said, house: Household) -> Verdict:
    pending = table.commands.get(said.command)
    muted = _mute(table, statement.signer, pending)
    if muted:
        return _no(muted)
    if pending is None:
        return _too_early(table, now_ns, statement, said.command, house)
    roll = table.roll_of(pending)
    if roll is None:
        return _no("the roll of this command is not the one of this node any more")
    signer = NodeId(statement.signer)
    match said:
        case Approval():
            return _approved(table, now_ns, signer, said, pending, roll, house)
        case Spent():
            return _spent(table, now_ns, signer, said, pending, roll, house)
        case Did():
            return _did(table, signer, said, pending, roll, house)
        case Health():
            return _looked(table, now_ns, signer, said, pending, roll)
        case Halt():
            return _halted(table, now_ns, signer, said, pending, roll, house)
        case _:
            assert_never(said)


def _proposed(table: Table, now_ns: int, statement: Statement, house: Household) -> Verdict:
    """Take in a command, if this node has its roll and whoever says it may propose one."""
    body, signer = statement.body, NodeId(statement.signer)
    muted = _mute(table, signer, None)
    if muted:
        return _no(muted)
    command = read_command(body)
    roll = table.rolls.get(command.realm)
    if roll is None:
        return _no("this node has no roll of that realm")
    if not _may_propose(table, signer, roll, house):
        return _no("whoever proposes this is not of the realm")
    known = command_id(body)
    if known in table.commands or known in table.ended:
        return _no("it was proposed already")
    why = _form_refusal(table, now_ns, command, roll, house)
    if why:
        return _no(why)
    fast = haste(command)
    if fast:
        return Verdict(keep=False, why=fast, effects=table.alarm(signer, known, f"it goes too fast: {fast}", mute=True))
    full = _no_room(table, now_ns, signer, house)
    if full:
        return _not_now(full)
    wave = wave_of(command, known, roll, house.node)
    table.commands[known] = pending = Pending(
        id=known,
        body=body,
        command=command,
        proposer=signer,
        wave=wave,
        seen_ns=now_ns,
        seen_s=table.before.seen_s.get(known, 0) or house.wall_s(now_ns),
        stage=Stage.DID if known in table.before.done else Stage.WAITING,
    )
    effects: list[Effect] = [notice("command proposed", pending, by=signer, wave=-1 if wave is None else wave)]
    table.early_ns.pop(known, None)
    for early in table.early.pop(known, ()):
        effects.extend(_again(table, now_ns, early, house))
    return Verdict(keep=True, effects=(*effects, *act(table, now_ns, pending, house)))


def _form_refusal(table: Table, now_ns: int, command: Command, roll: Roll, house: Household) -> str:
    now_s = house.wall_s(now_ns)
    if command.roll != roll_id(roll):
        return "it was made under another roll than this node's"
    if command.level != roll.level:
        return f"the realm is of level {roll.level.name.lower()}"
    if population(command, roll) > command.blast:
        return f"it reaches {population(command, roll)} nodes, and says {command.blast} at most"
    if now_s and now_s >= command.expires_s:
        return "its time is over"
    if now_s and too_far_ahead(command, now_s):
        return "it is for a time that is too far ahead"
    if isinstance(command.action, SetRoll):
        after = read_roll(command.action.roll)
        if after.realm != roll.realm or after.level != roll.level or after.number <= roll.number:
            return "a new roll is of the same realm and level, and has a higher number"
    return ""


def _approved(
    table: Table, now_ns: int, signer: NodeId, said: Approval, pending: Pending, roll: Roll, house: Household
) -> Verdict:
    muted = _mute(table, said.key, pending)
    if muted:
        return _no(muted)
    if said.key in pending.approvals:
        return _no("it was approved by this key already")
    approver = voice(roll, signer, said, pending.body)
    if approver is None:
        return _no("no approver of this realm's roll")
    pending.approvals.append(said.key)
    healed = heal(table, pending, roll, house)
    tally = agreed(pending, roll, table.void(house))
    effects = [*healed, notice("command approved", pending, by=approver.owner, missing=tally.missing)]
    return Verdict(keep=True, effects=(*effects, *act(table, now_ns, pending, house)))


def _spent(
    table: Table, now_ns: int, signer: NodeId, said: Spent, pending: Pending, roll: Roll, house: Household
) -> Verdict:
    share = share_of(roll, signer, said.place)
    if share is None or not within(share, said):
        return _no("no such share, or not so much of it")
    if said.window > house.wall_s(now_ns) // SHARE_WINDOW_S + 1 and not house.statements.restoring:
        return _not_now("it is spent of a window that is not yet")
    given = table.spendings.setdefault(f"{signer}/{said.place}", [])
    twice = next((other for other in given if overlap(other, said)), None)
    if twice is not None:
        return Verdict(
            keep=True,
            effects=table.alarm(signer, pending.id, f"a unit was given to {twice.command} too", mute=True),
        )
    given[:] = [each for each in given if each.window + WINDOWS_KEPT > said.window] + [said]
    pending.spent.append((signer, said))
    if signer == house.node:
        table.purse_of(roll, said.place, house).gave(said)
    return Verdict(keep=True, effects=tuple(act(table, now_ns, pending, house)))


def _did(table: Table, signer: NodeId, said: Did, pending: Pending, roll: Roll, house: Household) -> Verdict:
    if wave_of(pending.command, pending.id, roll, signer) != said.wave:
        return _no("it is not that node's wave")
    if not reports(pending.command, pending.id, roll, signer):
        return _no("this node need not tell")
    if signer in pending.did:
        return _no("it told so already")
    pending.did[signer] = said
    pending.gates.clear()
    if signer == house.node and pending.stage in {Stage.WAITING, Stage.CARRYING}:
        pending.stage = Stage.DID  # in an earlier life, perhaps: it is not carried out twice
    return Verdict(keep=True)


def _looked(table: Table, now_ns: int, signer: NodeId, said: Health, pending: Pending, roll: Roll) -> Verdict:
    if signer not in witnesses_of(roll):
        return _no("no witness of this realm's roll")
    if said.wave >= len(pending.command.waves_ppm):
        return _no("there is no such wave")
    seen = pending.healths.setdefault(said.wave, {})
    before = seen.get(signer)
    if before is not None and before.at_s >= said.at_s:
        return _no("this witness looked again since")
    seen[signer] = said
    pending.gates.clear()
    old = () if before is None else (_id_of(signer, before),)
    return Verdict(keep=True, effects=tuple(feel(table, now_ns, pending, roll)), drop=old)


def _halted(
    table: Table, now_ns: int, signer: NodeId, said: Halt, pending: Pending, roll: Roll, house: Household
) -> Verdict:
    is_owner = house.is_member(signer)
    if not is_owner and signer not in approvers_of(roll) and signer not in witnesses_of(roll):
        return _no("only who is on the roll, or the owner here, may stop a command")
    if not house.statements.restoring and not table.buckets.may_stop(now_ns, signer):
        return _not_now("this key stopped too much in this hour")
    effects: list[Effect] = []
    if pending.stage is Stage.WAITING or pending.hasty:
        pending.hasty = []  # now somebody stopped it: a quorum that is heard of late does not bring it back
        pending.stage, pending.why = Stage.HALTED, said.why or "it was stopped"
        effects.append(notice("command stopped", pending, by=signer, why=said.why))
    if said.mute in {pending.proposer, *pending.approvals} and said.mute != signer:
        effects.extend(table.alarm(said.mute, pending.id, f"muted by {signer}", mute=True))
    return Verdict(keep=True, effects=tuple(effects))


def _again(table: Table, now_ns: int, early: Statement, house: Household) -> tuple[Effect, ...]:
    """Judge what was put aside; it is kept already, and goes with its command."""
    try:
        return _heard(table, now_ns, early, read_said(early.topic, early.body), house).effects
    except (PeerBroke, BadSignature):
        return ()


def _too_early(table: Table, now_ns: int, statement: Statement, about: str, house: Household) -> Verdict:
    """Put aside what is about a command that is not known yet: statements come in any order."""
    if about in table.ended:
        return _no("that command is over")
    signer = statement.signer
    waiting = [each for many in table.early.values() for each in many]
    is_known = house.is_member(signer) or any(
        signer in approvers_of(roll) or signer in witnesses_of(roll) or signer in roll.nodes
        for roll in table.rolls.values()
    )
    if len(waiting) >= (EARLY_MAX if is_known else EARLY_MAX // 2):
        return _not_now("too much is said about commands that are not known here")
    if sum(each.signer == signer for each in waiting) >= EARLY_PER_SIGNER_MAX:
        return _not_now("this node says too much about commands that are not known here")
    table.early.setdefault(about, []).append(statement)
    table.early_ns.setdefault(about, now_ns)
    return Verdict(keep=True)


def _may_propose(table: Table, signer: NodeId, roll: Roll, house: Household) -> bool:
    is_on_roll = signer in approvers_of(roll) or signer in witnesses_of(roll) or signer in roll.nodes
    return is_on_roll or house.is_member(signer)


def _make_room(
    table: Table,
) -> bool:
    """Let the oldest command go that nobody approves; tell whether there was one."""
    lonely = next((p for p in table.commands.values() if p.stage is Stage.WAITING and not p.approvals), None)
    if lonely is None:
        return False
    del table.commands[lonely.id]
    table.put_away(lonely.id)
    return True


def _no_room(table: Table, now_ns: int, signer: NodeId, house: Household) -> str:
    if house.statements.restoring:
        return ""
    if len(table.commands) >= COMMANDS_MAX and not _make_room(table):
        return f"{COMMANDS_MAX} commands are the most"
    if sum(pending.proposer == signer for pending in table.commands.values()) >= COMMANDS_PER_SIGNER_MAX:
        return f"{COMMANDS_PER_SIGNER_MAX} commands by one proposer are the most"
    if not table.buckets.may_propose(now_ns, signer):
        return "this key proposed too much in this hour"
    return ""


def _mute(table: Table, key: str, pending: Pending | None) -> str:
    """Return why a key is not heard, or nothing. Of a command that is held for haste it is: a quorum may come late."""
    if key not in table.muted or (pending is not None and key in pending.hasty):
        return ""
    return f"this key is muted: {table.muted[key]}"


def _no(why: str) -> Verdict:
    return Verdict(keep=False, why=why)


def _not_now(why: str) -> Verdict:
    """Refuse it for now: told again, it is judged again."""
    return Verdict(keep=False, why=why, later=True)


def _id_of(signer: NodeId, said: Said) -> str:
    return statement_id(Statement(topic=topic_of(said), signer=signer, body=encode_said(said), signature=bytes(64)))
