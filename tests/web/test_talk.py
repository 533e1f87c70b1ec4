"""Talking with a real agent: what comes back as JSON, and what goes wrong as words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from worldos.errors import BadRequest, CorruptFile, NoAgent, NotAllowed, OverQuota, Unreachable, WorldError
from worldos.home import Home
from worldos.web.talk import Stream, ask, said_of, to_json


def test_an_answer_of_the_agent_comes_as_it_is(agent: Any) -> None:
    assert ask(agent.home, "devices", {})[0]["name"] == "desk"


def test_bytes_come_as_base64() -> None:
    assert json.loads(to_json({"message": b"\x00\xff"})) == {"message": "AP8="}


def test_no_agent_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        ask(Home(tmp_path), "status", {})


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadRequest("x"), 400), (NotAllowed("x"), 403), (OverQuota("x"), 409), (NoAgent("x"), 503), (Unreachable("x"), 504),
     (CorruptFile("x"), 500), (WorldError("x"), 500)],
)  # fmt: skip
def test_an_error_has_its_status_and_its_words(error: WorldError, status: int) -> None:
    error.hint = "do this"
    number, said = said_of(error)
    assert number == status
    assert said == {"error": type(error).__name__, "message": "x", "because": "", "hint": "do this"}


def test_an_error_tells_its_causes() -> None:
    error = BadRequest("no")
    error.__cause__ = ValueError("seven is no colour")
    assert said_of(error)[1]["because"] == "seven is no colour"


def test_a_stream_gives_the_answer_and_ends(agent: Any) -> None:
    async def read() -> list[Any]:
        return [json.loads(line) async for line in Stream(agent.home, "devices", {}).lines() if line.strip()]

    (line,) = asyncio.run(read())
    assert line["answer"][0]["name"] == "desk"


def test_a_stream_says_why_it_fails(agent: Any) -> None:
    async def read() -> list[Any]:
        return [json.loads(line) async for line in Stream(agent.home, "nothing", {}).lines() if line.strip()]

    (line,) = asyncio.run(read())
    assert line["error"] == "BadRequest"


def test_a_stream_that_nobody_reads_any_more_hangs_up(agent: Any) -> None:
    """An invitation waits for a machine; who asked goes away, and the agent has one program less."""

    def programs() -> int:
        return int(agent.ask("status")["programs"])

    before = programs()

    async def read_one() -> None:
        stream = Stream(agent.home, "invite", {}).lines()
        assert "progress" in json.loads(await anext(stream))
        assert programs() == before + 1
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(read_one())
    from tests.agent.agents import until  # noqa: PLC0415

    until(lambda: programs() == before, "the agent noticed")
