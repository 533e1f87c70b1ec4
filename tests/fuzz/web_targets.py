"""What the fuzzers throw bytes at in the page and in the tools for models: JSON, links, headers, what a browser made."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.target import Target, refused
from tests.fuzz.trust_targets import _PASSKEY
from worldos.errors import Unreachable, WorldError
from worldos.home import Home
from worldos.web import passkeys
from worldos.web.gate import PAGE_HEADER, Gate, make_link
from worldos.web.mcp import Speaker

ORIGIN, NOW_S = _PASSKEY["origin"], 5000
WALL_S = 1_800_000_000
NOWHERE = Home(Path("/nonexistent/wos"))
LINK = make_link(b"k" * 32, b"n" * 16, WALL_S)
RANDOM = b"r" * 32 + b"s" * 32


def tools_of_a_model(data: bytes) -> None:
    """A line of the Model Context Protocol: it is answered or heard, with a grant and without; there is no agent."""
    for granted in (False, True):
        answer = Speaker(NOWHERE, granted=granted).answer(data)
        if answer is not None:
            assert b"\n" not in answer
            assert {"jsonrpc", "id"} <= set(json.loads(answer))


def doorstep(data: bytes) -> None:
    """A link, a cookie and headers: nobody comes in but by the link that was made."""
    text = data.decode("utf-8", "replace")
    gate = Gate(ORIGIN, b"k" * 32)
    with contextlib.suppress(WorldError):
        gate.enter(text, RANDOM, WALL_S, NOW_S)
        assert passkeys.bytes_of(text) == passkeys.bytes_of(LINK)  # base64 has spare bits at its end
    gate = Gate(ORIGIN, b"k" * 32)
    gate.enter(LINK, RANDOM, WALL_S, NOW_S)
    head, _, rest = text.partition("\n")
    with contextlib.suppress(WorldError):
        gate.visit({gate.cookie_name: head}, {PAGE_HEADER: rest}, NOW_S)
        raise AssertionError("somebody came in by a guess")
    with contextlib.suppress(WorldError):
        gate.check_headers({"host": head, "origin": rest}, asks=True)
        assert (head, rest) == (gate.host, ORIGIN)
    with contextlib.suppress(WorldError):
        gate.vouch(text)


def step_of(said: dict[str, Any], challenge: bytes) -> passkeys.Said:
    """A visitor at the page that wants to add a passkey and was given this challenge."""
    gate = Gate(ORIGIN, b"k" * 32)
    visit = gate.enter(LINK, RANDOM, WALL_S, NOW_S)
    visit.remember(challenge, NOW_S)
    return passkeys.Said(home=NOWHERE, gate=gate, visit=visit, now_s=NOW_S, random=bytes(32), said=said)


_GIVEN = base64.b64decode(_PASSKEY["registration_challenge"])


def made(data: bytes) -> None:
    """What a browser says an authenticator made, with a challenge that fits: garbage is refused in words."""
    response = {**_PASSKEY["registration"]["response"], "attestationObject": passkeys.text_of(data)}
    credential = {**_PASSKEY["registration"], "response": response}
    step = step_of({"credential": credential, "name": "key"}, _GIVEN)
    refused(lambda: passkeys.end_making(step), WorldError)


def answered(data: bytes) -> None:
    """Any JSON where a passkey's answer is wanted, at each step of the page."""
    try:
        said = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for step in passkeys.STEPS.values():
        refused(lambda step=step: step(step_of(said, _GIVEN)), WorldError, Unreachable)


_ATTESTATION = passkeys.bytes_of(_PASSKEY["registration"]["response"]["attestationObject"])
_CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "nodes", "arguments": {}}}
_HELLO = {"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}

TARGETS: dict[str, Target] = {
    "mcp": Target(tools_of_a_model, tuple(json.dumps(each).encode() for each in (_CALL, _HELLO)), slow=True),
    "doorstep": Target(doorstep, (LINK.encode(), f"localhost:7381\n{ORIGIN}".encode())),
    "made": Target(made, (_ATTESTATION,), slow=True),
    "answered": Target(
        answered,
        tuple(
            json.dumps({"credential": each, "name": "key", "message": "AAAA", "command": "a"}).encode()
            for each in (_PASSKEY["registration"], *_PASSKEY["assertions"])
        ),
        slow=True,
    ),
}
