"""Roles between real agents: given on one machine, known on the other, and taken back for both."""

from __future__ import annotations

import time

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.errors import BadRequest, NotAllowed
from worldos.trust.grant import read_chain
from worldos.trust.grant_text import read_grant_text
from worldos.trust.keys import DeviceKey

STRANGER, OTHER, THIRD = (DeviceKey.from_seed(letter * 32).node_id for letter in (b"s", b"o", b"t"))
Pair = tuple[RunningAgent, RunningAgent]


def names(agent: RunningAgent) -> tuple[str, str]:
    rows = agent.ask("nodes")
    return next(row["name"] for row in rows if row["here"]), next(row["name"] for row in rows if not row["here"])


def test_a_role_is_known_on_every_machine_until_it_is_taken_back(pair: Pair) -> None:
    desk, attic = pair
    given = desk.ask("role_grant", who=STRANGER, role="guest", resource="CPU")
    assert given["told"]
    assert len(given["given"][0]["paths"]) == 2
    until(
        lambda: attic.ask("can", who=STRANGER, op="lease", resource="attic/CPU")["allowed"], "the role is known there"
    )
    assert not attic.ask("can", who=STRANGER, op="lease", resource="attic/Memory")["allowed"]
    attic.ask("role_revoke", role=STRANGER)
    refused = until(
        lambda: None if (said := desk.ask("can", who=STRANGER, op="lease", resource="desk/CPU"))["allowed"] else said,
        "it is taken back here too",
    )
    assert "revoked" in refused["why"]
    assert not any(row["holds"] for row in desk.ask("role_list") if row["holder"] == STRANGER)


def test_all_grants_end_at_once_and_later_ones_hold(pair: Pair) -> None:
    desk, _ = pair
    desk.ask("role_grant", who=OTHER, role="member")
    assert desk.ask("can", who=OTHER, op="write", resource="files/photos")["allowed"]
    desk.ask("role_revoke", role="all")
    assert not desk.ask("can", who=OTHER, op="write", resource="files/photos")["allowed"]
    desk.ask("role_grant", who=OTHER, role="member")
    assert desk.ask("can", who=OTHER, op="write", resource="files/photos")["allowed"]
    desk.ask("role_revoke", role=OTHER)


def test_every_answer_says_which_rules_said_so(pair: Pair) -> None:
    desk, _ = pair
    mine = desk.ask("can", who="attic", op="lease", resource="CPU")
    assert (mine["allowed"], mine["by"]) == (True, "key log")
    nobody = desk.ask("can", who=THIRD, op="lease", resource="desk/CPU")
    assert (nobody["allowed"], nobody["by"]) == (False, "default")
    assert [rule["rule"] for rule in nobody["rules"]] == ["key log", "quarantine", "lend", "freshness", "default"]


def test_a_role_for_a_machine_of_ours_is_told_to_nobody(pair: Pair) -> None:
    desk, _ = pair
    given = desk.ask("role_grant", who="attic", role="guest")
    assert not given["told"]
    assert given["given"][0]["own"]
    assert read_chain(read_grant_text(given["given"][0]["grant"])).authority.roles == ("guest",)


def test_who_this_machine_is(pair: Pair) -> None:
    me = pair[0].ask("whoami")
    assert me["code"].startswith("wos1")
    assert (me["name"], me["member"], me["narrowed"]) == ("desk", True, None)
    assert me["fresh_s"] < 60


def test_a_grant_for_another_machine_is_no_use_in_this_wallet(pair: Pair) -> None:
    desk, attic = pair
    given = desk.ask("role_grant", who=STRANGER, role="guest", untold=True)
    with pytest.raises(NotAllowed, match="another machine"):
        attic.ask("grant_add", grant=given["given"][0]["grant"])
    for attic_own in (desk.ask("role_grant", who="attic", role="guest")["given"][0],):
        kept = attic.ask("grant_add", grant=attic_own["grant"])
        assert [row["id"] for row in attic.ask("grants")["held"]] == [kept["id"]]
        attic.ask("grant_remove", grant=kept["id"][:8])
    assert attic.ask("grants")["held"] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"who": "nobody at all", "role": "guest"}, "nobody called"),
        ({"who": STRANGER, "role": "king"}, "no role"),
        ({"who": STRANGER, "role": "guest", "until_s": 1}, "from now on"),
        ({"who": STRANGER, "role": "guest", "until_s": int(time.time()) + 400 * 86400}, "a year"),
        ({"who": STRANGER, "role": "guest", "resource": "../../grid"}, "names nothing"),
        ({"who": STRANGER, "role": "guest", "resource": "nowhere/CPU"}, "no machine"),
        ({"who": STRANGER, "role": "guest", "realm": "atlantis"}, "no realm"),
        ({"who": "a" * 51 + "1", "role": "guest"}, "no id"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_reason(pair: Pair, arguments: dict[str, object], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        pair[0].ask("role_grant", **arguments)
