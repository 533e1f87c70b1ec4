"""The Model Context Protocol over standard input and output: one JSON-RPC 2.0 message a line, tools only.

Written by hand, since it is four methods (docs/decisions/0031-mcp.md); the official client tests it. A line that is
no message is answered as such and ends nothing; nothing here can be asked that ``tools`` does not offer. What goes wrong in a
tool is an answer (``isError``) with the same words as ``wos``, so that a model reads what to do next.
Source: modelcontextprotocol.io, specification 2025-06-18 (lifecycle, stdio transport, tools); JSON-RPC 2.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import msgspec

from worldos import __version__
from worldos.errors import WorldError
from worldos.home import Home
from worldos.web.limits import MESSAGE_BYTES_MAX
from worldos.web.talk import said_of, to_json
from worldos.web.tools import call, tools

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18")
"""Those that these four methods mean the same in; a client that wants another one is offered the last."""

NO_MESSAGE, NO_REQUEST, NO_METHOD, BAD_PARAMETERS = -32700, -32600, -32601, -32602
INSTRUCTIONS = (
    "World OS makes machines of one owner, and of others who lend, one computer. These tools show what there is, who may do "
    "what and why, and what was decided; with a grant they also act. A refusal says why and what to do: read it."
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Speaker:
    """One conversation."""

    def __init__(self, home: Home, *, granted: bool) -> None:
        self.home = home
        self.granted = granted

    def answer(self, line: bytes) -> bytes | None:
        """Answer one line; nothing where none is wanted."""
        try:
            message = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _failure(None, NO_MESSAGE, "this is no JSON object")
        number, method = message.get("id"), message.get("method")
        if "id" not in message:
            return None  # a notification: heard
        if not isinstance(number, str | int) or isinstance(number, bool):
            return _failure(None, NO_REQUEST, "an id is text or a whole number")
        if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return _failure(number, NO_REQUEST, "this is no request of JSON-RPC 2.0")
        parameters = message.get("params", {})
        if not isinstance(parameters, dict):
            return _failure(number, BAD_PARAMETERS, "parameters come by name")
        match method:
            case "initialize":
                return _result(number, _hello(parameters))
            case "ping":
                return _result(number, {})
            case "tools/list":
                return _result(number, {"tools": tools(granted=self.granted)})
            case "tools/call":
                return self._call(number, parameters)
            case _:
                return _failure(number, NO_METHOD, f"there is no method {method[:60]!r}")

    def _call(self, number: str | int, parameters: dict[str, Any]) -> bytes:
        name, arguments = parameters.get("name"), parameters.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return _failure(number, BAD_PARAMETERS, "a tool has a name, and arguments by name")
        try:
            value = call(self.home, name, arguments, granted=self.granted)
        except WorldError as error:
            said = said_of(error)[1]
            words = ". ".join(part for part in (said["message"], said["because"], said["hint"]) if part)
            return _result(number, {"content": [{"type": "text", "text": words}], "isError": True})
        return _result(number, {"content": [{"type": "text", "text": to_json(value).decode()}], "isError": False})


def converse(speaker: Speaker, lines: IO[bytes], out: IO[bytes]) -> None:
    """Answer line by line until there are no more."""
    for line in _bounded(lines):
        answer = speaker.answer(line) if line is not None else _failure(None, NO_MESSAGE, "this line is too long")
        if answer is not None:
            out.write(answer + b"\n")
            out.flush()


def _bounded(lines: IO[bytes]) -> Iterable[bytes | None]:
    """Yield lines; None for one that is too long, which is read over."""
    while line := lines.readline(MESSAGE_BYTES_MAX):
        if len(line) < MESSAGE_BYTES_MAX or line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        while (rest := lines.readline(MESSAGE_BYTES_MAX)) and not rest.endswith(b"\n"):
            pass
        yield None


def _hello(parameters: dict[str, Any]) -> dict[str, Any]:
    wanted = parameters.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[-1],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": "worldos", "title": "World OS", "version": __version__},
        "instructions": INSTRUCTIONS,
    }


def _result(number: str | int, result: dict[str, Any]) -> bytes:
    return to_json({"jsonrpc": "2.0", "id": number, "result": result})


def _failure(number: str | int | None, code: int, message: str) -> bytes:
    return to_json({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})
