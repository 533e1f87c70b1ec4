"""The door on a real socket: whoever does not prove to be a member gets nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time

import pytest

from tests.fabric.fabrics import Node, device, run, running, until
from tests.fabric.test_tls import credentials
from worldos.errors import BadRequest
from worldos.fabric.limits import HALF_OPEN_PER_HOST_MAX, HANDSHAKE_NS_MAX, SECOND
from worldos.fabric.tcp import format_address, listening_socket, parse_address, scoped_host


async def everything(reader: asyncio.StreamReader) -> bytes:
    """Return all that the door says until it closes."""
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""


@pytest.mark.parametrize(
    "words",
    [
        random.Random(1).randbytes(1 << 20),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x40\x00" + bytes(1 << 18),
    ],
)
def test_random_bytes_and_plain_tcp_are_closed_with_at_most_an_alert(words: bytes) -> None:
    async def story() -> None:
        node = Node(1, (2,))
        async with running(node):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.fabric.port)
            writer.write(words)
            said = await everything(reader)
            assert len(said) <= 7
            writer.close()
            await until(lambda: node.fabric.statistics().half_open == 0)
            assert node.notes.said == []

    run(story)


def test_a_strangers_certificate_gets_nothing() -> None:
    async def story() -> None:
        node = Node(1, (2,))
        context = credentials(device(9), device(1), device(9)).client
        async with running(node):
            said = b""
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", node.fabric.port, ssl=context)
                said = await everything(reader)  # in TLS 1.3 the dialer thinks it is in, until it reads
                writer.close()
            except (ConnectionError, ssl.SSLError):
                pass
            assert said == b""
            await until(lambda: node.fabric.statistics().refused == 1)
            assert node.notes.said == []

    run(story)


@pytest.mark.slow
def test_one_who_is_slow_is_closed_after_three_seconds() -> None:
    async def story() -> None:
        node = Node(1, (2,))
        async with running(node):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.fabric.port)
            begun = time.monotonic()
            writer.write(b"\x16")
            assert await everything(reader) == b""
            assert time.monotonic() - begun == pytest.approx(HANDSHAKE_NS_MAX / SECOND, abs=1)
            writer.close()

    run(story, loops=1)


def test_one_host_may_have_only_so_many_at_the_door() -> None:
    async def story() -> None:
        node = Node(1, (2,))
        async with running(node):
            streams = [
                await asyncio.open_connection("127.0.0.1", node.fabric.port) for _ in range(HALF_OPEN_PER_HOST_MAX + 5)
            ]
            await until(lambda: node.fabric.statistics().refused == 5)
            assert node.fabric.statistics().half_open == HALF_OPEN_PER_HOST_MAX
            for _, writer in streams:
                writer.close()
            await until(lambda: node.fabric.statistics().half_open == 0)

    run(story, loops=1)


def test_addresses_are_read_and_written() -> None:
    assert parse_address("host:1") == ("host", 1)
    assert parse_address("[fe80::1%eth0]:65535") == ("fe80::1%eth0", 65535)
    for address in (("192.0.2.1", 80), ("fe80::1%2", 8)):
        assert parse_address(format_address(address)) == address
    for bad in ("", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "[]:1"):
        with pytest.raises(BadRequest):
            parse_address(bad)


def test_the_host_of_a_link_local_address_names_its_interface() -> None:
    assert scoped_host(("fe80::1", 5, 0, 3)) == "fe80::1%3"
    assert scoped_host(("::ffff:192.0.2.1", 5, 0, 0)) == "192.0.2.1"
    assert scoped_host(("192.0.2.1", 5)) == "192.0.2.1"


def test_an_empty_host_means_both_families() -> None:
    with listening_socket(("", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            socket.create_connection((host, port), timeout=2).close()


def test_a_port_in_use_is_an_error_at_start() -> None:
    with listening_socket(("127.0.0.1", 0)) as server:

        async def story() -> None:
            node = Node(1, (2,), listen=("127.0.0.1", server.getsockname()[1]))
            with pytest.raises(OSError, match="in use"):
                await node.fabric.start()

        run(story, loops=1)
