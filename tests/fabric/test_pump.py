"""A pump between a channel and a socket."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from tests.fabric.fabrics import Ear, Node, run, running, until
from worldos.fabric.channel import Channel, Ending
from worldos.fabric.pump import Pump


def test_a_socket_on_the_far_node_answers_through_the_pump(tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def hash_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha256()
        while data := await reader.read(1 << 20):
            digest.update(data)
        writer.write(digest.digest())
        writer.close()

    async def story() -> None:
        server = await asyncio.start_unix_server(hash_all, path)
        endings: list[tuple[Ending, str]] = []

        def take(channel: Channel, hello: bytes) -> None:
            async def join() -> None:
                pump = Pump(lambda ending, reason: endings.append((ending, reason)))
                channel.accept(pump)
                await asyncio.get_running_loop().create_unix_connection(lambda: pump.socket, hello.decode())
                pump.join(channel)

            tasks.append(asyncio.ensure_future(join()))

        tasks: list[asyncio.Future[None]] = []
        a, b = Node(1, (2,)), Node(2, (1,))
        b.notes.take_channel = take
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            ear = Ear()
            channel = a.fabric.open_channel(b.id, path.encode(), ear)
            sent = bytes(range(256)) * (1 << 16)
            for start in range(0, len(sent), 1 << 20):
                await until(lambda: channel.writable)
                channel.write(sent[start : start + (1 << 20)])
            channel.eof()
            await until(lambda: ear.ending)
            assert bytes(ear.data) == hashlib.sha256(sent).digest()
            assert ear.ending == (Ending.DONE, "")
            assert endings == []  # this end closed it itself
        server.close()

    run(story)


def test_the_socket_is_closed_when_the_channel_breaks(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    ended = asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()
            ended.set()

    async def story() -> None:
        server = await asyncio.start_unix_server(wait_for_end, path)
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            pump = Pump()
            pump.join(a.fabric.open_channel(b.id, b"", pump))
            await asyncio.get_running_loop().create_unix_connection(lambda: pump.socket, path)
            await until(lambda: b.notes.ears)
            b.fabric.forget(a.id, "enough")
            a.fabric.forget(b.id, "enough")
            await asyncio.wait_for(ended.wait(), 5)
        server.close()

    run(story, loops=1)
