"""``wos mcp``: a conversation over standard input, as an editor or an assistant starts it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails, wos

from worldos.home import Home

HELLO = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}\n'
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status"}}\n'


def test_a_conversation_is_answered_and_ends_with_its_input(agent: RunningAgent) -> None:
    run = wos(agent.home, "mcp", stdin=HELLO + CALL)
    hello, status = (json.loads(line) for line in run.stdout.splitlines())
    assert run.returncode == 0
    assert hello["result"]["serverInfo"]["name"] == "worldos"
    assert agent.ask("status")["node"] in status["result"]["content"][0]["text"]
    assert run.stderr == ""


def test_its_tools_can_be_looked_at_first(folder: Path) -> None:
    run = wos(Home(folder), "mcp", "--tools")
    assert "nodes" in run.stdout
    assert "drain" not in run.stdout
    first, *_ = json.loads(wos(Home(folder), "mcp", "--tools", "--json").stdout)
    assert first["name"] == "status"


def test_no_agent_and_no_grant_are_said_at_once(folder: Path, agent: RunningAgent) -> None:
    fails(wos(Home(folder), "mcp"), 4, "No World OS agent", "wos up")
    fails(wos(agent.home, "--grant", str(folder / "nothing"), "mcp"), 2, "cannot be read")
