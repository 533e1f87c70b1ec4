"""The tools of ``wos mcp``: what is offered, what is not, and what a grant leaves of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worldos.agent.orders.rights import RIGHTS
from worldos.errors import BadRequest, NotAllowed, Unreachable
from worldos.model.rights import Impact
from worldos.web.limits import TOOL_OUTPUT_CHARS_MAX
from worldos.web.tools import OFFERED, call, tools
from worldos.web.work import ACTS


def named(*, granted: bool) -> dict[str, dict[str, Any]]:
    return {tool["name"]: tool for tool in tools(granted=granted)}


def test_without_a_grant_tools_only_read() -> None:
    offered = named(granted=False)
    assert "nodes" in offered
    assert all((ACTS[name] if name in ACTS else RIGHTS[name]).impact is Impact.READ for name in offered)
    assert {"jobs", "job_log", "queues"} <= set(offered)
    assert all(tool["annotations"]["readOnlyHint"] for tool in offered.values())
    assert {"drain", "run", "role_grant", "submit", "cancel", "queue_put", "queue_take"}.isdisjoint(offered)


def test_with_a_grant_all_are_offered_and_say_how_bad_they_are() -> None:
    offered = named(granted=True)
    assert set(offered) == {*OFFERED, *ACTS, "run"}
    assert offered["run"]["annotations"]["destructiveHint"]
    assert not offered["drain"]["annotations"]["readOnlyHint"]


def test_a_tool_says_what_it_takes_as_the_agent_checks_it() -> None:
    can = named(granted=False)["can"]
    assert can["inputSchema"]["required"] == ["who", "op", "resource"]
    assert can["inputSchema"]["additionalProperties"] is False
    for tool in tools(granted=True):
        assert tool["description"], tool["name"]
        assert tool["inputSchema"]["type"] == "object"


def test_none_that_hands_out_keys_or_takes_raw_bytes_is_offered() -> None:
    never = {"learn", "invite", "confirm", "stores", "lend", "down", "leave", "passkey_add", "account_remove", "inbox"}
    assert never.isdisjoint(OFFERED)


def test_what_is_not_offered_cannot_be_used(agent: Any) -> None:
    for name in ("drain", "role_grant", "submit", "cancel", "queue_take"):
        with pytest.raises(NotAllowed, match="without a grant"):
            call(agent.home, name, {}, granted=False)
    for name in ("run", "down", "__init__", "learn", ""):
        with pytest.raises(BadRequest, match="no tool"):
            call(agent.home, name, {}, granted=False)
    with pytest.raises(BadRequest, match="cannot follow"):
        call(agent.home, "session_show", {"session": "x", "follow": True}, granted=False)


def test_a_grant_is_held_against_each_use(agent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (given,) = agent.ask("role_grant", who=agent.ask("status")["node"], role="operator")["given"]
    file = tmp_path / "operator.grant"
    file.write_text(given["grant"])
    monkeypatch.setenv("WORLDOS_GRANT", str(file))
    assert call(agent.home, "nodes", {}, granted=True)[0]["name"] == "desk"
    with pytest.raises(NotAllowed, match="not for admin"):
        call(agent.home, "drain", {"drained": True}, granted=True)
    assert not agent.ask("status")["drained"]
    ran = call(agent.home, "run", {"command": ["echo", "hello"]}, granted=True)
    assert (ran["exit_code"], ran["output"]) == (0, "hello\n")


@pytest.mark.parametrize(("role", "may"), [("member", True), ("auditor", False)])
def test_work_is_done_by_a_grant_that_lets_one_write_and_seen_by_one_that_lets_one_look(
    agent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, *, may: bool
) -> None:
    (given,) = agent.ask("role_grant", who=agent.ask("status")["node"], role=role)["given"]
    file = tmp_path / "role.grant"
    file.write_text(given["grant"])
    monkeypatch.setenv("WORLDOS_GRANT", str(file))
    tries = (("submit", {"command": ["true"]}), ("queue_put", {"queue": f"of-{role}", "texts": ["x"]}))
    for name, arguments in tries:
        if may:
            call(agent.home, name, arguments, granted=True)
            continue
        with pytest.raises(NotAllowed, match="not for write"):
            call(agent.home, name, arguments, granted=True)
    shown = call(agent.home, "queues", {}, granted=True)
    assert (f"of-{role}" in [row.queue for row in shown]) is may
    assert isinstance(call(agent.home, "jobs", {"count": 5}, granted=True), list)


def test_a_command_that_says_much_or_nothing_for_long_is_cut(agent: Any) -> None:
    many = ["python3", "-c", f"print('x' * {TOOL_OUTPUT_CHARS_MAX + 10})"]
    ran = call(agent.home, "run", {"command": many}, granted=True)
    assert ran["output"].endswith("11 characters more")
    with pytest.raises(Unreachable, match="within 1 s"):
        call(agent.home, "run", {"command": ["sleep", "30"], "timeout_s": 1}, granted=True)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"command": []}, {"command": "echo"}, {"command": ["x"], "timeout_s": 0}, {"command": ["x"], "surprise": 1}],
)
def test_a_run_that_makes_no_sense_is_refused(agent: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        call(agent.home, "run", arguments, granted=True)
