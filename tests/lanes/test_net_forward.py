"""Forwards at the helper's end: the holder names a port, and is led to it or told why not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from worldos.lanes import net_wire
from worldos.lanes.net_forward import WAITING, Forwards
from worldos.lanes.net_wire import Admit, Joined, Mate, Met, Shut, Through, Wait
from worldos.model.ids import LeaseId, NodeId

LEASE = LeaseId("l")
KEY = b"k" * 32


class Door:
    """The agent's door: who waits there is kept until a test comes for it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "door"
        self.waiting: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.listener.setblocking(False)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            sock.setblocking(True)
            body, _fd = await asyncio.to_thread(net_wire.receive, sock)
            assert net_wire.decode_word(body) == Wait(lease=LEASE, key=KEY)
            self.waiting.put_nowait(sock)

    async def come(self, *, by_fd: bool) -> socket.socket:
        """Come as the holder, over the connection that waits or by an end of a pair."""
        sock = await asyncio.wait_for(self.waiting.get(), 15)
        met = net_wire.framed(Met(node=NodeId("n"), lease=LeaseId("")))
        if not by_fd:
            sock.sendall(met)
            return sock
        ours, theirs = socket.socketpair()
        socket.send_fds(sock, [met], [theirs.fileno()])
        for each in (sock, theirs):
            each.close()
        return ours


def with_forwards(
    folder: Path, story: Callable[[Door], Awaitable[None]], admit: Callable[[Admit], None] = lambda _: None
) -> None:
    async def lived() -> None:
        door = Door(folder)
        serving = asyncio.create_task(door.serve())
        lifeline, alive = os.pipe()
        forwards = asyncio.create_task(Forwards(str(door.path), KEY, LEASE, "127.0.0.2", admit).serve(lifeline))
        try:
            await story(door)
        finally:
            os.close(alive)
            await asyncio.wait_for(forwards, 15)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            door.listener.close()
            while not door.waiting.empty():
                door.waiting.get_nowait().close()
            os.close(lifeline)

    asyncio.run(lived())


async def through(sock: socket.socket, port: int) -> net_wire.Reply:
    sock.sendall(net_wire.framed(Through(port=port)))
    body, _ = await asyncio.wait_for(asyncio.to_thread(net_wire.receive, sock), 15)
    return net_wire.decode_reply(body)


async def served(host: str) -> tuple[asyncio.Server, int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(echo, host, 0)
    return server, int(server.sockets[0].getsockname()[1])


def test_what_the_holder_says_comes_back_from_either_address(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        body = bytes(range(256)) * 8192
        for host in ("127.0.0.1", "127.0.0.2"):
            server, port = await served(host)
            for by_fd in (False, True):
                with await door.come(by_fd=by_fd) as sock:
                    assert await through(sock, port) == Joined()

                    def said(sock: socket.socket = sock) -> bytes:
                        sock.sendall(body)
                        sock.shutdown(socket.SHUT_WR)
                        return b"".join(iter(lambda: sock.recv(1 << 20), b""))

                    assert await asyncio.wait_for(asyncio.to_thread(said), 30) == body
            server.close()

    with_forwards(tmp_path, story)


def test_a_port_where_nobody_listens_is_said_to_be_one(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        with await door.come(by_fd=True) as sock:
            reply = await through(sock, port)
            assert isinstance(reply, Shut)
            assert f"port {port}" in reply.why

    with_forwards(tmp_path, story)


def test_whom_the_holder_lets_in_is_passed_on(tmp_path: Path) -> None:
    heard: list[Admit] = []
    wish = Admit(members=(Mate(node=NodeId("n"), lease=LEASE),))

    async def story(door: Door) -> None:
        with await door.come(by_fd=True) as sock:
            sock.sendall(net_wire.framed(wish))
            body, _ = await asyncio.wait_for(asyncio.to_thread(net_wire.receive, sock), 15)
            assert net_wire.decode_reply(body) == Joined()

    with_forwards(tmp_path, story, heard.append)
    assert heard == [wish]


def test_garbage_ends_that_way_and_no_other(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        server, port = await served("127.0.0.1")
        for data in (b"\xff" * 8, net_wire.LENGTH.pack(3) + b"\xc1\xc1\xc1", b""):
            with await door.come(by_fd=True) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                assert await asyncio.wait_for(asyncio.to_thread(sock.recv, 1), 15) == b""
        with await door.come(by_fd=False) as sock:
            assert await through(sock, port) == Joined()
        server.close()

    with_forwards(tmp_path, story)


def test_as_many_as_come_are_let_in_one_after_the_other(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        server, port = await served("127.0.0.1")
        kept = [await door.come(by_fd=True) for _ in range(3 * WAITING)]
        for sock in kept:
            assert await through(sock, port) == Joined()
            sock.close()
        server.close()

    with_forwards(tmp_path, story)
