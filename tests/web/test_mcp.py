"""The Model Context Protocol, line by line; the official client talks with it in test_official_client.py."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.home import Home
from worldos.web.limits import MESSAGE_BYTES_MAX
from worldos.web.mcp import VERSIONS, Speaker, converse

NOWHERE = Home(Path("/nonexistent"))


def asked(method: str, number: Any = 1, **parameters: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}).encode()


def answer(line: bytes, home: Home = NOWHERE) -> Any:
    said = Speaker(home, granted=False).answer(line)
    return None if said is None else json.loads(said)


def test_a_client_says_hello_and_gets_its_own_version_or_ours() -> None:
    for version in VERSIONS:
        result = answer(asked("initialize", protocolVersion=version, capabilities={}, clientInfo={}))["result"]
        assert result["protocolVersion"] == version
        assert result["capabilities"] == {"tools": {"listChanged": False}}
        assert result["serverInfo"]["name"] == "worldos"
    for other in ("1999-01-01", 7, None):
        assert answer(asked("initialize", protocolVersion=other))["result"]["protocolVersion"] == VERSIONS[-1]


def test_a_notification_is_heard_and_not_answered() -> None:
    assert answer(b'{"jsonrpc":"2.0","method":"notifications/initialized"}') is None


def test_tools_are_listed_and_used(agent: Any) -> None:
    listed = answer(asked("tools/list", "seven"), agent.home)
    assert listed["id"] == "seven"
    assert "nodes" in [tool["name"] for tool in listed["result"]["tools"]]
    used = answer(asked("tools/call", name="devices", arguments={}), agent.home)["result"]
    assert not used["isError"]
    assert json.loads(used["content"][0]["text"])[0]["name"] == "desk"


def test_what_goes_wrong_in_a_tool_is_an_answer_with_what_to_do(agent: Any) -> None:
    for name, arguments, said in (
        ("drain", {"drained": True}, "without a grant"),
        ("nothing", {}, "no tool"),
        ("can", {"who": "desk"}, "missing required field"),
        ("resource", {"id": "<script>"}, "wos resources lists them"),
    ):
        result = answer(asked("tools/call", name=name, arguments=arguments), agent.home)["result"]
        assert result["isError"], name
        assert said in result["content"][0]["text"]
    result = answer(asked("tools/call", name="status"))["result"]
    assert "wos up" in result["content"][0]["text"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", -32700), (b"{", -32700), (b"[]", -32700), (b"\xff", -32700), (b"[" * 10_000, -32700),
        (b'{"id":1}', -32600), (b'{"id":1,"method":"ping"}', -32600), (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600), (b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}', -32602), (asked("tools/call"), -32602),
        (asked("tools/call", name="status", arguments=[1]), -32602),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_request_is_answered_as_such(line: bytes, code: int) -> None:
    assert answer(line)["error"]["code"] == code


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_line_is_answered_or_passed_over(line: bytes) -> None:
    said = Speaker(NOWHERE, granted=False).answer(line)
    assert said is None or b"\n" not in said


def test_a_conversation_goes_on_after_a_line_that_is_too_long() -> None:
    lines = io.BytesIO(b"\n" + b"x" * (2 * MESSAGE_BYTES_MAX) + b"\n" + asked("ping", 9) + b"\n" + asked("ping", 10))
    out = io.BytesIO()
    converse(Speaker(NOWHERE, granted=False), lines, out)
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["error"]["code"] == -32700
    assert (second["id"], third["id"]) == (9, 10)
