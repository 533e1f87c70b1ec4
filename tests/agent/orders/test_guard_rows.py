"""The guard as rows: every action in a line, every wave with its state."""

from __future__ import annotations

import pytest
from tests.kernel.guard.fleet import BEGIN_S, REALM, a_command, a_roll, id_of, key
from tests.test_node import node_of

from worldos.agent.orders.guard_rows import command_row, limit_row, roll_row, what
from worldos.kernel.events import GuardSet, StatementsOffered
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
    command_id,
    encode_command,
)
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.owner import Found, LimitsSet, RollSet, encode_change
from worldos.kernel.guard.roll import encode_roll
from worldos.model.limits import SECOND
from worldos.model.realm import Level
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.trust.statements import sign_statement

ROLL = a_roll(Level.HOME, ["a", "b", "c", "d"], ["anna", "ben"], ["a", "b"])


def node_with_command() -> tuple[Node, str]:
    node = node_of()
    node.wall_ahead_ns = BEGIN_S * SECOND
    node.handle(GuardSet(now_ns=SECOND, change=encode_change(RollSet(roll=encode_roll(ROLL)))))
    body = encode_command(a_command(ROLL))
    node.handle(StatementsOffered(now_ns=SECOND, statements=(sign_statement(key("anna"), Topic.COMMAND, body),)))
    return node, command_id(body)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (SetConfig(key="relay", value="false"), "set relay to false"),
        (SetPolicy(key="lend", value="kin"), "realm policy lend = kin"),
        (Update(version="9.1", digest=bytes(32), cap="wos1x"), "update World OS to 9.1 (sha256 0000000000000000)"),
        (Drive(path=("actuators", "heating"), verb="set", value_milli=21_500), "set actuators/heating 21.5"),
        (Drain(), "grant nothing new"),
        (Revoke(who="carl"), "take from carl what this realm gave"),
        (Stop(path=("acme",)), "stop acme"),
        (SetRoll(roll=b"abc"), "a new roll (3 bytes)"),
        (Resume(), "go on after a freeze"),
    ],
)
def test_each_action_is_said_in_a_line(action: Action, words: str) -> None:
    assert what(action) == words


def test_a_command_says_what_is_missing_and_how_large_its_waves_are() -> None:
    node, known = node_with_command()
    row = command_row(node, 2 * SECOND, node.guard.commands[known])
    assert (row["id"], row["realm"], row["level"], row["class"]) == (known, REALM, "home", "costly")
    assert row["missing"].startswith("0 of 1")
    assert row["approvals"] == []
    assert [wave["size"] for wave in row["waves"]] == [2, 2]
    assert {wave["state"] for wave in row["waves"]} == {"waiting"}
    assert row["proposer"] == id_of("anna")
    assert row["outcome"] == ""


def test_a_roll_says_what_each_class_takes() -> None:
    row = roll_row(node_of(), ROLL)
    assert [a["owner"] for a in row["approvers"]] == ["anna", "ben"]
    asked = {ask["class"]: ask["approvals"] for ask in row["asks"]}
    assert asked["costly"] == 1
    assert asked["physical"] == 2
    assert row["waves_ppm"][-1] == 1_000_000


def test_a_limit_says_where_the_thing_is() -> None:
    node = node_of()
    limit = Limit(path=("actuators", "heating"), min_milli=5000, max_milli=24_000, slew_milli_per_s=10)
    node.handle(GuardSet(now_ns=SECOND, change=encode_change(LimitsSet(limits=(limit,)))))
    assert limit_row(node, "actuators/heating")["at_milli"] is None
    node.handle(GuardSet(now_ns=SECOND, change=encode_change(Found(at_milli={"actuators/heating": 18_000}))))
    row = limit_row(node, "actuators/heating")
    assert (row["min_milli"], row["max_milli"], row["at_milli"]) == (5000, 24_000, 18_000)
