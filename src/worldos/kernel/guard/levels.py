"""Levels: how many must agree, how slowly it goes, and how fresh a revocation must be, for each level of realm.

A command of a class up to ``free_class`` needs one approver; above it a *quorum* of different persons. Who only narrows
(stops something) needs one key at every level, and goes by waves like everything else. What needs more than the table knows
is refused: there is no row that says yes by default. Source: research in docs/decisions/0025-guard.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.kernel.guard.limits import DAY_S, HOUR_S, MINUTE_S, PPM
from worldos.model.realm import Level
from worldos.model.rights import Impact


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What agreement a command needs: ``approvals`` by different owners, from so many ``institutions``.

    ``each``: of every institution that counts so many must have agreed. ``humans``: each with a person present.
    """

    approvals: int = 1
    institutions: int = 1
    each: int = 1
    humans: bool = False


class Quorum(msgspec.Struct, frozen=True, kw_only=True):
    """``approvals`` of ``of``: a larger roll needs more in proportion, so a long list is no weaker than a short one.

    ``parts``: so many of so many institutions (2 of 3), each with ``each`` of ``of`` of its own, in place of a number.
    """

    approvals: int
    of: int
    institutions: int = 1
    parts: tuple[int, int] | None = None
    humans: bool = False


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``waves_ppm`` are parts of the realm's nodes, cumulative: no wave of a command may be larger than its row's."""

    free_class: Impact
    quorums: dict[Impact, Quorum]
    waves_ppm: tuple[int, ...]
    soak_s: int
    fresh_s: int
    budgeted: bool  # commands below the quorum spend a share of the realm's budget
    hasty: bool  # a physical command that is due without its quorum is an alarm, and mutes who proposed it


_TWO: Final = Quorum(approvals=2, of=4)
_FIVE_OF_SEVEN: Final = Quorum(approvals=5, of=7, institutions=4, humans=True)
_NATIONS: Final = Quorum(approvals=5, of=7, parts=(2, 3), humans=True)
_THREE_OF_FIVE: Final = Quorum(approvals=3, of=5, humans=True)
_GROUP: Final = Quorum(approvals=3, of=5, institutions=2, humans=True)


def _from(first: Impact, quorum: Quorum) -> dict[Impact, Quorum]:
    return {impact: quorum for impact in Impact if impact >= first}


RULES: Final[dict[Level, Rule]] = {
    Level.PERSONAL: Rule(
        free_class=Impact.PHYSICAL,
        quorums=_from(Impact.IRREVERSIBLE, Quorum(approvals=1, of=1, humans=True)),
        waves_ppm=(PPM,),
        soak_s=0,
        fresh_s=7 * DAY_S,
        budgeted=False,
        hasty=False,
    ),
    Level.HOME: Rule(
        free_class=Impact.COSTLY,
        quorums=_from(Impact.PHYSICAL, _TWO),
        waves_ppm=(100_000, PPM),
        soak_s=MINUTE_S,
        fresh_s=DAY_S,
        budgeted=False,
        hasty=False,
    ),
    Level.ENTERPRISE: Rule(
        free_class=Impact.REVERSIBLE,
        quorums=_from(Impact.PHYSICAL, _THREE_OF_FIVE) | {Impact.COSTLY: Quorum(approvals=2, of=3, humans=True)},
        waves_ppm=(100, 10_000, 100_000, PPM),
        soak_s=10 * MINUTE_S,
        fresh_s=HOUR_S,
        budgeted=True,
        hasty=False,
    ),
    Level.GROUP: Rule(
        free_class=Impact.REVERSIBLE,
        quorums=_from(Impact.COSTLY, _GROUP),
        waves_ppm=(10, 1000, 10_000, 100_000, PPM),
        soak_s=HOUR_S,
        fresh_s=HOUR_S,
        budgeted=True,
        hasty=True,
    ),
    Level.NATION: Rule(
        free_class=Impact.READ,
        quorums=_from(Impact.REVERSIBLE, _FIVE_OF_SEVEN),
        waves_ppm=(10, 1000, 10_000, 100_000, 500_000, PPM),
        soak_s=DAY_S,
        fresh_s=MINUTE_S,
        budgeted=True,
        hasty=True,
    ),
    Level.PLANET: Rule(
        free_class=Impact.READ,
        quorums=_from(Impact.REVERSIBLE, _NATIONS),
        waves_ppm=(10, 1000, 10_000, 100_000, 500_000, PPM),
        soak_s=3 * DAY_S,
        fresh_s=MINUTE_S,
        budgeted=True,
        hasty=True,
    ),
}


def need_of(level: Level, impact: Impact, owners: int, institutions: int) -> Need:
    """Return what agreement a command needs in a realm whose roll has so many owners in so many institutions."""
    rule = RULES[level]
    if impact <= rule.free_class:
        return Need()
    quorum = rule.quorums[impact]
    if quorum.parts is not None:
        part, whole = quorum.parts
        many = max(1, _ceil(institutions * part, whole))
        return Need(approvals=many * quorum.approvals, institutions=many, each=quorum.approvals, humans=quorum.humans)
    approvals = max(quorum.approvals, _ceil(owners * quorum.approvals, quorum.of))
    return Need(approvals=approvals, institutions=quorum.institutions, humans=quorum.humans)


def _ceil(number: int, by: int) -> int:
    return -(-number // by)
