"""A client of ``council_process.py``: one connection, many requests open."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, cast

from bench.council_process import PUT, UNKNOWN, Frames, framed

ANSWER_S = 10.0


class SeatConnection(asyncio.Protocol):
    """A connection to one seat. ``put`` and ``send`` answer by ``answered(number, status, value)``, ``ask`` by returning."""

    def __init__(self) -> None:
        self.answered: Callable[[int, int, Any], None] = lambda *_: None
        self.lost = False
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._open: set[int] = set()
        self._asked: dict[int, asyncio.Future[tuple[int, Any]]] = {}
        self._numbers = itertools.count(1 << 32)
        self._out: list[bytes] = []

    @classmethod
    async def to(cls, host: str, port: int) -> SeatConnection:
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """What is open may have been done, and nobody will say so."""
        self.lost = True
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_result((UNKNOWN, None))
        gone, self._open = self._open, set()
        for number in sorted(gone):
            self.answered(number, UNKNOWN, None)

    def put(self, number: int, key: str, value: bytes) -> None:
        self.send(number, PUT, key, value, None)

    def send(self, number: int, op: int, key: str, value: Any, expect: Any) -> None:
        self._open.add(number)
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(framed([number, op, key, value, expect]))

    async def ask(self, op: int, key: str = "", value: Any = None, expect: Any = None) -> tuple[int, Any]:
        """Return status and value; the status is UNKNOWN if the connection broke meanwhile."""
        if self.lost:
            return UNKNOWN, None
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self.send(number, op, key, value, expect)
        return await future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        for number, status, value in self._frames.feed(data):
            self._open.discard(number)
            asked = self._asked.pop(number, None)
            if asked is None:
                self.answered(number, status, value)
            elif not asked.done():
                asked.set_result((status, value))
