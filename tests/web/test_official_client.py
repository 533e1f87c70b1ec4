"""The official client of the Model Context Protocol talks with ours: what we understand it to be, and what it is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from worldos.home import Home


def conversation(
    home: Home, *options: str, calls: tuple[tuple[str, dict[str, Any]], ...]
) -> tuple[Any, list[str], list[Any]]:
    """Start ``wos mcp`` as an assistant would; return its hello, its tools, and what came of each call."""
    words = ["-P", "-m", "worldos.cli.main", *options, "mcp"]
    server = StdioServerParameters(
        command=sys.executable, args=words, env={**os.environ, "WORLDOS_HOME": str(home.path)}
    )

    async def talk() -> tuple[Any, list[str], list[Any]]:
        async with stdio_client(server) as (heard, said), ClientSession(heard, said) as session:
            hello = await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            return hello, tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(asyncio.wait_for(talk(), 50))


def test_it_says_hello_lists_tools_uses_one_and_is_refused_another(agent: Any) -> None:
    calls = (
        ("devices", {}),
        ("drain", {"drained": True}),
        ("resource", {"id": "none"}),
        ("run", {"command": ["true"]}),
    )
    hello, tools, (devices, *refused) = conversation(agent.home, calls=calls)
    assert hello.server_info.name == "worldos"
    assert hello.protocol_version == "2025-06-18"
    assert "nodes" in tools
    assert "drain" not in tools
    assert not devices.is_error
    assert json.loads(devices.content[0].text)[0]["name"] == "desk"
    assert all(result.is_error for result in refused)
    assert "without a grant" in refused[0].content[0].text
    assert "wos resources lists them" in refused[1].content[0].text
    assert not agent.ask("status")["drained"]


def test_with_a_grant_it_runs_what_the_grant_lets_it(agent: Any, tmp_path: Path) -> None:
    (given,) = agent.ask("role_grant", who=agent.ask("status")["node"], role="operator")["given"]
    file = tmp_path / "operator.grant"
    file.write_text(given["grant"])
    calls = (
        ("run", {"command": ["echo", "hello"]}),
        ("drain", {"drained": True}),
        ("submit", {"command": ["true"], "name": "from an assistant"}),
        ("jobs", {"count": 10}),
    )
    _, tools, (ran, drained, submitted, jobs) = conversation(agent.home, "--grant", str(file), calls=calls)
    assert "run" in tools
    assert json.loads(ran.content[0].text)["output"] == "hello\n"
    assert drained.is_error
    assert "not for admin" in drained.content[0].text
    job = json.loads(submitted.content[0].text)
    assert (job["name"], job["by"]) == ("from an assistant", "desk")
    assert job["job"] in [row["job"] for row in json.loads(jobs.content[0].text)]
    assert not agent.ask("status")["drained"]
