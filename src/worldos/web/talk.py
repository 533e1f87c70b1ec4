"""Talking with the agent for the page: one conversation a question, in a thread; a stream for what goes on.

Values come back as JSON; bytes in them as base64. What goes wrong comes back as the error's name, sentence and hint, with the
status that fits: a page shows the same words as ``wos``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from worldos.errors import BadRequest, NoAgent, NotAllowed, Refused, Unreachable, WorldError
from worldos.home import Home
from worldos.sdk.asking import Asking
from worldos.web.limits import ANSWER_TIMEOUT_S, IDLE_LINE_S, LINES_WAITING_MAX

PROGRAM = "wos page"
_json = msgspec.json.Encoder()
_STATUS: tuple[tuple[type[WorldError], int], ...] = (
    (BadRequest, 400),
    (NotAllowed, 403),
    (Refused, 409),
    (NoAgent, 503),
    (Unreachable, 504),
)


def ask(home: Home, order: str, arguments: dict[str, Any]) -> Any:
    """Ask the agent of this home once."""
    with Asking(home, PROGRAM) as agent:
        return agent.ask(order, timeout_s=ANSWER_TIMEOUT_S, **arguments)


class Stream:
    """An order that tells more and more, as lines of JSON. A thread listens; who reads may be cancelled at any time."""

    def __init__(self, home: Home, order: str, arguments: dict[str, Any]) -> None:
        self._agent = Asking(home, PROGRAM)
        self._order, self._arguments = order, arguments
        self._closed = threading.Event()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield lines until the order has ended, and an empty one now and then, to notice who is gone."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_WAITING_MAX)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop, lines), name="page stream", daemon=True).start()
        try:
            while True:
                try:
                    line = await asyncio.wait_for(lines.get(), IDLE_LINE_S)
                except TimeoutError:
                    line = b"\n"
                if line is None:
                    return
                yield line
        finally:
            self._closed.set()
            self._agent.close()  # ends the thread's waiting

    def _listen(self, loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes | None]) -> None:
        def put(value: Any) -> None:
            if self._closed.is_set():
                return
            line = None if value is None else to_json(value) + b"\n"
            with contextlib.suppress(RuntimeError):  # the page has ended
                waiting = asyncio.run_coroutine_threadsafe(lines.put(line), loop)
                while not self._closed.is_set():
                    with contextlib.suppress(TimeoutError):
                        waiting.result(1.0)
                        return
                waiting.cancel()

        try:
            answer = self._agent.ask(
                self._order, progress=lambda said: put({"progress": said}), timeout_s=None, **self._arguments
            )
            put({"answer": answer})
        except WorldError as error:
            put(said_of(error)[1])
        put(None)


def to_json(value: Any) -> bytes:
    """Write a value of the agent as JSON."""
    return _json.encode(value)


def said_of(error: WorldError) -> tuple[int, dict[str, str]]:
    """Return the status and the words of an error; its causes, where there are any, are told with it."""
    status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
    because = [str(cause) for cause in _causes(error) if str(cause) and not isinstance(error, NoAgent)]
    return status, {
        "error": type(error).__name__,
        "message": str(error),
        "because": "; ".join(because),
        "hint": error.hint,
    }


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
