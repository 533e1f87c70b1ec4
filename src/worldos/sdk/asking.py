"""A plain conversation with an agent, for commands: one question at a time, with what it says on the way; or watching.

Programs that hold leases use ``connection.py``; this one has no thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec

from worldos.config import Home
from worldos.errors import BadRequest, NoAgent, PeerBroke, Unreachable
from worldos.model.local import (
    LOCAL_VERSION,
    Answer,
    Ask,
    Failure,
    FromClient,
    Hello,
    Noticed,
    Progress,
    ToClient,
    Watch,
)
from worldos.sdk.connection import LENGTH, connected, cut, error_of
from worldos.sdk.shown import shown_grant

ANSWER_TIMEOUT_S = 30.0

_decoder: msgspec.msgpack.Decoder[ToClient] = msgspec.msgpack.Decoder(ToClient)
_encoder = msgspec.msgpack.Encoder()


class Asking:
    """An open conversation with the agent of a home; raises ``NoAgent`` where none runs."""

    def __init__(self, home: Home, program: str = "wos") -> None:
        grant = shown_grant()
        self._socket = connected(home.socket_file)
        self._buffer = bytearray()
        self._number = 0
        self._send(Hello(version=LOCAL_VERSION, program=program, grant=grant))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()

    def ask(
        self,
        name: str,
        /,
        *,
        progress: Callable[[Any], None] | None = None,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
        **arguments: Any,
    ) -> Any:
        """Ask, wait, and return the answer; ``progress`` gets what is said on the way. A failure is raised."""
        self._number += 1
        self._send(Ask(request=self._number, name=name, arguments=arguments))
        with contextlib.suppress(OSError):  # another thread has hung up: that is heard next
            self._socket.settimeout(timeout_s)
        while True:
            message = self._hear()
            if isinstance(message, Progress) and message.request == self._number and progress is not None:
                progress(message.value)
            elif isinstance(message, Answer) and message.request == self._number:
                return message.value
            elif isinstance(message, Failure):
                raise error_of(message)

    def watch(self) -> Iterator[Noticed]:
        """Yield what happens on the node from now on."""
        self._send(Watch())
        self._socket.settimeout(None)
        while True:
            message = self._hear()
            if isinstance(message, Noticed):
                yield message

    def close(self) -> None:
        """Hang up. A thread that waits in ``watch`` or ``ask`` gets ``NoAgent``."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """Let go of what was inherited over a fork: the conversation is the parent's, and goes on."""
        self._socket.close()

    def _send(self, message: FromClient) -> None:
        try:
            body = _encoder.encode(message)
        except UnicodeEncodeError as cause:
            raise BadRequest("a name in this request is not UTF-8 text", hint="write it in UTF-8") from cause
        with contextlib.suppress(OSError):  # who hung up may have said why: that is heard next
            self._socket.sendall(LENGTH.pack(len(body)) + body)

    def _hear(self) -> ToClient:
        while True:
            body = cut(self._buffer)
            if body is not None:
                try:
                    return _decoder.decode(body)
                except msgspec.DecodeError as cause:
                    raise PeerBroke("the agent sent what is no message", hint="is it of another version?") from cause
            try:
                piece = self._socket.recv(1 << 18)
            except TimeoutError as cause:
                raise Unreachable(
                    "the agent does not answer", hint="see its log: wos log; restart it: wos down"
                ) from cause
            except OSError as cause:
                raise NoAgent("the agent has ended") from cause
            if not piece:
                raise NoAgent("the agent has ended")
            self._buffer += piece
