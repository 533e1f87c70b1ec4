"""Guarded commands through the local door of two real agents: proposed here, approved here, carried out there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.agents import RunningAgent, linked, running, until
from tests.agent.agents import running_pair as both
from tests.agent.sites import notices
from tests.trust.soft_passkey import SoftPasskey

from worldos.agent.home import read_remembered, write_remembered
from worldos.errors import BadRequest, NotAllowed
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN
from worldos.trust.passkeys import write_assertion

Pair = tuple[RunningAgent, RunningAgent]
PASSKEY = SoftPasskey("http://localhost:7381")
APPROVERS = [
    {"who": "desk", "owner": "anna"},
    {"who": "", "owner": "ben", "passkey": PASSKEY.public, "rp": PASSKEY.rp},
]
WITNESSES = [{"who": "desk", "owner": "anna"}, {"who": "attic", "owner": "ben"}]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="wos-go-") as folder, both(Path(folder)) as agents:
        for agent in agents:
            (agent.home.path / "actuators").mkdir()
            (agent.home.path / "actuators" / "heating.toml").write_text('name = "heating"\nstart_milli = 18000\n')
        set_roll(agents)
        yield agents


def set_roll(pair: Pair, level: str = "") -> None:
    desk, attic = pair
    plan = {"approvers": APPROVERS, "witnesses": WITNESSES, "level": level}
    attic.ask("guard_take", roll=desk.ask("guard_roll", plan=plan)["roll"])


def propose(agent: RunningAgent, *action: Any, **plan: Any) -> dict[str, Any]:
    row: dict[str, Any] = agent.ask("guard_propose", action=list(action), plan=plan)
    return row


def seen(agent: RunningAgent, row: dict[str, Any]) -> dict[str, Any]:
    """The command as another agent has it, once it has."""

    def found() -> dict[str, Any] | None:
        rows = agent.ask("guard_status")
        return next((each for each in rows if each["id"] == row["id"]), None)

    return dict(until(found, "it is known there"))


def done(agent: RunningAgent, row: dict[str, Any]) -> dict[str, Any]:
    return dict(until(lambda: (r := seen(agent, row))["outcome"] and r, "it is carried out", 20))


def test_without_a_roll_nothing_can_be_proposed(agent: RunningAgent) -> None:
    with pytest.raises(NotAllowed, match="no roll"):
        propose(agent, "drain")


def test_the_roll_says_who_approves_and_what_the_level_asks(pair: Pair) -> None:
    for agent in pair:
        (row,) = agent.ask("guard_policy")
        assert [(a["owner"], a["human"]) for a in row["approvers"]] == [("anna", False), ("ben", True)]
        assert [w["name"] for w in row["witnesses"]] == ["desk", "attic"]
        assert {ask["class"]: ask["approvals"] for ask in row["asks"]}["reversible"] == 1


def test_a_choice_changes_on_both_once_it_is_approved_and_not_before(pair: Pair) -> None:
    desk, attic = pair
    row = propose(desk, "config", "relay", "false", note="it is slow")
    assert (row["what"], row["missing"], row["note"]) == ("set relay to false", "0 of 1 approvals", "it is slow")
    assert not seen(attic, row)["outcome"]
    desk.ask("guard_approve", command=row["id"][:8])
    for agent in pair:
        assert done(agent, row)["outcome"] == "done"
        assert "relay = false" in (agent.home.path / "config.toml").read_text()


def test_a_passkey_approves_the_exact_bytes_from_any_machine(pair: Pair) -> None:
    desk, attic = pair
    row = propose(desk, "config", "discover", "false")
    seen(attic, row)
    shown = attic.ask("guard_to_sign", command=row["id"])
    assert (shown["id"], shown["domain"]) == (row["id"], APPROVAL_DOMAIN)
    wrong = write_assertion(PASSKEY.assertion(APPROVAL_DOMAIN, shown["message"] + b"x"))
    with pytest.raises(NotAllowed, match="does not fit"):
        attic.ask("guard_approve", command=row["id"], passkey=PASSKEY.public, assertion=wrong)
    right = write_assertion(PASSKEY.assertion(APPROVAL_DOMAIN, shown["message"]))
    assert attic.ask("guard_approve", command=row["id"], passkey=PASSKEY.public, assertion=right)["missing"] == ""
    assert done(desk, row)["approvals"] == [{"by": row_key(desk, "ben"), "owner": "ben"}]


def row_key(agent: RunningAgent, owner: str) -> str:
    return str(next(a["key"] for a in agent.ask("guard_policy")[0]["approvers"] if a["owner"] == owner))


def test_who_is_not_on_the_roll_approves_nothing(pair: Pair) -> None:
    desk, attic = pair
    row = propose(desk, "config", "relay", "true")
    seen(attic, row)
    with pytest.raises(NotAllowed, match="may not approve"):
        attic.ask("guard_approve", command=row["id"])
    assert desk.ask("guard_stop", command=row["id"])["state"] == "stopped"


def test_one_key_stops_a_command_everywhere(pair: Pair) -> None:
    desk, attic = pair
    row = propose(desk, "config", "place", "cellar")
    seen(attic, row)
    attic.ask("guard_stop", command=row["id"], why="not today")
    until(lambda: seen(desk, row)["state"] == "stopped", "it is stopped there too")
    desk.ask("guard_approve", command=row["id"])
    assert not done_within(desk, row)


def done_within(agent: RunningAgent, row: dict[str, Any]) -> bool:
    return bool(seen(agent, row)["outcome"]) or "place" in (agent.home.path / "config.toml").read_text()


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("name", "evil", "no choice"),
        ("relay", "perhaps", "no value"),
    ],
)
def test_what_is_no_choice_is_refused_by_the_machine_and_changes_nothing(
    pair: Pair, key: str, value: str, why: str
) -> None:
    desk, attic = pair
    before = (attic.home.path / "config.toml").read_text()
    row = propose(desk, "config", key, value)
    desk.ask("guard_approve", command=row["id"])
    refused = done(attic, row)
    assert refused["outcome"] == "refused"
    assert why in refused["why"]
    assert (attic.home.path / "config.toml").read_text() == before


def test_an_actuator_goes_where_its_own_owner_lets_it_and_nowhere_else(pair: Pair) -> None:
    desk, attic = pair
    limit = {"path": ["actuators", "heating"], "min_milli": 5000, "max_milli": 24_000}
    (shown,) = attic.ask("guard_envelope", limits=[limit])
    assert (shown["path"], shown["max_milli"], shown["at_milli"]) == ("actuators/heating", 24_000, 18_000)
    row = propose(desk, "drive", ["actuators", "heating"], "set", 21_500)
    desk.ask("guard_approve", command=row["id"])
    assert done(attic, row)["outcome"] == "done"
    assert done(desk, row)["outcome"] == "refused", "its owner set no limits for it"
    assert b"21500" in (attic.home.path / "actuators" / "heating.at").read_bytes()


def test_a_limit_the_wrong_way_round_is_refused_and_the_old_ones_stay(pair: Pair) -> None:
    desk, _ = pair
    with pytest.raises(BadRequest):
        desk.ask("guard_envelope", limits=[{"path": ["a"], "min_milli": 2, "max_milli": 1}])
    assert desk.ask("guard_envelope") == []


def test_an_update_that_is_not_what_was_approved_is_laid_ready_nowhere_and_freezes_the_rest(pair: Pair) -> None:
    desk, _ = pair
    digest = hashlib.sha256(b"a wheel").digest()
    row = propose(desk, "update", "9.9.9", digest, "no code at all")
    desk.ask("guard_approve", command=row["id"])
    for agent in pair:  # one that heard first how it went at the other does not even try
        until(lambda agent=agent: agent.ask("guard_state")["frozen"], "it is frozen", 20)
        assert agent.ask("guard_state")["updates"] == []
    until(lambda: "failed" in {seen(agent, row)["outcome"] for agent in pair}, "who tried tells so")
    until(lambda: all(seen(agent, row)["state"] != "carrying out" for agent in pair), "both are through", 20)
    for agent in pair:
        agent.ask("guard_resume")
        assert agent.ask("guard_state")["frozen"] == {}


@pytest.mark.parametrize(
    "action", [["explode"], ["config", "relay"], ["config", "relay", 3], ["drive", "x", "set", 1], []]
)
def test_what_is_no_action_is_refused(pair: Pair, action: list[Any]) -> None:
    with pytest.raises(BadRequest):
        propose(pair[0], *action)


@pytest.mark.parametrize("text", ["", "abc", "zzzzzzzz", "../.."])
def test_a_command_that_there_is_not_is_named(pair: Pair, text: str) -> None:
    with pytest.raises(BadRequest):
        pair[0].ask("guard_approve", command=text)


@pytest.mark.parametrize("roll", [b"", b"x", b"\x93\x01\x02\x03"])
def test_what_is_no_roll_is_refused(pair: Pair, roll: bytes) -> None:
    with pytest.raises(BadRequest, match="no roll"):
        pair[0].ask("guard_take", roll=roll)


def test_a_machine_that_is_unknown_cannot_approve_nor_witness(pair: Pair) -> None:
    plan = {"approvers": [{"who": "nobody", "owner": "anna"}]}
    with pytest.raises(BadRequest, match="no machine is called"):
        pair[0].ask("guard_roll", plan=plan)


def test_what_was_carried_out_is_not_carried_out_again_by_the_next_life() -> None:
    with tempfile.TemporaryDirectory(prefix="wos-gl-") as name:
        with both(Path(name)) as agents:
            desk, attic = agents
            set_roll(agents)
            row = propose(desk, "config", "relay", "false")
            desk.ask("guard_approve", command=row["id"])
            done(attic, row)
            homes = [agent.home for agent in agents]
            waiting = propose(desk, "config", "place", "cellar")
            seen(attic, waiting)
        (homes[1].path / "config.toml").write_text("")
        (homes[1].path / "actuators").mkdir()
        (homes[1].path / "actuators" / "heating.toml").write_text('name = "heating"\n')
        with running(homes[0]) as desk:
            status = desk.ask("status")
            peers = {status["node"]: tuple(status["listens"])}
            write_remembered(homes[1], msgspec.structs.replace(read_remembered(homes[1]), peers=peers))
            with running(homes[1]) as attic:
                until(lambda: linked(attic), "the two are linked", 40)
                assert len(attic.ask("guard_policy")[0]["approvers"]) == 2
                assert seen(attic, row)["outcome"] == "done"
                assert seen(attic, waiting)["state"] == "waiting"
                desk.ask("guard_approve", command=waiting["id"])
                done(attic, waiting)
                assert "relay" not in (homes[1].path / "config.toml").read_text()
                assert len(notices(attic, "command carried out")) == 2
                (found,) = [r for r in attic.ask("resources") if r["kind"] == "Actuator"]
                assert found["facts"]["at_milli"] == 0
