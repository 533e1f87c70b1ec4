"""Levels: the higher one, the more agree, the slower it goes, and the less one key can do."""

from __future__ import annotations

import itertools

import pytest

from worldos.kernel.guard.levels import RULES, Need, need_of
from worldos.kernel.guard.limits import PPM
from worldos.model.realm import Level
from worldos.model.rights import Impact


@pytest.mark.parametrize(
    ("level", "impact", "owners", "institutions", "approvals", "of_institutions"),
    [
        (Level.PERSONAL, Impact.PHYSICAL, 1, 1, 1, 1),
        (Level.HOME, Impact.COSTLY, 2, 1, 1, 1),
        (Level.HOME, Impact.PHYSICAL, 2, 1, 2, 1),
        (Level.HOME, Impact.PHYSICAL, 4, 1, 2, 1),
        (Level.ENTERPRISE, Impact.REVERSIBLE, 5, 1, 1, 1),
        (Level.ENTERPRISE, Impact.COSTLY, 3, 1, 2, 1),
        (Level.ENTERPRISE, Impact.PHYSICAL, 5, 1, 3, 1),
        (Level.GROUP, Impact.COSTLY, 5, 2, 3, 2),
        (Level.NATION, Impact.REVERSIBLE, 7, 4, 5, 4),
        (Level.PLANET, Impact.REVERSIBLE, 84, 12, 40, 8),
        (Level.PLANET, Impact.IRREVERSIBLE, 7, 1, 5, 1),
        (Level.PLANET, Impact.IRREVERSIBLE, 14, 2, 10, 2),
    ],
)
def test_each_level_needs_so_many_approvals(
    level: Level, impact: Impact, owners: int, institutions: int, approvals: int, of_institutions: int
) -> None:
    need = need_of(level, impact, owners, institutions)
    assert (need.approvals, need.institutions) == (approvals, of_institutions)


def test_a_longer_roll_needs_more_in_proportion() -> None:
    assert need_of(Level.NATION, Impact.PHYSICAL, 70, 10).approvals == 50
    assert need_of(Level.ENTERPRISE, Impact.COSTLY, 10, 1).approvals == 7


def test_a_roll_that_is_too_short_can_approve_nothing() -> None:
    assert need_of(Level.NATION, Impact.PHYSICAL, 2, 1) == Need(approvals=5, institutions=4, humans=True)
    assert need_of(Level.PLANET, Impact.PHYSICAL, 0, 0).approvals == 5


def test_no_class_of_a_level_is_without_a_rule() -> None:
    for level in Level:
        needs = [need_of(level, impact, 7, 4) for impact in Impact]
        assert [need.approvals for need in needs] == sorted(need.approvals for need in needs)


def test_a_higher_level_is_never_hastier() -> None:
    rules = [RULES[level] for level in Level]
    for lower, higher in itertools.pairwise(rules):
        assert higher.free_class <= lower.free_class
        assert len(higher.waves_ppm) >= len(lower.waves_ppm)
        assert higher.soak_s >= lower.soak_s
        assert higher.fresh_s <= lower.fresh_s


def test_waves_grow_and_end_with_everybody() -> None:
    for rule in RULES.values():
        assert list(rule.waves_ppm) == sorted(rule.waves_ppm)
        assert rule.waves_ppm[-1] == PPM


def test_before_honest_witnesses_can_speak_less_than_a_thousandth_is_reached_at_the_highest_levels() -> None:
    for level in (Level.GROUP, Level.NATION, Level.PLANET):
        assert RULES[level].waves_ppm[0] < PPM // 1000
