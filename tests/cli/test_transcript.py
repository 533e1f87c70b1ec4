"""What a command puts out, told on in a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import wos

from worldos.cli.transcript import WAITING_BYTES_MAX, Transcript


@pytest.fixture
def agent(own_agent: RunningAgent) -> RunningAgent:
    return own_agent


def ops(agent: RunningAgent, name: str) -> list[dict[str, Any]]:
    return list(json.loads(wos(agent.home, "session", "show", name, "--json").stdout)["ops"])


def test_what_a_command_puts_out_is_in_the_session_and_here(agent: RunningAgent, folder: Path) -> None:
    script = "echo one; echo aside >&2; printf 'gr\\303\\274n'; exit 3"
    run = wos(agent.home, "run", "--session", "build", "--", "sh", "-c", script, cwd=folder)
    assert (run.returncode, run.stdout) == (3, "one\ngrün"), run.stderr
    told = ops(agent, "build")
    out = "".join(op["text"] for op in told if op["kind"] == "out")
    assert sorted(out.replace("grün", "grün\n").split()) == ["aside", "grün", "one"]
    assert told[1]["text"].startswith("$ sh -c")
    assert told[-1]["text"].startswith("exit code 3")
    again = wos(agent.home, "run", "--session", "build", "--", "true", cwd=folder)
    assert again.returncode == 0
    assert ops(agent, "build")[-1]["text"] == "exit code 0: true"


def test_what_comes_too_fast_is_left_out_and_said_so(agent: RunningAgent) -> None:
    with Transcript(agent.home, "flood", ["yes"]) as transcript:
        transcript.hear(b"y\n" * WAITING_BYTES_MAX)
    out = "".join(op["text"] for op in ops(agent, "flood") if op["kind"] == "out")
    assert out.startswith("y\ny\n")
    assert len(out) <= WAITING_BYTES_MAX + 100


def test_where_somebody_else_took_over_the_command_goes_on(agent: RunningAgent) -> None:
    transcript = Transcript(agent.home, "ending", ["work"])
    with transcript:
        wos(agent.home, "session", "end", "ending")
        transcript.hear(b"nobody hears this\n")
    transcript.hear(b"nor this\n")
    assert all(op["kind"] != "out" for op in ops(agent, "ending"))
