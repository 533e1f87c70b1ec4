"""Orders: questions and commands by name, each wrong one refused with a sentence."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.errors import BadRequest, WorldError
from worldos.sdk.asking import Asking


def test_the_status_says_who_where_and_since_when(agent: RunningAgent) -> None:
    status = agent.ask("status")
    assert status["name"] == "desk"
    assert status["home"] == str(agent.home.path)
    assert status["life"] == 1
    assert status["devices"] == 1
    assert not status["drained"]
    assert Path(status["journal"]).is_file()
    until(lambda: agent.ask("status")["center"] == "this node for desk, epoch 1", "it is the center of its realm")


def test_a_node_sees_itself_with_what_it_has(agent: RunningAgent) -> None:
    (row,) = agent.ask("nodes")
    assert row["here"]
    assert row["status"] == "alive"
    assert row["cpu_capacity"] >= row["cpu_free"] > 0
    assert row["memory_capacity"] > 0


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"kind": "CPU"}, {"CPU"}),
        ({"kind": "CPU", "where": "cores >= 1"}, {"CPU"}),
        ({"kind": "CPU", "where": "cores >= 100000"}, set()),
        ({"kind": "CPU", "near": "me"}, {"CPU"}),
        ({"place": "nowhere"}, set()),
        ({"text": "no such text"}, set()),
    ],
)
def test_resources_are_found_by_what_is_known_of_them(agent: RunningAgent, query: dict, kinds: set[str]) -> None:
    assert {row["kind"] for row in agent.ask("resources", **query)} == kinds


def test_a_resource_has_a_history_of_its_life(agent: RunningAgent) -> None:
    (cpu,) = agent.ask("resources", kind="CPU")
    found = agent.ask("resource", id=cpu["id"])
    assert found["history"][0]["state"] == "available"
    assert agent.ask("resource", id=cpu["uri"])["id"] == cpu["id"]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("dance", {}, "there is no order 'dance'"),
        ("", {}, "there is no order ''"),
        ("carry_out", {}, "there is no order"),
        ("status", {"surprise": 1}, "unknown field `surprise`"),
        ("revoke", {}, "missing required field `device`"),
        ("revoke", {"device": "nobody"}, "no device is called 'nobody'"),
        ("revoke", {"device": "desk"}, "does not revoke itself"),
        ("revoke", {"device": 5}, ""),
        ("resource", {"id": "nothing"}, "there is no resource 'nothing'"),
        ("resources", {"kind": "Toaster"}, "Toaster"),
        ("resources", {"where": "memory >= "}, ""),
        ("resources", {"where": "__import__('os')"}, ""),
        ("resources", {"near": 5}, ""),
        ("log", {"lines": "many"}, ""),
        ("confirm", {"confirm": 999, "yes": True}, "nobody waits"),
        ("confirm", {"confirm": [], "yes": True}, ""),
        ("invite", {"life_s": "long"}, ""),
    ],
)
def test_a_wrong_order_is_refused_with_a_sentence(agent: RunningAgent, name: str, arguments: dict, said: str) -> None:
    with pytest.raises(WorldError) as caught:
        agent.ask(name, **arguments)
    assert said in str(caught.value)
    assert caught.value.hint
    assert "mistake of the agent" not in str(caught.value)
    assert agent.ask("status")["name"] == "desk"


def test_a_drained_node_grants_nothing_new_and_comes_back(agent: RunningAgent) -> None:
    agent.ask("drain", drained=True)
    assert agent.ask("status")["drained"]
    assert {row["state"] for row in agent.ask("resources", kind="CPU")} == {"maintenance"}
    agent.ask("drain", drained=False)
    assert not agent.ask("status")["drained"]


def test_nothing_is_granted_and_nothing_held_without_programs(agent: RunningAgent) -> None:
    assert agent.ask("leases") == {"granted": [], "held": []}


def test_the_log_knows_how_this_life_began(agent: RunningAgent) -> None:
    lines = agent.ask("log", lines=1000)
    assert [line["fields"]["process"] for line in lines if line["name"] == "agent started"] == [agent.process.pid]
    assert len(agent.ask("log", lines=1)) == 1


def test_one_device_is_active(agent: RunningAgent) -> None:
    (device,) = agent.ask("devices")
    assert device["here"]
    assert device["status"] == "active"


def test_down_ends_the_agent_and_leave_takes_the_device_out(folder: Path) -> None:
    with running(new_home(folder / "one")) as agent:
        assert agent.ask("down")["stopping"]
        assert agent.wait() == 0
    with running(new_home(folder / "two")) as agent:
        assert agent.ask("leave")["told"] == 0
        assert agent.wait() == 0
        assert "revoked" in (agent.home.path / "notices.jsonl").read_text()


def test_who_ends_an_invitation_takes_its_ticket_back(agent: RunningAgent) -> None:
    class Enough(Exception):
        pass

    def stop(value: dict) -> None:
        raise Enough(value["addresses"][0])

    with pytest.raises(Enough) as caught, Asking(agent.home) as asking:
        asking.ask("invite", progress=stop, life_s=600)
    port = int(str(caught.value).rpartition(":")[2])
    until(lambda: not listens(port), "the claim door is closed again")


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_an_invitation_nobody_uses_ends_in_time(agent: RunningAgent) -> None:
    with pytest.raises(WorldError, match="nobody used the ticket in time") as caught:
        agent.ask("invite", life_s=1)
    assert "wos invite" in caught.value.hint


def test_a_bad_request_is_a_bad_request_here_too(agent: RunningAgent) -> None:
    with pytest.raises(BadRequest):
        agent.ask("dance")
