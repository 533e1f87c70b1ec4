"""A council seat as a process: Raft, its log on a real disk, the fabric between, and a small map of keys as its charter.

Used by ``bench_council.py`` and tests/e2e/test_council.py. A client speaks frames ``length u32 | msgpack`` over TCP:
``[id, op, key, value, expect]`` and gets ``[id, status, value]``. Writes answer when they are committed and applied; reads
are confirmed by a majority first (ReadIndex), at whichever seat is asked. The first ``founders`` seats are the council at its
beginning (all, if that is not said); CHANGE takes a seat in or lets one go: the key is what to do, the value which seat.

    python -m bench.council_process '{"me": 0, "seats": ["127.0.0.1:7000", ...], "clients": "127.0.0.1:7100", "folder": ...}'
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.errors import WorldError
from worldos.fabric.channel import Channel
from worldos.fabric.host import Fabric, Identity
from worldos.fabric.tcp import parse_address
from worldos.kernel.raft import (
    LAN,
    AddLearner,
    Committed,
    Followed,
    Led,
    Mended,
    Persist,
    Promote,
    Raft,
    RaftEffect,
    ReadLost,
    ReadReady,
    Remove,
    Restored,
    SendRaft,
)
from worldos.model.ids import AccountId, NodeId
from worldos.model.raft import Config, Entry, RaftMessage
from worldos.trust.certs import root_certificate
from worldos.trust.keys import DeviceKey

PUT, GET, CAS, STATUS, CHANGE = range(5)
DONE, DIFFERS, NOT_LEADER, UNKNOWN, NOT_DONE = range(5)
STEPS: dict[str, type[AddLearner | Promote | Remove]] = {"add": AddLearner, "promote": Promote, "remove": Remove}
LENGTH = struct.Struct(">I")
COMPACT_ENTRIES = 20_000
TIMED_MAX = 4096
SWITCH_INTERVAL_S = 0.0005
LONGEST_PAUSE_S = 3600.0

encode = msgspec.msgpack.Encoder().encode
_messages: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)
_values: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()


def key_of(number: int) -> DeviceKey:
    """Return the key of a seat; every process of a council can make all of them."""
    return DeviceKey.from_seed(b"seat%d" % number + bytes(27))


def framed(value: object) -> bytes:
    """Return a frame of the client's protocol."""
    data = encode(value)
    return LENGTH.pack(len(data)) + data


class Frames:
    """Frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        self._data += data
        found, at, size = [], 0, len(self._data)
        while size - at >= 4:
            end = at + 4 + LENGTH.unpack_from(self._data, at)[0]
            if end > size:
                break
            found.append(_values.decode(memoryview(self._data)[at + 4 : end]))
            at = end
        del self._data[:at]
        return found


class Client(asyncio.Protocol):
    """One connection of a client; answers to what was committed together leave together."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._frames = Frames()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        for number, op, key, value, expect in self._frames.feed(data):
            self._seat.asked(self, number, op, key, value, expect)

    def answer(self, number: int, status: int, value: object) -> None:
        if not self._out:
            self._seat.answering[self] = None
            asyncio.get_running_loop().call_soon(self.flush)
        self._out.append(framed([number, status, value]))

    def flush(self) -> None:
        out, self._out = self._out, []
        self._seat.answering.pop(self, None)
        if out and self._transport is not None:
            self._transport.write(b"".join(out))


Waiting = tuple[int, Client, int, int]  # term, client, its number, when it was proposed


class Seat:
    """One member: its Raft, its disk, its links, its charter."""

    def __init__(self, choices: dict[str, Any]) -> None:
        self.me = choices["me"]
        self.seats = choices["seats"]
        self.keys = [key_of(number) for number in range(len(self.seats))]
        self.nodes = [key.node_id for key in self.keys]
        self.choices = choices
        self.loop = asyncio.get_running_loop()
        self.map: dict[str, Any] = {}
        self.applied = 0
        self.compacted = 0
        self.leader = NodeId("")
        self.waiting: dict[int, Waiting] = {}
        self.reading: dict[int, tuple[Client, int, str]] = {}
        self.answering: dict[Client, None] = {}
        self.tickets = 0
        self.timed_ns: collections.deque[int] = collections.deque(maxlen=TIMED_MAX)
        self.timer: asyncio.TimerHandle | None = None
        self.timer_ns = 0
        self.ended = asyncio.Event()
        folder = Path(choices["folder"])
        founders = choices.get("founders", len(self.nodes))
        self.writer = WalWriter(self.loop)
        self.wal = Wal(folder / "log", folder / "witness", self.writer, done=self.persisted, failed=self.failed)
        found = self.wal.recovered
        if found.damaged:
            print(f"damaged: {found.damaged}", flush=True)
        self.raft = Raft.begin(
            self.nodes[self.me],
            int.from_bytes(os.urandom(6)),
            time.monotonic_ns(),
            config=Config(voters=tuple(self.nodes[:founders])) if self.me < founders else None,
            pace=LAN,
            vote=found.vote,
            snapshot=found.snapshot,
            entries=found.entries,
            may_vote=not found.damaged,
        )
        members = {key.node_id: root_certificate(key) for key in self.keys}
        identity = Identity(key=self.keys[self.me], account=AccountId("council"), boot=found.life)
        listen = parse_address(self.seats[self.me])
        self.fabric = Fabric(identity, self, members=members, listen=listen, relay=False)

    async def start(self) -> None:
        await self.fabric.start()
        for number, address in enumerate(self.seats):
            if number != self.me:
                self.fabric.connect(self.nodes[number], [address])
        await self.loop.create_server(lambda: Client(self), *parse_address(self.choices["clients"]))
        self.carry_out(self.raft.tick(time.monotonic_ns()))
        print("up", flush=True)

    # -- what happens ------------------------------------------------------------------------------

    def asked(self, client: Client, number: int, op: int, key: str, value: Any, expect: Any) -> None:
        now_ns = time.monotonic_ns()
        if op == STATUS:
            client.answer(number, DONE, self.status())
        elif op == GET and self.choices.get("bug") == "local reads":  # planted by a test of the judge
            client.answer(number, DONE, self.map.get(key))
        elif op == GET:
            self.tickets += 1
            self.reading[self.tickets] = (client, number, key)
            self.carry_out(self.raft.read(now_ns, self.tickets))
        else:
            if op == CHANGE:
                index, effects = self.raft.change(now_ns, STEPS[key](node=self.nodes[value]))
            else:
                index, effects = self.raft.propose(now_ns, encode([op, key, value, expect]))
            if index:
                self.waiting[index] = (self.raft.term, client, number, now_ns)
            else:
                client.answer(number, NOT_LEADER, self.number_of(self.leader))
            self.carry_out(effects)

    def persisted(self, number: int) -> None:
        self.carry_out(self.raft.persisted(time.monotonic_ns(), number))

    def failed(self, error: WorldError) -> None:
        print(f"the seat stops: {error}", flush=True)
        self.ended.set()

    def ticked(self) -> None:
        self.timer = None
        self.carry_out(self.raft.tick(time.monotonic_ns()))

    def on_peer(self, node: NodeId, boot: int, via: str, rtt_us: int) -> None:
        pass

    def on_peer_lost(self, node: NodeId, reason: str) -> None:
        self.carry_out(self.raft.unlinked(time.monotonic_ns(), node))

    def on_message(self, node: NodeId, message: bytes) -> None:
        self.carry_out(self.raft.heard(time.monotonic_ns(), node, _messages.decode(message)))

    def on_undelivered(self, node: NodeId, messages: list[bytes]) -> None:
        pass

    def on_path(self, node: NodeId, via: str, rtt_us: int) -> None:
        pass

    def on_beacon(self, node: NodeId, account: str, address: str, facts: bytes) -> None:
        pass

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        channel.refuse("no channels here")

    # -- what is done ------------------------------------------------------------------------------

    def carry_out(self, effects: list[RaftEffect]) -> None:
        for effect in effects:
            match effect:
                case SendRaft():
                    self.fabric.send(effect.node, encode(effect.message))
                case Persist():
                    self.wal.append(effect.number, effect.vote, effect.entries, effect.snapshot)
                case Committed():
                    for entry in effect.entries:
                        self.apply(entry)
                    for client in list(self.answering):  # before the other members hear of it
                        client.flush()
                case Restored():
                    self.restore(effect.snapshot.index, effect.snapshot.state)
                case Led():
                    self.leader = self.nodes[self.me]
                    print(f"leads {effect.term}", flush=True)
                case Followed():
                    self.leader = effect.leader
                    self.give_up()
                case ReadReady():
                    client, number, key = self.reading.pop(effect.ticket)
                    client.answer(number, DONE, self.map.get(key))
                case ReadLost():
                    client, number, _ = self.reading.pop(effect.ticket)
                    client.answer(number, NOT_DONE, None)
                case Mended():
                    self.wal.mended()
                    print("mended", flush=True)
        if self.applied - self.compacted >= self.choices.get("compact", COMPACT_ENTRIES):
            self.compacted = self.applied
            self.carry_out(self.raft.compact(self.applied, encode(self.map)))
        self.set_timer()

    def set_timer(self) -> None:
        """Wake when the machine wants it. A timer that rings too early may: it is set again then."""
        due_ns = self.raft.due_ns
        if self.timer is None or due_ns < self.timer_ns:
            if self.timer is not None:
                self.timer.cancel()
            self.timer_ns = due_ns
            delay_s = min((due_ns - time.monotonic_ns()) / 1e9, LONGEST_PAUSE_S)
            self.timer = self.loop.call_later(max(0.001, delay_s), self.ticked)

    def apply(self, entry: Entry) -> None:
        status = DONE
        if entry.command:
            op, key, value, expect = _values.decode(entry.command)
            if op == CAS and self.map.get(key) != expect:
                status = DIFFERS
            else:
                self.map[key] = value
        self.applied = entry.index
        waiting = self.waiting.pop(entry.index, None)
        if waiting is not None:
            term, client, number, begun_ns = waiting
            if term == entry.term:
                self.timed_ns.append(time.monotonic_ns() - begun_ns)
                client.answer(number, status, None)
            else:
                client.answer(number, NOT_DONE, None)

    def restore(self, index: int, state: bytes) -> None:
        self.map = _values.decode(state)
        self.applied = self.compacted = index

    def give_up(self) -> None:
        """Nobody here will learn now what became of the proposals."""
        waiting, self.waiting = self.waiting, {}
        for _, client, number, _ in waiting.values():
            client.answer(number, UNKNOWN, None)

    def number_of(self, node: NodeId) -> int:
        return self.nodes.index(node) if node in self.nodes else -1

    def status(self) -> dict[str, Any]:
        """Say how things stand, and how long commits took since this was asked last."""
        timed_ns = list(self.timed_ns)
        self.timed_ns.clear()
        return {
            "leader": self.number_of(self.leader),
            "leads": self.raft.is_leader,
            "term": self.raft.term,
            "applied": self.applied,
            "mending": bool(self.raft.mending),
            "voters": [self.number_of(node) for node in self.raft.log.config.voters],
            "timed_ns": timed_ns,
        }


async def live(choices: dict[str, Any], ready: Callable[[Seat], None] = lambda _: None) -> None:
    seat = Seat(choices)
    await seat.start()
    ready(seat)
    await seat.ended.wait()
    await seat.fabric.close()
    seat.writer.close()


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(live(json.loads(sys.argv[1])))
