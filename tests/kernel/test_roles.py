"""Roles are kept while they may hold, and those that ended make room; the rest is told in test_authority.py."""

from __future__ import annotations

import pytest
from tests.kernel.realms.village import Village, account
from tests.kernel.test_authority import NOW_S, OFFICE, desk, given, grant_of, tell, village  # noqa: F401 - fixtures

from worldos.kernel import roles
from worldos.kernel.events import StatementsOffered
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.local import LeaseLost, UseGranted, UseRefused
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.trust.revocation import GrantRevoked, write_revocation
from worldos.trust.statements import sign_statement


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


def test_who_has_a_role_finds_what_is_lent_to_nobody_else_by_the_name_of_the_site() -> None:
    town = Village(home=2, office=2)
    town.run(4)
    acme = town.found("home0", "acme")
    assert town.join("home0", "home0", acme) == ""
    assert town.join("home0", "office0", acme) == ""
    town.run(5)
    for node in town.nodes.values():
        node.wall_ahead_ns = NOW_S * SECOND - town.now_ns
    assert isinstance(town.use("home1", cores=2, realm="acme/office"), UseRefused)
    host = town.nodes["office0"]
    holder = account("home", 2)[1][1]
    statement = sign_statement(OFFICE[0], Topic.ROLE, given(host, holder=holder))
    town.feed("office0", StatementsOffered(now_ns=town.now_ns, statements=(statement,)))
    town.run(2)
    granted = town.use("home1", cores=2, realm="acme/office")
    assert isinstance(granted, UseGranted)
    assert isinstance(town.use("home0", cores=2, realm="acme/office"), UseRefused), "it has no role"
    lender = town.nodes[town.names[granted.leases[0].node]]
    assert granted.leases[0].lease in lender.authority.leased
    role = next(iter(host.authority.roles.table))
    taken = sign_statement(OFFICE[0], Topic.REVOKED, write_revocation(GrantRevoked(block=role)))
    town.feed("office0", StatementsOffered(now_ns=town.now_ns, statements=(taken,)))
    town.run(1)
    assert granted.leases[0].lease not in lender.leases.leases
    assert any(isinstance(message, LeaseLost) for name, message in town.told if name == "home1")
