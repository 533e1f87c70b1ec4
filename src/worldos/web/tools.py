"""The tools of ``wos mcp``: what a program with a language model may ask of the agent, work that waits, and running a command.

Without a grant there are only those that read (class 0 of ``agent/orders/rights``): who starts such a program must not have to
trust what it was told by a web page. With one (``wos --grant FILE mcp``) all are offered, and the agent holds each against the
grant, as it does for every program that came with one: this list is no lock, it spares refusals.

What an order takes is read off its own signature, so that a tool never says anything else than the agent checks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec

from worldos.agent.orders.orders import Orders, arguments_of
from worldos.agent.orders.rights import RIGHTS
from worldos.errors import BadRequest, NotAllowed, Unreachable
from worldos.home import Home
from worldos.model.rights import Impact
from worldos.web.limits import TOOL_OUTPUT_CHARS_MAX, TOOL_RUN_S_MAX
from worldos.web.talk import ask
from worldos.web.work import ACTS, carry_out

OFFERED = (
    *("status", "nodes", "resources", "resource", "leases", "log", "realm_tree", "realm_show"),
    *("devices", "account_show", "account_code", "whoami", "can", "grants", "role_list"),
    *("guard_status", "guard_policy", "guard_state", "security", "audit_show"),
    *("session_list", "session_show", "session_start", "session_say", "session_end"),
    *("drain", "guard_propose", "guard_stop", "role_grant", "role_revoke", "contact_list"),
    *("lend_show", "profile_show"),
)
"""In the order in which they are shown. None hands out keys, grants or files by itself without a grant of its own."""

RUN = "run"
PROGRAM = "wos mcp"


class RunAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a command on the best machine; what it puts out comes back."""

    command: tuple[str, ...]
    cpu: str = "1"
    memory: str = ""
    gpu: str = ""
    where: str = ""
    timeout_s: int = 60


def tools(*, granted: bool) -> list[dict[str, Any]]:
    """Return what is offered, as the protocol wants it."""
    found = [_tool(name) for name in OFFERED if granted or RIGHTS[name].impact is Impact.READ]
    found += [_made(name, act.asked, act.impact) for name, act in ACTS.items() if granted or act.impact is Impact.READ]
    if granted:
        found.append(_made(RUN, RunAsked, Impact.COSTLY))
    return found


def call(home: Home, name: str, arguments: dict[str, Any], *, granted: bool) -> Any:
    """Use a tool; raises what goes wrong as the agent says it."""
    if name == RUN and granted:
        return _run(home, arguments)
    if name not in OFFERED and name not in ACTS:
        raise BadRequest(f"there is no tool {name[:50]!r}")
    impact = ACTS[name].impact if name in ACTS else RIGHTS[name].impact
    if not granted and impact is not Impact.READ:
        raise NotAllowed("without a grant there are only tools that read", hint="wos --grant FILE mcp")
    if arguments.get("follow"):
        raise BadRequest("a tool answers once: it cannot follow", hint="ask again, with since")
    if name in ACTS:
        return carry_out(home, name, arguments, PROGRAM)
    return ask(home, name, arguments)


def _tool(name: str) -> dict[str, Any]:
    order = getattr(Orders, f"order_{name}")
    said = " ".join((order.__doc__ or "").split())
    return {
        "name": name,
        "description": said,
        "inputSchema": _schema(arguments_of(order)),
        **_hints(RIGHTS[name].impact),
    }


def _made(name: str, asked: type[msgspec.Struct], impact: Impact) -> dict[str, Any]:
    said = " ".join((asked.__doc__ or "").split())
    return {"name": name, "description": said, "inputSchema": _schema(asked), **_hints(impact)}


def _hints(impact: Impact) -> dict[str, Any]:
    return {
        "annotations": {
            "readOnlyHint": impact is Impact.READ,
            "destructiveHint": impact >= Impact.COSTLY,
            "openWorldHint": False,
        }
    }


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct, with its own fields at the top."""
    schema = msgspec.json.schema(kind)
    parts: dict[str, Any] = schema.get("$defs", {})
    top: dict[str, Any] = dict(parts.pop(kind.__name__, {}))
    top.pop("title", None)
    top.pop("description", None)
    return {**top, "$defs": parts} if parts else top


def _run(home: Home, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        wanted = msgspec.convert(arguments, RunAsked)
    except msgspec.ValidationError as cause:
        raise BadRequest(f"run does not take that: {cause}") from cause
    if not wanted.command or not 1 <= wanted.timeout_s <= TOOL_RUN_S_MAX:
        raise BadRequest(f"run takes a command, and at most {TOOL_RUN_S_MAX} s")
    options = [f"--{name}={value}" for name in ("cpu", "memory", "gpu", "where") if (value := getattr(wanted, name))]
    words = [sys.executable, "-P", "-m", "worldos.cli.main", "run", "--no-keep", *options, "--", *wanted.command]
    try:
        done = subprocess.run(  # noqa: S603 - the words are a list, and run where the grant lets them
            words,
            env={**os.environ, "WORLDOS_HOME": str(home.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=wanted.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise Unreachable(f"the command did not end within {wanted.timeout_s} s") from cause
    return {"exit_code": done.returncode, "output": _cut(done.stdout), "errors": _cut(done.stderr)}


def _cut(data: bytes) -> str:
    text = data.decode(errors="replace")
    left_out = len(text) - TOOL_OUTPUT_CHARS_MAX
    return text if left_out <= 0 else f"{text[:TOOL_OUTPUT_CHARS_MAX]}\n... {left_out} characters more"
