"""Roles: named templates of grants, at six levels. Giving a role is signing a grant made from its template.

A role says which ops it is for, and how bad the worst of them may be; the level of the realm lowers that to what may be done
there without a quorum, except for who approves: an approval is what makes a quorum. What is worse goes the way of the guard. At
higher levels a grant is shorter, so that one that was lost sight of ends by itself. Source: DESIGN.md section 10.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from worldos.model.realm import Level
from worldos.model.rights import Impact, Op, Path
from worldos.trust.block import Limits

DAY_S: Final = 86_400

WITHOUT_QUORUM: Final = {
    Level.PERSONAL: Impact.PHYSICAL,
    Level.HOME: Impact.COSTLY,
    Level.ENTERPRISE: Impact.REVERSIBLE,
    Level.GROUP: Impact.REVERSIBLE,
    Level.NATION: Impact.READ,
    Level.PLANET: Impact.READ,
}
"""What may be done at a level by one alone."""

LIFE_S: Final = {
    Level.PERSONAL: 30 * DAY_S,
    Level.HOME: 30 * DAY_S,
    Level.ENTERPRISE: 7 * DAY_S,
    Level.GROUP: 7 * DAY_S,
    Level.NATION: DAY_S,
    Level.PLANET: DAY_S,
}
"""For how long a role is given where nobody says it."""

LIFE_MAX_S: Final = 366 * DAY_S


class RoleName(enum.StrEnum):
    """The roles that there are."""

    GUEST = "guest"
    MEMBER = "member"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    OWNER = "owner"


class Template(msgspec.Struct, frozen=True):
    """What a role is for."""

    ops: tuple[Op, ...]
    impact: Impact
    said: str
    by_quorum: bool = False  # its class is not lowered: what it does is one voice of a quorum


TEMPLATES: Final[dict[RoleName, Template]] = {
    RoleName.GUEST: Template((Op.LEASE,), Impact.REVERSIBLE, "lease what is free"),
    RoleName.MEMBER: Template((Op.LEASE, Op.READ, Op.WRITE), Impact.COSTLY, "lease, read and write"),
    RoleName.OPERATOR: Template(
        (Op.LEASE, Op.READ, Op.WRITE, Op.DRIVE, Op.AUDIT), Impact.PHYSICAL, "a member that also drives machines"
    ),
    RoleName.APPROVER: Template((Op.READ, Op.APPROVE), Impact.IRREVERSIBLE, "be one voice of a quorum", by_quorum=True),
    RoleName.AUDITOR: Template((Op.READ, Op.AUDIT), Impact.READ, "look, and check what was decided"),
    RoleName.OWNER: Template(tuple(Op), Impact.IRREVERSIBLE, "all that one alone may do"),
}


def role_limits(role: RoleName, level: Level, paths: tuple[Path, ...], now_s: int, expires_s: int = 0) -> Limits:
    """Return the limits of a grant that gives a role at a level to what is below these paths; 0: for the usual time."""
    template = TEMPLATES[role]
    impact = template.impact if template.by_quorum else min(template.impact, WITHOUT_QUORUM[level])
    return Limits(
        level=level,
        paths=tuple(sorted(set(paths))),
        ops=tuple(sorted(template.ops)),
        cls=impact,
        not_before_s=now_s,
        expires_s=expires_s or now_s + LIFE_S[level],
        role=str(role),
    )
