"""Forwards: a port of this machine's loopback that leads into a lease's private network, for programs of this user alone.

Whoever connects is asked nothing and shows nothing; the kernel says whose socket it is (/proc/net), and a stranger is hung
up on before a byte is read. A client that can take one gets a Unix socket instead, in a folder that others cannot enter.
Each connection becomes a stream of its own to the helper inside (lanes/net_wire.py). All of a program's forwards live in one
thread with an event loop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from worldos.errors import LeaseEnded, PeerBroke, Unreachable
from worldos.lanes import net_wire
from worldos.lanes.net_forward import PIECE_BYTES, splice
from worldos.lanes.net_wire import Admit, Enter, Joined, Shut, Through, Wish

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
TCP_FILES: Final = ("/proc/net/tcp", "/proc/net/tcp6")  # a socket of the newer protocol reaches us by a mapped address
MAPPED: Final = "0000000000000000FFFF0000"
TIME_WAIT: Final = "06"
ENTER_S: Final = 30.0
OPEN_MAX: Final = 1024


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to get into a lease's network: the agent's door, and the key."""

    door: str
    word: Enter


class Forwards:
    """All forwards of one program's network."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worldos-forwards", daemon=True)
        self._thread.start()
        self._servers: list[asyncio.AbstractServer] = []
        self._open: set[asyncio.Task[None]] = set()
        self._folder: Path | None = None
        self._closed = False

    def open_port(self, way: Way, port: int) -> int:
        """Lay out a port of the loopback that leads to a port inside; return it."""
        return self._do(self._listen(way, port))

    def open_unix(self, way: Way, port: int, name: str) -> str:
        """Lay out a Unix socket that leads to a port inside; return its path."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="wos-net-"))
        path = str(self._folder / name)
        self._do(self._listen_unix(way, port, path))
        return path

    def close(self) -> None:
        """End them all."""
        if self._closed:
            return
        self._do(self._end())
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise LeaseEnded("this network was given back")
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    async def _listen(self, way: Way, port: int) -> int:
        async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if is_ours(writer.get_extra_info("peername"), writer.get_extra_info("sockname")):
                await self._carry(way, port, reader, writer)
            else:
                writer.transport.abort()

        server = await asyncio.start_server(self._kept(came), LOOPBACK, 0, limit=PIECE_BYTES)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _listen_unix(self, way: Way, port: int, path: str) -> None:
        async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(way, port, reader, writer)

        self._servers.append(await asyncio.start_unix_server(self._kept(came), path, limit=PIECE_BYTES))

    def _kept(self, came: Any) -> Any:
        """Return what asyncio calls at each connection: its task is kept until it ends, and there is a bound on them."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._open) >= OPEN_MAX:
                writer.transport.abort()
                return
            task = self._loop.create_task(came(reader, writer))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

        return connected

    async def _carry(self, way: Way, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock = await self._loop.run_in_executor(None, enter, way, Through(port=port))
        except (OSError, EOFError, PeerBroke, Unreachable):
            writer.transport.abort()  # as a port at which nobody listens: the client is told at once
            return
        inner = await asyncio.open_unix_connection(sock=sock, limit=PIECE_BYTES)
        await splice(reader, writer, *inner)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


def tell(way: Way, admit: Admit) -> None:
    """Let a helper know who the members are now. Raises Unreachable with the reason where it cannot."""
    try:
        enter(way, admit).close()
    except (OSError, EOFError, PeerBroke) as error:
        raise Unreachable(f"a member of the network does not answer: {error}") from None


def enter(way: Way, wish: Wish) -> socket.socket:
    """Return a stream to a port inside, or to the helper. Raises Unreachable with the reason where there is none."""
    sock, reply = net_wire.ask(way.door, way.word, ENTER_S)
    try:
        if not isinstance(reply, Joined):
            raise Unreachable(reply.why if isinstance(reply, Shut) else "the network's door answers something else")
        sock.settimeout(ENTER_S)
        sock.sendall(net_wire.framed(wish))
        body, _fd = net_wire.receive(sock)
        reply = net_wire.decode_reply(body)
        if not isinstance(reply, Joined):
            raise Unreachable(reply.why if isinstance(reply, Shut) else "the network's helper answers something else")
    except BaseException:
        sock.close()
        raise
    sock.settimeout(None)
    return sock


def is_ours(peer: tuple[str, int], here: tuple[str, int], tables: tuple[str, ...] = TCP_FILES) -> bool:
    """Tell whether the other end of a connection over the loopback is a socket of this process's user."""
    wanted = [_written(peer), _written(here)]
    mine = str(os.getuid())
    for table in tables:
        with suppress(OSError), open(table, encoding="ascii") as file:
            for line in file:
                words = line.split()
                if [word.removeprefix(MAPPED) for word in words[1:3]] == wanted and words[3] != TIME_WAIT:
                    return words[7] == mine
    return False


def _written(address: tuple[str, int]) -> str:
    """Return an address as the kernel's table shows it: the number as this machine has it in memory."""
    number = int.from_bytes(socket.inet_aton(address[0]), "little" if sys.byteorder == "little" else "big")
    return f"{number:08X}:{address[1]:04X}"
