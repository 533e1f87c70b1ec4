"""A client of ``council_process.py``: one connection, many requests open.

python -m bench.council_client '["10.1.0.1:7001", ...]' promote 3       # ask everybody until it is done
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any, cast

from bench.council_process import CHANGE, DONE, PUT, UNKNOWN, Frames, framed
from worldos.fabric.tcp import parse_address

CHANGE_S = 30.0


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


async def change(doors: list[str], what: str, seat: int) -> None:
    """Have the council changed, whoever leads it."""
    async with asyncio.timeout(CHANGE_S):
        while True:
            for door in doors:
                try:
                    connection = await SeatConnection.to(*parse_address(door))
                except OSError:
                    continue
                status, _ = await connection.ask(CHANGE, what, seat)
                connection.close()
                if status == DONE:
                    return
            await asyncio.sleep(0.02)


async def change_all(doors: list[str], steps: list[str]) -> None:
    """Take these steps, one after the other."""
    for what, seat in zip(steps[::2], steps[1::2], strict=True):
        await change(doors, what, int(seat))


if __name__ == "__main__":
    asyncio.run(change_all(json.loads(sys.argv[1]), sys.argv[2:]))
