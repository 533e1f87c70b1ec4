"""Sessions between two real agents: what is begun on one goes on on the other, and is followed there live."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.errors import BadRequest, NotAllowed
from worldos.sdk.asking import Asking

Pair = tuple[RunningAgent, RunningAgent]


def row(agent: RunningAgent, name: str) -> dict[str, Any]:
    return next((row for row in agent.ask("session_list") if row["name"] == name), {})


def test_a_session_goes_from_one_device_to_the_other_and_back(pair: Pair) -> None:
    desk, attic = pair
    desk.ask("session_start", name="thesis")
    desk.ask("session_say", session="thesis", text="on the desk")
    until(lambda: row(attic, "thesis").get("seq") == 2, "the attic has it")
    with pytest.raises(NotAllowed, match="writes in this session"):
        attic.ask("session_say", session="thesis", text="too early")
    assert attic.ask("session_move", session="thesis")["here"]
    attic.ask("session_say", session="thesis", text="in the attic")
    until(lambda: row(desk, "thesis")["seq"] == 4, "the desk has it")
    with pytest.raises(NotAllowed):
        desk.ask("session_say", session="thesis", text="too late")
    attic.ask("session_move", session="thesis", to="desk")
    until(lambda: row(desk, "thesis")["here"], "the desk took over by itself")
    ops = desk.ask("session_show", session="thesis")["ops"]
    assert [op["text"] for op in ops if op["kind"] == "say"] == ["on the desk", "in the attic"]
    assert desk.ask("session_show", session="thesis", since=ops[-1]["seq"])["ops"] == []
    assert not desk.ask("session_end", session="thesis")["open"]
    with pytest.raises(BadRequest, match="has ended"):
        desk.ask("session_say", session="thesis", text="more")


def test_a_session_is_followed_live_from_another_device(pair: Pair) -> None:
    desk, attic = pair
    desk.ask("session_start", name="live")
    until(lambda: row(attic, "live"), "the attic has it")
    heard: list[dict[str, Any]] = []

    def follow() -> None:
        with Asking(attic.home) as agent:
            agent.ask("session_show", session="live", follow=True, progress=heard.append, timeout_s=30)

    following = threading.Thread(target=follow)
    following.start()
    for number in range(5):
        desk.ask("session_say", session="live", text=f"step {number}", kind="out")
    until(lambda: sum("op" in value for value in heard) == 6, "all of it is heard")
    assert [value["op"]["text"] for value in heard if value.get("op", {}).get("kind") == "out"] == [
        f"step {number}" for number in range(5)
    ]
    attic.ask("session_move", session="live")
    until(lambda: any(value.get("row", {}).get("here") for value in heard), "who writes is heard too")
    attic.ask("session_end", session="live")
    following.join(30)
    assert not following.is_alive(), "the end ends it"
    assert not heard[-2].get("row", {"open": False})["open"] or heard[-1]["op"]["kind"] == "end"


def test_sessions_are_there_again_after_a_restart(pair: Pair) -> None:
    desk, _ = pair
    with pytest.raises(BadRequest, match="there is no session"):
        desk.ask("session_show", session="none")
    name = desk.ask("session_start", name="kept")["id"]
    assert name in {row["id"] for row in desk.ask("session_list")}
    assert desk.home.statements_file.stat().st_size > 100
