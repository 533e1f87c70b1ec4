"""Roles are kept while they may hold, and those that ended make room; the rest is told in test_authority.py."""

from __future__ import annotations

import pytest
from tests.kernel.realms.village import account
from tests.kernel.test_authority import NOW_S, OFFICE, desk, given, grant_of, tell, village  # noqa: F401 - fixtures

from worldos.kernel import roles
from worldos.kernel.realms import RealmsAtStart  # noqa: F401 - breaks no circle of imports
from worldos.model.ids import NodeId
from worldos.model.statements import Topic
from worldos.node import Node


def test_a_role_that_is_over_is_not_kept(village: object, desk: Node) -> None:  # noqa: F811
    tell(village, desk, Topic.ROLE, given(desk, expires_s=NOW_S - 1))  # type: ignore[arg-type]
    assert not desk.authority.roles.table


def test_the_same_grant_is_one_role(village: object, desk: Node) -> None:  # noqa: F811
    tell(village, desk, Topic.ROLE, given(desk))  # type: ignore[arg-type]
    tell(village, desk, Topic.ROLE, roles.write_role(roles.RoleGiven(grant=grant_of(desk), name="Bob", account="")))  # type: ignore[arg-type]
    assert [role.given.name for role in desk.authority.roles.table.values()] == ["Ann"]


def test_roles_that_ended_make_room_for_new_ones(
    monkeypatch: pytest.MonkeyPatch,
    village: object,  # noqa: F811
    desk: Node,  # noqa: F811
) -> None:
    monkeypatch.setattr(roles, "ROLES_MAX", 2)
    holders = account("home", 2)[1]
    for number, life_s in enumerate((10, 1000)):
        tell(village, desk, Topic.ROLE, given(desk, holder=holders[number], expires_s=NOW_S + life_s))  # type: ignore[arg-type]
    tell(village, desk, Topic.ROLE, given(desk, expires_s=NOW_S + 5))  # type: ignore[arg-type]
    assert len(desk.authority.roles.table) == 2
    desk.wall_ahead_ns += 20 * 10**9
    tell(village, desk, Topic.ROLE, given(desk, expires_s=NOW_S + 500))  # type: ignore[arg-type]
    assert len(desk.authority.roles.table) == 2
    assert not desk.authority.roles.of(NodeId(holders[0].node_id))
    assert len(desk.statements.of(Topic.ROLE)) == 2
    assert OFFICE
