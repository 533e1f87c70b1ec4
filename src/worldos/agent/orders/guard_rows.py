"""The guard as rows that commands and the page draw: commands, rolls and limits, in plain values."""

from __future__ import annotations

from typing import Any, assert_never

from worldos.agent.orders.named import name_of
from worldos.kernel.guard.command import (
    Action,
    Drain,
    Drive,
    Resume,
    Revoke,
    SetConfig,
    SetPolicy,
    SetRoll,
    Stop,
    Update,
)
from worldos.kernel.guard.levels import RULES, need_of
from worldos.kernel.guard.pending import Pending, Stage, agreed
from worldos.kernel.guard.quorum import needed
from worldos.kernel.guard.roll import Roll, approvers_of, institutions, owners
from worldos.kernel.guard.said import Outcome
from worldos.kernel.guard.waves import ends, named, opens_s, population
from worldos.kernel.guard.witness import gate
from worldos.model.rights import Impact
from worldos.node import Node

Row = dict[str, Any]


def command_row(node: Node, now_ns: int, pending: Pending) -> Row:
    """Return all that is known of a command."""
    guard, command = node.guard, pending.command
    roll = guard.roll_of(pending)
    need = needed(roll, command) if roll is not None else None
    tally = agreed(pending, roll, guard.void(node)) if roll is not None else None
    turn = guard.turn(now_ns, pending.id, node)
    return {
        "id": pending.id,
        "what": what(command.action),
        "note": command.note,
        "realm": command.realm,
        "realm_name": _realm_name(node, command.realm),
        "level": command.level.name.lower(),
        "cls": int(command.cls),
        "class": command.cls.name.lower(),
        "proposer": pending.proposer,
        "proposer_name": name_of(node, pending.proposer),
        "state": pending.stage.value,
        "why": "" if turn.go else turn.why,
        "wave": pending.wave,
        "waves": _waves(node, now_ns, pending, roll),
        "soak_s": command.soak_s,
        "nodes": population(command, roll) if roll is not None else command.blast,
        "approvals": [_approval(roll, key) for key in pending.approvals],
        "needed": need.approvals if need is not None else 0,
        "missing": tally.missing if tally is not None else "its roll is not known here any more",
        "not_before_s": command.not_before_s,
        "expires_s": command.expires_s,
        "outcome": pending.did[node.node].outcome.value if node.node in pending.did else "",
    }


def roll_row(node: Node, roll: Roll) -> Row:
    """Return a roll and what its level asks for."""
    rule = RULES[roll.level]
    return {
        "realm": roll.realm,
        "realm_name": _realm_name(node, roll.realm),
        "level": roll.level.name.lower(),
        "number": roll.number,
        "nodes": [name_of(node, known) for known in roll.nodes] if roll.nodes else [],
        "population": roll.population,
        "approvers": [
            {
                "key": a.key,
                "name": "passkey" if a.passkey else name_of(node, a.key),
                "owner": a.owner,
                "institution": a.institution,
                "human": a.human or bool(a.passkey),
            }
            for a in roll.approvers
        ],
        "witnesses": [{"node": w.node, "name": name_of(node, w.node), "owner": w.owner} for w in roll.witnesses],
        "budget": {"cap": roll.cap, "shares": len(roll.shares)} if rule.budgeted else None,
        "asks": [
            {"class": impact.name.lower(), **_asked(roll, impact)} for impact in Impact if impact is not Impact.READ
        ],
        "waves_ppm": list(rule.waves_ppm),
        "soak_s": rule.soak_s,
    }


def limit_row(node: Node, key: str) -> Row:
    """Return a limit of the envelope, and where the thing is."""
    limit = node.guard.envelope.limits[key]
    at = node.guard.envelope.last.get(key)
    return {
        "path": key,
        "min_milli": limit.min_milli,
        "max_milli": limit.max_milli,
        "slew_milli_per_s": limit.slew_milli_per_s,
        "verbs": list(limit.verbs),
        "at_milli": at.value_milli if at is not None else None,
    }


def what(action: Action) -> str:
    """Return in a line what an action does."""
    match action:
        case SetConfig():
            return f"set {action.key} to {action.value}"
        case SetPolicy():
            return f"realm policy {action.key} = {action.value}"
        case Update():
            return f"update World OS to {action.version} (sha256 {action.digest.hex()[:16]})"
        case Drive():
            return f"{action.verb} {'/'.join(action.path)} {action.value_milli / 1000:g}"
        case Drain():
            return "grant nothing new"
        case Revoke():
            return f"take from {action.who} what this realm gave"
        case Stop():
            return f"stop {'/'.join(action.path)}"
        case SetRoll():
            return f"a new roll ({len(action.roll)} bytes)"
        case Resume():
            return "go on after a freeze"
        case _:
            assert_never(action)


def _waves(node: Node, now_ns: int, pending: Pending, roll: Roll | None) -> list[Row]:
    if roll is None:
        return []
    command, bounds = pending.command, ends(pending.command, roll)
    rows: list[Row] = []
    for wave in range(len(command.waves_ppm)):
        part = bounds[wave] - (bounds[wave - 1] if wave else 0)
        size = part if named(command, roll) else part * population(command, roll) // bounds[-1]
        did = [each for each in pending.did.values() if each.wave == wave]
        passed = gate(command, pending.id, roll, wave, pending.did, pending.healths.get(wave, {}))
        begun = node.wall_s(now_ns) >= opens_s(command, wave, pending.seen_s)
        state = "sick" if passed.is_sick else "well" if passed.is_open and did else "under way" if did else "waiting"
        if pending.stage is Stage.HALTED and not did:
            state = "stopped"
        done = sum(each.outcome is Outcome.DONE for each in did)
        rows.append({"size": size, "state": state, "did": done, "told": len(did), "open": begun, "why": passed.why})
    return rows


def _approval(roll: Roll | None, key: str) -> Row:
    approver = approvers_of(roll).get(key) if roll is not None else None
    return {"by": key, "owner": approver.owner if approver is not None else ""}


def _asked(roll: Roll, impact: Impact) -> Row:
    need = need_of(roll.level, impact, owners(roll), institutions(roll))
    return {"approvals": need.approvals, "institutions": need.institutions, "humans": need.humans}


def _realm_name(node: Node, realm: str) -> str:
    center = next((c for known, c in node.realms.centers.known.items() if known == realm), None)
    return center.path if center is not None else realm[:12]
