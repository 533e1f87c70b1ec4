"""Doors to workers: how a lane reaches them from another node, as a plain byte stream both ways.

On the holder's side each worker of a far lease is a Unix socket in a private folder; every connection to it becomes a channel
of the fabric. On the granting side a channel is let in only while its lease is live and held by the very node that opened it
(asked at the door, each time), and is joined to the worker's own socket. Bytes are pumped with back-pressure on both sides;
nobody on the way looks into them.

A node's depot is reached in the same way, by who may (depots.py); since it believes what is said first, that is said here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Coroutine
from pathlib import Path
from typing import Protocol

import msgspec

from worldos.agent.home import make_folder
from worldos.agent.nets import NetHello, Nets
from worldos.errors import LeaseEnded, WorldError
from worldos.fabric.channel import Channel, Ending, Receiver
from worldos.fabric.pump import Pump
from worldos.model.ids import LeaseId, NodeId

OPENING_TIMEOUT_S = 10.0
CALLS_PRIORITY = 1
BULK_PRIORITY = 2


class DoorHello(msgspec.Struct, frozen=True, tag="lane"):
    """First bytes of a lane's channel: which worker of which lease."""

    lease: LeaseId
    worker: int


class DepotHello(msgspec.Struct, frozen=True, tag="depot"):
    """First bytes of a channel to a node's depot; with a lease, to put more there."""

    lease: str = ""


class Dialer(Protocol):
    """What the fabric offers to doors."""

    def open_channel(self, node: NodeId, hello: bytes, receiver: Receiver, priority: int = CALLS_PRIORITY) -> Channel:
        """Open a byte stream to a node."""


_Laid = tuple[asyncio.AbstractServer, str]


class FarDoors:
    """On the holder's side: one folder of sockets for all far leases of this node."""

    def __init__(self, folder: Path, dialer: Dialer) -> None:
        self._folder = folder
        self._dialer = dialer
        self._servers: dict[LeaseId, list[asyncio.AbstractServer]] = {}
        self._paths: dict[LeaseId, tuple[str, ...]] = {}
        self._depots: dict[tuple[NodeId, str], asyncio.Task[_Laid]] = {}
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
        self._paths[lease] = ()
        for worker in range(workers):
            server, path = await self._lay(node, DoorHello(lease, worker), CALLS_PRIORITY)
            servers.append(server)
            paths.append(path)
        ended = lease not in self._paths
        self._servers[lease] = servers
        self._paths[lease] = tuple(paths)
        if ended:  # while the sockets were made
            self.close(lease)
            raise LeaseEnded("this lease has ended")
        return tuple(paths)

    async def open_depot(self, node: NodeId, lease: str = "") -> str:
        """Lay out a socket for the depot of a node, once; return its path."""
        known = self._depots.get((node, lease))
        if known is None:
            known = asyncio.get_running_loop().create_task(self._lay(node, DepotHello(lease), BULK_PRIORITY))
            self._depots[node, lease] = known
        return (await asyncio.shield(known))[1]

    def keep_depots(self, wanted: Callable[[NodeId, str], bool]) -> None:
        """Take the sockets of other depots away: no new connection goes there."""
        for node, lease in [key for key in self._depots if not wanted(*key)]:
            self._depots.pop((node, lease)).add_done_callback(_take_away)

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

    async def _lay(self, node: NodeId, hello: DoorHello | DepotHello, priority: int) -> _Laid:
        self._number += 1
        path = self._folder / f"f{self._number:x}.sock"
        connected = self._factory(node, hello, priority)
        server = await asyncio.get_running_loop().create_unix_server(connected, str(path))
        path.chmod(0o600)
        return server, str(path)

    def _factory(self, node: NodeId, said: DoorHello | DepotHello, priority: int) -> Callable[[], asyncio.Protocol]:
        """Return what makes the end of each connection: a pump whose channel is opened at once."""
        hello = msgspec.msgpack.encode(said)

        def connected() -> asyncio.Protocol:
            pump = Pump()
            try:
                pump.join(self._dialer.open_channel(node, hello, pump, priority))
            except WorldError:
                return _Shut()
            return pump.socket

        return connected


def _take_away(laid: asyncio.Task[_Laid]) -> None:
    if not laid.cancelled() and laid.exception() is None:
        server, path = laid.result()
        server.close()
        Path(path).unlink(missing_ok=True)


class _Shut(asyncio.Protocol):
    """What a connection meets when its node is no member any more: the end, which is the holder's signal."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close."""
        transport.close()


MayEnter = Callable[[LeaseId, NodeId], bool]
PathOf = Callable[[LeaseId, int], Awaitable[str]]


class Depot(Protocol):
    """The depot of this node, as its doors see it."""

    door: str

    def greeting(self, peer: NodeId, lease: str) -> bytes | None:
        """Return what its door is to be told of a node first; None for one that has no business there."""

    def is_store(self, lease: LeaseId) -> bool:
        """Tell whether a lease is one of the depot, and has no workers."""

    async def stands(self) -> None:
        """Wait until its door is open."""


class NearDoors:
    """On the granting side: lets channels in to this node's workers, and to its depot."""

    def __init__(
        self, may_enter: MayEnter, path_of: PathOf, depot: Depot | None = None, nets: Nets | None = None
    ) -> None:
        self._nets = nets
        self._may_enter = may_enter
        self._path_of = path_of
        self._depot = depot
        self._tasks: set[asyncio.Task[None]] = set()
        self._under: dict[str, dict[Channel, Pump]] = {}

    def lease_ended(self, lease: LeaseId) -> None:
        """Cut the ways to the depot that were opened by right of a lease."""
        for channel, pump in self._under.pop(lease, {}).items():
            channel.abort("the lease has ended")
            pump.closed(Ending.BROKEN, "the lease has ended")

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        """A node opened a channel: check what it asks for, and join it to a worker or to the depot."""
        try:
            door = msgspec.msgpack.decode(hello, type=DoorHello | DepotHello | NetHello)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            channel.refuse("that is no lane")
            return
        if isinstance(door, NetHello):
            if self._nets is None:
                channel.refuse("there are no private networks here")
            else:
                self._nets.on_channel(node, channel, door)
        elif isinstance(door, DoorHello) and not self._may_enter(door.lease, node):
            channel.refuse("there is no such lease of yours here")
        elif isinstance(door, DepotHello) or (self._depot is not None and self._depot.is_store(door.lease)):
            self._to_depot(node, channel, door.lease)
        else:
            self._begin(self._join(channel, self._path_of(door.lease, door.worker), Pump()))

    def _to_depot(self, node: NodeId, channel: Channel, lease: str) -> None:
        depot = self._depot
        greeting = None if depot is None else depot.greeting(node, lease)
        if depot is None or greeting is None:
            channel.refuse("nothing of yours is kept here, and there is no lease for it")
            return

        async def path() -> str:
            await depot.stands()
            return depot.door

        pump = Pump(lambda _ending, _reason: self._forget(lease, channel))
        if lease:
            self._under.setdefault(lease, {})[channel] = pump
        self._begin(self._join(channel, path(), pump, greeting))

    def _forget(self, lease: str, channel: Channel) -> None:
        under = self._under.get(lease, {})
        under.pop(channel, None)
        if not under:
            self._under.pop(lease, None)

    def _begin(self, joining: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(joining)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, channel: Channel, where: Awaitable[str], pump: Pump, greeting: bytes = b"") -> None:
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                path = await where
                await asyncio.get_running_loop().create_unix_connection(lambda: pump.socket, path)
        except (OSError, TimeoutError, WorldError) as error:
            channel.refuse(f"the worker cannot be reached: {error}")
            pump.closed(Ending.REFUSED, str(error))
            return
        if greeting and pump.socket.transport is not None:
            pump.socket.transport.write(greeting)  # before the first byte of the channel
        channel.accept(pump)
        pump.join(channel)
