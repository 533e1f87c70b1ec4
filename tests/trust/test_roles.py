"""Each role at each level: never more than one alone may do there, never longer than is good."""

from __future__ import annotations

import itertools

import pytest

from worldos.model.ids import NodeId
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op
from worldos.trust.grant import issue, read_chain
from worldos.trust.keys import DeviceKey
from worldos.trust.roles import LIFE_MAX_S, LIFE_S, TEMPLATES, WITHOUT_QUORUM, RoleName, role_limits

NOW_S = 1_900_000_000
KEY = DeviceKey.from_seed(b"k" * 32)
ACCOUNT = DeviceKey.from_seed(b"a" * 32).node_id
PATHS = ((ACCOUNT, "node"),)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("role", list(RoleName))
def test_a_role_can_be_granted_at_each_level_and_reads_back(role: RoleName, level: Level) -> None:
    limits = role_limits(role, level, PATHS, NOW_S)
    data = issue(KEY, account=ACCOUNT, holder=NodeId(KEY.node_id), limits=limits)  # type: ignore[arg-type]
    granted = read_chain(data).authority
    assert granted.roles == (role,)
    assert set(granted.ops) == set(TEMPLATES[role].ops)
    assert granted.level is level
    assert granted.expires_s - NOW_S == LIFE_S[level] <= LIFE_MAX_S


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("role", [role for role in RoleName if role is not RoleName.APPROVER])
def test_no_role_does_alone_what_takes_a_quorum(role: RoleName, level: Level) -> None:
    limits = role_limits(role, level, PATHS, NOW_S)
    assert isinstance(limits.cls, Impact)
    assert limits.cls <= WITHOUT_QUORUM[level]


def test_who_approves_has_a_voice_in_everything_and_does_nothing_itself() -> None:
    assert role_limits(RoleName.APPROVER, Level.NATION, PATHS, NOW_S).cls is Impact.IRREVERSIBLE
    assert {Op.LEASE, Op.WRITE, Op.DRIVE, Op.ADMIT}.isdisjoint(TEMPLATES[RoleName.APPROVER].ops)


def test_the_higher_the_level_the_less_and_the_shorter() -> None:
    levels = list(Level)
    for below, above in itertools.pairwise(levels):
        assert WITHOUT_QUORUM[above] <= WITHOUT_QUORUM[below]
        assert LIFE_S[above] <= LIFE_S[below]


def test_a_time_that_is_said_counts() -> None:
    assert role_limits(RoleName.GUEST, Level.PERSONAL, PATHS, NOW_S, NOW_S + 5).expires_s == NOW_S + 5
