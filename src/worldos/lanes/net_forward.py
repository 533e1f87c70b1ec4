"""Forwards: the way from the program that holds a lease to a port inside the lease's private network, and to its helper.

A few connections wait at the agent's door for the holder; each that is taken is told a port, joined to it, and replaced. A port
is tried at the member's own address and then at the loopback: services listen at either.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worldos.errors import PeerBroke
from worldos.lanes import net_wire
from worldos.lanes.net_wire import Admit, Joined, Met, Shut, Wait
from worldos.model.ids import LeaseId

WAITING: Final = 4  # connections that wait for the holder
AGAIN_S: Final = 0.5
WORDS_S: Final = 10.0
CONNECT_S: Final = 10.0
PIECE_BYTES: Final = 256 * 1024
OPEN_MAX: Final = 1024


class Forwards:
    """The holder's ways into one member's network. ``admit`` hears who the members are now."""

    def __init__(
        self, door: str, key: bytes, lease: LeaseId, address: str, admit: Callable[[Admit], None] = lambda _: None
    ) -> None:
        self._door = door
        self._wait = net_wire.framed(Wait(lease=lease, key=key))
        self._address = address
        self._admit = admit
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, *lifelines: int) -> None:
        """Serve until one of these descriptors is at its end: a pipe that closes, a pidfd whose process ends."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for fd in lifelines:
            loop.add_reader(fd, ended.set)
        waiting = [loop.create_task(self._wait_forever()) for _ in range(WAITING)]
        await ended.wait()
        for task in (*waiting, *self._open):
            task.cancel()
        await asyncio.gather(*waiting, *self._open, return_exceptions=True)

    async def _wait_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock = await self._met()
            except (OSError, EOFError, PeerBroke):
                await asyncio.sleep(AGAIN_S)  # the agent is not there now
                continue
            if len(self._open) >= OPEN_MAX:
                sock.close()
                continue
            task = loop.create_task(self._through(sock))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _met(self) -> socket.socket:
        """Wait at the door until the holder comes; return the way to it."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self._door)
            sock.sendall(self._wait)
            await _readable(sock)
            sock.settimeout(WORDS_S)  # the answer is small and comes at once
            body, fd = net_wire.receive(sock)
            if not isinstance(net_wire.decode_reply(body), Met):
                raise PeerBroke("the door lets nobody wait")
        except BaseException:
            sock.close()
            raise
        if fd >= 0:
            sock.close()
            sock = socket.socket(fileno=fd)
        sock.setblocking(False)  # noqa: FBT003
        return sock

    async def _through(self, sock: socket.socket) -> None:
        """Let the holder through to the port that it names, or hear whom it lets in."""
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=PIECE_BYTES)
        try:
            try:
                async with asyncio.timeout(WORDS_S):
                    size = net_wire.size_of(await reader.readexactly(net_wire.LENGTH.size))
                    wish = net_wire.decode_wish(await reader.readexactly(size))
            except (TimeoutError, asyncio.IncompleteReadError, OSError, PeerBroke):
                return
            if isinstance(wish, Admit):
                self._admit(wish)
                writer.write(net_wire.framed(Joined()))
                return
            port = wish.port
            try:
                there, its = await self._connected(port)
            except OSError as error:
                writer.write(net_wire.framed(Shut(why=f"nothing answers at port {port}: {error.strerror or error}")))
                return
            writer.write(net_wire.framed(Joined()))
            await splice(reader, writer, there, its)
        finally:
            writer.close()

    async def _connected(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_S):
            try:
                return await asyncio.open_connection(self._address, port, limit=PIECE_BYTES)
            except ConnectionRefusedError:
                return await asyncio.open_connection("127.0.0.1", port, limit=PIECE_BYTES)


async def splice(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
) -> None:
    """Move bytes both ways until both directions have ended, or one side breaks."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_move(reader, other_writer))
            both.create_task(_move(other_reader, writer))
    except* OSError:
        pass  # one side is gone: the other is told by the end
    finally:
        other_writer.close()
        writer.close()


async def _move(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE_BYTES):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
