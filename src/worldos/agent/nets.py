"""The door of private networks: where helpers of leases meet the program that holds them, and each other.

One Unix socket an agent. Who connects says one word (lanes/net_wire.py) with a key that only this agent can have given it: to a
lane in its environment, to a holder by the order ``net_way``. Helpers wait here; who comes for one is joined to it. Between two
nodes that is a channel of the fabric, whose hello names the lease it wants and by what right: the holder of a live lease (known
by the link itself), or a mate who knows the net's secret and whom the waiting helper named. On one machine both get an end of a
socket pair, and this process is on the way no more.

Nothing here knows what travels. A lease that ends takes its helper along, and with it every stream.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.errors import LeaseEnded, PeerBroke, Unreachable, WorldError
from worldos.fabric.channel import Channel, Ending
from worldos.fabric.pump import Pump
from worldos.lanes import net_wire
from worldos.lanes.net_wire import Call, Enter, Joined, Met, Reply, Shut, Wait, WaitForMates
from worldos.model.ids import LeaseId, NodeId

if TYPE_CHECKING:
    from worldos.agent.doors import Dialer
    from worldos.node import Node

FIRST_WORDS_S: Final = 10.0
MEETING_S: Final = 10.0  # how long who comes waits for a helper that is not there yet
OPENING_S: Final = 12.0  # ... and for the other node's answer to that
WAITING_MAX: Final = 4096  # connections at the door
PER_LEASE_MAX: Final = 64  # ... of one lease, and visitors to it
PACKETS_PRIORITY: Final = 1
STREAM_BYTES: Final = 1024 * 1024  # what the kernel may keep of a stream on its way to a helper


class NetHello(msgspec.Struct, frozen=True, tag="net"):
    """First bytes of a channel to a lease's helper: from its holder (``by`` is empty), or from another member of its net."""

    lease: LeaseId
    by: LeaseId = LeaseId("")
    net: bytes = b""


class _Waiting:
    """A helper's connection that waits for somebody to come."""

    def __init__(self, sock: socket.socket, net: bytes, mates: frozenset[tuple[NodeId, LeaseId]]) -> None:
        self.sock = sock
        self.net = net
        self.mates = mates
        self.watch: asyncio.Task[None] | None = None

    def admits(self, node: NodeId, hello: NetHello) -> bool:
        """Tell whether it waits for this one. That a holder is one, is known before."""
        if not hello.by:
            return not self.net
        return (node, hello.by) in self.mates and hmac.compare_digest(self.net, hello.net)


class Nets:
    """The net door of one agent. ``dialer``: the fabric, where there is one."""

    def __init__(self, path: Path, node: Node) -> None:
        self.path = path
        self._node = node
        self._dialer: Dialer | None = None
        self._secret = os.urandom(32)
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[LeaseId, list[_Waiting]] = {}
        self._visitors: dict[LeaseId, int] = {}
        self._came = asyncio.Condition()

    async def start(self, dialer: Dialer | None) -> None:
        """Listen. The caller holds the home's lock, so a socket that lies there is a dead agent's."""
        self._dialer = dialer
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self.path))
        finally:
            os.umask(before)
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003
        self._listener = listener
        self._begin(self._accept_forever(listener))

    async def close(self) -> None:
        """Close the door, and hang up on who waits at it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def environ(self, lease: LeaseId) -> dict[str, str]:
        """Return what a lane has to know of this door."""
        return {net_wire.DOOR_NAME: str(self.path), net_wire.KEY_NAME: self._key(b"lane", lease).hex()}

    def way(self, lease: LeaseId) -> dict[str, str]:
        """Return what the program that holds a lease has to know to reach its helper."""
        return {"door": str(self.path), "key": self._key(b"holder", lease).hex()}

    def on_channel(self, node: NodeId, channel: Channel, hello: NetHello) -> None:
        """A node comes for a helper here."""
        leases = self._node.leases
        if not (hello.lease in leases.leases if hello.by else leases.is_live(hello.lease, node)):
            channel.refuse("there is no such lease of yours here")
        else:
            self._begin(self._let_in(node, channel, hello))

    # -- at the door ------------------------------------------------------------------------------------------------------

    async def _accept_forever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            if len(self._tasks) > WAITING_MAX:
                sock.close()
                continue
            sock.setblocking(False)  # noqa: FBT003
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BYTES)
            self._begin(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        """Hear what somebody wants, and see that it gets it or is told why not."""
        try:
            async with asyncio.timeout(FIRST_WORDS_S):
                size = net_wire.size_of(await _exactly(sock, net_wire.LENGTH.size))
                word = net_wire.decode_word(await _exactly(sock, size))
            holder = isinstance(word, Enter)
            if not hmac.compare_digest(word.key, self._key(b"holder" if holder else b"lane", word.lease)):
                raise PeerBroke("that is no key to this lease")
            match word:
                case Wait():
                    self._take_place(word.lease, _Waiting(sock, b"", frozenset()))
                case WaitForMates():
                    mates = frozenset((mate.node, mate.lease) for mate in word.mates)
                    self._take_place(word.lease, _Waiting(sock, word.net, mates))
                case Call():
                    await self._lead(sock, word.mate.node, NetHello(word.mate.lease, word.lease, word.net))
                case Enter():
                    await self._lead(sock, self._granter(word.lease), NetHello(word.lease))
        except (OSError, EOFError, TimeoutError):
            sock.close()
        except WorldError as error:
            with suppress(OSError):
                sock.send(net_wire.framed(Shut(why=str(error)[:300])))
            sock.close()

    def _take_place(self, lease: LeaseId, waiting: _Waiting) -> None:
        places = self._waiting.setdefault(lease, [])
        if len(places) >= PER_LEASE_MAX:
            raise PeerBroke(f"{len(places)} connections of this lease wait here already")
        places.append(waiting)
        waiting.watch = self._begin(self._watch(lease, waiting))
        self._begin(self._tell_came())

    async def _tell_came(self) -> None:
        async with self._came:
            self._came.notify_all()

    async def _watch(self, lease: LeaseId, waiting: _Waiting) -> None:
        """Forget a helper that hangs up, or that speaks before anybody came."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_recv(waiting.sock, 1)
        self._leave_place(lease, waiting)
        waiting.sock.close()

    def _leave_place(self, lease: LeaseId, waiting: _Waiting) -> None:
        places = self._waiting.get(lease, [])
        if waiting in places:
            places.remove(waiting)
        if not places:
            self._waiting.pop(lease, None)

    # -- meeting ----------------------------------------------------------------------------------------------------------

    async def _meet(self, node: NodeId, hello: NetHello) -> socket.socket:
        """Return the connection of the helper that waits for this one; wait a while for it to come."""
        found: list[_Waiting] = []

        def there() -> bool:
            found[:] = [each for each in self._waiting.get(hello.lease, []) if each.admits(node, hello)][:1]
            return bool(found)

        if self._visitors.get(hello.lease, 0) >= PER_LEASE_MAX:
            raise Unreachable("too many wait for this lease's network")
        self._visitors[hello.lease] = self._visitors.get(hello.lease, 0) + 1
        try:
            async with asyncio.timeout(MEETING_S), self._came:
                await self._came.wait_for(there)
        except TimeoutError:
            raise Unreachable("nothing of this lease waits for you: has its network ended?") from None
        finally:
            self._visitors[hello.lease] -= 1
            if not self._visitors[hello.lease]:
                del self._visitors[hello.lease]
        (waiting,) = found
        self._leave_place(hello.lease, waiting)
        assert waiting.watch is not None
        waiting.watch.cancel()
        await asyncio.wait([waiting.watch])
        return waiting.sock

    async def _lead(self, sock: socket.socket, node: NodeId, hello: NetHello) -> None:
        """Bring who stands at the door to a helper, here or at another node."""
        if node == self._node.node:
            met = await self._meet(node, hello)
            one, other = socket.socketpair()
            with one, other, sock, met:
                _tell(met, Met(node=node, lease=hello.by), one)
                _tell(sock, Joined(), other)
            return
        if self._dialer is None:
            raise Unreachable("this node has no links to others")
        way = _Way()
        try:
            way.channel = self._dialer.open_channel(node, msgspec.msgpack.encode(hello), way, PACKETS_PRIORITY)
            async with asyncio.timeout(OPENING_S):
                why = await way.answer
        except TimeoutError:
            why = "the other node does not answer"
        if why and way.channel is not None:
            way.channel.abort(why)
        if why or way.channel is None:
            raise Unreachable(why or "there is no way to that node")
        _tell(sock, Joined())
        await asyncio.get_running_loop().create_unix_connection(lambda: way.socket, sock=sock)
        way.join(way.channel)

    async def _let_in(self, node: NodeId, channel: Channel, hello: NetHello) -> None:
        try:
            met = await self._meet(node, hello)
        except WorldError as error:
            channel.refuse(str(error))
            return
        pump = Pump()
        try:
            _tell(met, Met(node=node, lease=hello.by))
            await asyncio.get_running_loop().create_unix_connection(lambda: pump.socket, sock=met)
        except OSError as error:
            met.close()
            channel.refuse(f"its helper cannot be reached: {error.strerror}")
            return
        channel.accept(pump)
        pump.join(channel)

    # -- small things -----------------------------------------------------------------------------------------------------

    def _granter(self, lease: LeaseId) -> NodeId:
        held = self._node.uses.held.leases.get(lease)
        if held is None:
            raise LeaseEnded("this lease has ended")
        return held.terms.node

    def _key(self, whose: bytes, lease: LeaseId) -> bytes:
        return hmac.digest(self._secret, whose + b"\0" + lease.encode(), hashlib.sha256)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Way(Pump):
    """The near end of a channel that was opened for somebody: it tells whether the far end took it."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def accepted(self) -> None:
        """Note that the far end took the channel."""
        if not self.answer.done():
            self.answer.set_result("")

    def closed(self, ending: Ending, reason: str) -> None:
        """Note that the far end did not take it, or that it is over."""
        if not self.answer.done():
            self.answer.set_result(reason or "the way to that node is gone")
        super().closed(ending, reason)


def _tell(sock: socket.socket, reply: Reply, fd: socket.socket | None = None) -> None:
    """Answer; an answer is small, and there is room for it in a socket on which nothing was said before."""
    if fd is None:
        sock.send(net_wire.framed(reply))
    else:
        socket.send_fds(sock, [net_wire.framed(reply)], [fd.fileno()])


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(sock, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
