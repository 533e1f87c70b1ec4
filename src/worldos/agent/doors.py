"""Doors to workers: how a lane reaches them from another node, as a plain byte stream both ways.

On the holder's side each worker of a far lease is a Unix socket in a private folder; every connection to it becomes a channel
of the fabric. On the granting side a channel is let in only while its lease is live and held by the very node that opened it
(asked at the door, each time), and is joined to the worker's own socket. Bytes are pumped with back-pressure on both sides;
nobody on the way looks into them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from pathlib import Path
from typing import Protocol

import msgspec

from worldos.agent.home import make_folder
from worldos.errors import LeaseEnded, WorldError
from worldos.fabric.channel import Channel, Receiver
from worldos.fabric.pump import Pump
from worldos.model.ids import LeaseId, NodeId

OPENING_TIMEOUT_S = 10.0
CALLS_PRIORITY = 1


class DoorHello(msgspec.Struct, frozen=True, tag="lane"):
    """First bytes of a lane's channel: which worker of which lease."""

    lease: LeaseId
    worker: int


class Dialer(Protocol):
    """What the fabric offers to doors."""

    def open_channel(self, node: NodeId, hello: bytes, receiver: Receiver, priority: int = CALLS_PRIORITY) -> Channel:
        """Open a byte stream to a node."""


class FarDoors:
    """On the holder's side: one folder of sockets for all far leases of this node."""

    def __init__(self, folder: Path, dialer: Dialer) -> None:
        self._folder = folder
        self._dialer = dialer
        self._servers: dict[LeaseId, list[asyncio.AbstractServer]] = {}
        self._paths: dict[LeaseId, tuple[str, ...]] = {}
        self._number = 0

    def make_folder(self) -> None:
        """Make the folder of sockets, and clear what a killed agent left in it."""
        make_folder(self._folder)
        for left in self._folder.glob("*.sock"):
            left.unlink(missing_ok=True)

    async def open(self, lease: LeaseId, node: NodeId, workers: int) -> tuple[str, ...]:
        """Lay out a socket for each worker of a far lease; return their paths."""
        known = self._paths.get(lease)
        if known is not None:
            return known
        paths: list[str] = []
        servers: list[asyncio.AbstractServer] = []
        loop = asyncio.get_running_loop()
        self._paths[lease] = ()
        for worker in range(workers):
            self._number += 1
            path = self._folder / f"f{self._number:x}.sock"
            connected = self._factory(node, lease, worker)
            servers.append(await loop.create_unix_server(connected, str(path)))
            path.chmod(0o600)
            paths.append(str(path))
        ended = lease not in self._paths
        self._servers[lease] = servers
        self._paths[lease] = tuple(paths)
        if ended:  # while the sockets were made
            self.close(lease)
            raise LeaseEnded("this lease has ended")
        return tuple(paths)

    def close(self, lease: LeaseId) -> None:
        """Take the sockets of a lease away. Streams that are open end when the granting node ends them."""
        for server in self._servers.pop(lease, []):
            server.close()
        for path in self._paths.pop(lease, ()):
            Path(path).unlink(missing_ok=True)

    def keep(self, leases: Container[LeaseId]) -> None:
        """Take the sockets of all other leases away."""
        for lease in list(self._paths):
            if lease not in leases:
                self.close(lease)

    def _factory(self, node: NodeId, lease: LeaseId, worker: int) -> Callable[[], asyncio.Protocol]:
        """Return what makes the end of each connection: a pump whose channel is opened at once."""
        hello = msgspec.msgpack.encode(DoorHello(lease, worker))

        def connected() -> asyncio.Protocol:
            pump = Pump()
            try:
                pump.join(self._dialer.open_channel(node, hello, pump, CALLS_PRIORITY))
            except WorldError:
                return _Shut()
            return pump.socket

        return connected


class _Shut(asyncio.Protocol):
    """What a connection meets when its node is no member any more: the end, which is the holder's signal."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close."""
        transport.close()


MayEnter = Callable[[LeaseId, NodeId], bool]
PathOf = Callable[[LeaseId, int], Awaitable[str]]


class NearDoors:
    """On the granting side: lets channels in to this node's workers."""

    def __init__(self, may_enter: MayEnter, path_of: PathOf) -> None:
        self._may_enter = may_enter
        self._path_of = path_of
        self._tasks: set[asyncio.Task[None]] = set()

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        """A node opened a channel: check what it asks for, and join it to a worker."""
        try:
            door = msgspec.msgpack.decode(hello, type=DoorHello)
        except (msgspec.DecodeError, UnicodeDecodeError):
            channel.refuse("that is no lane")
            return
        if not self._may_enter(door.lease, node):
            channel.refuse("there is no such lease of yours here")
            return
        task = asyncio.get_running_loop().create_task(self._join(channel, door))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, channel: Channel, door: DoorHello) -> None:
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                path = await self._path_of(door.lease, door.worker)
                pump = Pump()
                await asyncio.get_running_loop().create_unix_connection(lambda: pump.socket, path)
        except (OSError, TimeoutError, WorldError) as error:
            channel.refuse(f"the worker cannot be reached: {error}")
            return
        channel.accept(pump)
        pump.join(channel)
