"""Nodes for the fabric's tests: real keys, real certificates, real sockets on loopback, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import uvloop

from worldos.fabric.channel import Channel, Ending
from worldos.fabric.host import Fabric, Identity
from worldos.model.ids import AccountId, NodeId
from worldos.trust.certs import root_certificate
from worldos.trust.keys import DeviceKey

PATIENCE_S = 10.0


def device(number: int) -> DeviceKey:
    return DeviceKey.from_seed(number.to_bytes(32, "big"))


def roots(*keys: DeviceKey) -> dict[NodeId, bytes]:
    return {key.node_id: root_certificate(key) for key in keys}


async def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition, with a bound."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110  (any condition, also one that no event tells)
            await asyncio.sleep(0.002)


class Ear:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.data = bytearray()
        self.was_accepted = False
        self.eof = False
        self.ending: tuple[Ending, str] | None = None
        self.writable_calls = 0

    def accepted(self) -> None:
        self.was_accepted = True

    def data_received(self, data: memoryview) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.eof = True

    def writable(self) -> None:
        self.writable_calls += 1

    def closed(self, ending: Ending, reason: str) -> None:
        self.ending = (ending, reason)


class Echo(Ear):
    """A receiver that answers with what it hears."""

    def data_received(self, data: memoryview) -> None:
        assert self.channel is not None
        self.channel.write(bytes(data))

    def eof_received(self) -> None:
        assert self.channel is not None
        self.channel.eof()


class Notes:
    """A handler that writes down all that the fabric says."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.messages: list[tuple[NodeId, bytes]] = []
        self.peers: dict[NodeId, str] = {}
        self.undelivered: list[bytes] = []
        self.ears: list[Ear] = []
        self.take_channel: Callable[[Channel, bytes], None] = self._listen

    def on_peer(self, node: NodeId, boot: int, via: str, rtt_us: int) -> None:
        self.peers[node] = via
        self.said.append(("peer", node, boot, via))

    def on_peer_lost(self, node: NodeId, reason: str) -> None:
        self.peers.pop(node, None)
        self.said.append(("lost", node, reason))

    def on_message(self, node: NodeId, message: bytes) -> None:
        self.messages.append((node, message))

    def on_undelivered(self, node: NodeId, messages: list[bytes]) -> None:
        self.undelivered += messages

    def on_path(self, node: NodeId, via: str, rtt_us: int) -> None:
        if node in self.peers:
            self.peers[node] = via
        self.said.append(("path", node, via))

    def on_beacon(self, node: NodeId, account: str, address: str, facts: bytes) -> None:
        self.said.append(("beacon", node, account, address, facts))

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        self.take_channel(channel, hello)

    def _listen(self, channel: Channel, hello: bytes) -> None:
        ear = Echo() if hello == b"echo" else Ear()
        ear.channel = channel
        self.ears.append(ear)
        channel.accept(ear)


class Node:
    """One fabric with its notes."""

    def __init__(self, number: int, others: tuple[int, ...], *, boot: int = 1, **options: object) -> None:
        self.key = device(number)
        self.notes = Notes()
        self.boot = boot
        self.fabric = Fabric(
            Identity(key=self.key, account=AccountId("account"), boot=boot),
            self.notes,
            members=roots(*(device(other) for other in (*others, number))),
            **{"listen": ("127.0.0.1", 0), **options},  # type: ignore[arg-type]
        )

    @property
    def id(self) -> NodeId:
        return self.key.node_id

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.fabric.port}"

    def knows(self, other: Node) -> bool:
        return other.id in self.notes.peers


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    for node in nodes:
        await node.fabric.start()
    try:
        yield
    finally:
        for node in nodes:
            await node.fabric.close()


def run(story: Callable[[], Coroutine[None, None, None]], *, loops: int = 2) -> None:
    """Tell a story on uvloop, and once more on asyncio's own loop."""
    uvloop.run(story())
    if loops == 2:
        asyncio.run(story())


class Cable:
    """A TCP proxy in front of a node that can be cut: silently, as a pulled cable, or by closing all."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Move nothing any more, and say nothing."""
        self._whole.clear()

    def heal(self) -> None:
        self._whole.set()

    def close_all(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def stop(self) -> None:
        self.close_all()
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers += [writer, far_writer]
        for moving in (self._ask(reader, far_writer), self._answer(far_reader, writer)):
            task = asyncio.ensure_future(moving)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await self._move(source, sink)

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await self._move(source, sink)

    async def _move(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


class SlowToGreet(Cable):
    """One that keeps back all that the node says to its dialer after the handshake, until ``greet``."""

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self._greeting = asyncio.Event()
        self.kept = False

    def greet(self) -> None:
        self._greeting.set()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        sink.write(await source.read(1 << 16))  # the node's part of the handshake comes in one piece
        await self._greeting.wait()
        await self._move(source, sink)


class SlowToProve(SlowToGreet):
    """One that keeps back what ends the handshake, and the dialer's first words with it, until ``greet``."""

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        sink.write(await source.read(1 << 16))
        kept = await source.read(1 << 16)
        self.kept = True
        await self._greeting.wait()
        sink.write(kept)
        await self._move(source, sink)

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await self._move(source, sink)
