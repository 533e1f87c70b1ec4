"""Clients of a council that write down what they asked and what they heard, each line before they go on.

    python -m tests.e2e.council_clients '{"doors": ["10.1.0.1:7001", ...], "clients": 4, "keys": 3, "seconds": 5, "seed": 1,
                                          "name": 0, "out": "history.jsonl"}'

A client asks one thing at a time, now and then at another seat: half of it reads, the rest writes and compares-and-sets. What
had no answer in time may have happened: it is written down as open, and the client goes on under a new number. SIGTERM ends it
before its time.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from typing import IO, Any

from bench.council_client import SeatConnection
from bench.council_process import CAS, DIFFERS, DONE, GET, NOT_DONE, NOT_LEADER, PUT, UNKNOWN

from worldos.fabric.tcp import parse_address

ANSWER_S = 1.0
CONNECT_S = 0.5
PAUSE_S = 0.002
CLIENTS_MAX = 1000
KINDS = {PUT: "put", GET: "get", CAS: "cas"}


class Asker:
    """One client."""

    def __init__(self, choices: dict[str, Any], number: int, out: IO[str]) -> None:
        self.doors = choices["doors"]
        self.keys = choices["keys"]
        self.dice = random.Random(choices["seed"] * 1000 + number)
        self.name = (choices["name"] * choices["clients"] + number) * CLIENTS_MAX
        self.out = out
        self.seat = self.dice.randrange(len(self.doors))
        self.connection: SeatConnection | None = None
        self.count = 0
        self.seen: dict[str, Any] = {}

    async def live(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            if self.connection is None or self.connection.lost:
                await self.connect()
            else:
                await self.ask()
                if self.dice.random() < 0.02:
                    self.leave(self.dice.randrange(len(self.doors)))
            await asyncio.sleep(PAUSE_S * self.dice.random())
        self.leave(self.seat)

    def leave(self, seat: int) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection, self.seat = None, seat

    async def connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                self.connection = await SeatConnection.to(*parse_address(self.doors[self.seat]))
        except OSError:  # TimeoutError is one too
            self.leave(self.dice.randrange(len(self.doors)))

    async def ask(self) -> None:
        assert self.connection is not None
        self.count += 1
        key = f"k{self.dice.randrange(self.keys)}"
        op = self.dice.choice((GET, GET, PUT, CAS))
        value = None if op == GET else self.name * 1_000_000 + self.count
        expect = self.seen.get(key) if op == CAS else None
        asked_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(ANSWER_S):
                status, told = await self.connection.ask(op, key, value, expect)
        except TimeoutError:
            status, told = UNKNOWN, None
        answered_ns = time.monotonic_ns()
        if status in (DONE, DIFFERS):
            value = told if op == GET else value
            self.note(op, key, value, expect, asked_ns, answered_ns, good=status == DONE)
            if status == DONE:
                self.seen[key] = value
        elif status == NOT_LEADER:
            self.leave(told if told >= 0 else self.dice.randrange(len(self.doors)))
        elif status == UNKNOWN and op != GET:
            self.note(op, key, value, expect, asked_ns, 0, good=True)
            self.name += 1
        if status in (UNKNOWN, NOT_DONE):
            self.leave(self.dice.randrange(len(self.doors)))

    def note(self, op: int, key: str, value: Any, expect: Any, asked_ns: int, answered_ns: int, *, good: bool) -> None:
        line = [self.name, key, KINDS[op], value, asked_ns, answered_ns, expect, good]
        self.out.write(json.dumps(line) + "\n")


async def main(choices: dict[str, Any]) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, enough.set)
    loop.call_later(choices["seconds"], enough.set)
    with open(choices["out"], "w", buffering=1, encoding="utf-8") as out:  # noqa: ASYNC230 - a line now and then
        askers = [Asker(choices, number, out) for number in range(choices["clients"])]
        await asyncio.gather(*(asker.live(enough) for asker in askers))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
