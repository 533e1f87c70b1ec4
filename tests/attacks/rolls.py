"""Rolls and sizes for the attacks on the guard: a planet of twelve nations, each with seven persons of different institutions."""

from __future__ import annotations

import os

from worldos.kernel.guard.command import Action, Command
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.roll import Approver, Roll, Share, Witness, roll_id
from worldos.kernel.guard.said import Approval
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.sim.guard_scale import BEGIN_S, Campaign

LONG = bool(os.environ.get("TRUST_LONG"))
SIZE = 1_000_000 if LONG else 100_000
FEW = SIZE if LONG else 20_000  # for what was carried out at full size by a test beside it
NATIONS, PERSONS = 12, 7
REALM = RealmId("planet")
DAY_S = 86_400
HOUR_S = 3_600


def person(nation: int, number: int) -> NodeId:
    return NodeId(f"nation-{nation:02d}-person-{number}")


WITNESSES = [NodeId(f"witness-{number}") for number in range(5)]
QUORUM = [person(nation, number) for nation in range(8) for number in range(5)]


def a_planet(level: Level = Level.PLANET, *, shares: tuple[Share, ...] = (), size: int = SIZE) -> Roll:
    approvers = [
        Approver(key=person(n, p), owner=f"person {n} {p}", institution=f"nation {n}", human=True)
        for n in range(NATIONS)
        for p in range(PERSONS)
    ]
    return Roll(
        realm=REALM,
        level=level,
        number=1,
        population=size,
        approvers=tuple(approvers),
        witnesses=tuple(Witness(node=node, owner=f"owner of {node}") for node in WITNESSES),
        cap=sum(share.amount for share in shares),
        shares=shares,
    )


def an_order(roll: Roll, action: Action, /, **more: object) -> Command:
    """A command as slow as its level wants it, due one second after the campaign begins."""
    rule = RULES[roll.level]
    chosen: dict[str, object] = {
        "realm": roll.realm,
        "roll": roll_id(roll),
        "level": roll.level,
        "cls": Impact.IRREVERSIBLE,
        "action": action,
        "waves_ppm": rule.waves_ppm,
        "soak_s": rule.soak_s,
        "beacon": bytes(32),
        "not_before_s": BEGIN_S + 1,
        "expires_s": BEGIN_S + 60 * DAY_S,
        "blast": roll.population,
        "owner": "thief",
    }
    return Command(**{**chosen, **more})  # type: ignore[arg-type]


def approve(campaign: Campaign, *keys: NodeId) -> None:
    for key in keys:
        campaign.say(key, Approval(command=campaign.known, key=key))
