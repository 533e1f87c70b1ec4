"""The cost of a request between two nodes.

What does one pay for a proved identity, order and exactly-once, over bare TCP?

Guess on the back of an envelope: a bare TCP ping-pong between two processes costs about 40 us here, mostly four system calls
and two wake-ups. An event loop adds some 15 us at each end, TLS two records of encryption and decryption (2 x 5 us in
Python's hands), framing and the session some 10 us at each end: about 110 us, so 3 times the floor. With 64 requests in
flight all of that but the framing is shared: 10 us a request at each end, on two cores, so about 80 000 per second.

    uv run python bench/bench_link.py [--seconds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.connection
import socket
import statistics
import time

import uvloop

from worldos.fabric.channel import Channel, Ending
from worldos.fabric.host import Fabric, Identity
from worldos.model.ids import AccountId, NodeId
from worldos.trust.certs import root_certificate
from worldos.trust.keys import DeviceKey

PAYLOAD = bytes(64)
CLIENT, SERVER = DeviceKey.from_seed(b"c" * 32), DeviceKey.from_seed(b"s" * 32)


class End:
    """A handler: the server answers everything, the client counts answers."""

    def __init__(self, *, answers: bool) -> None:
        self.fabric: Fabric | None = None
        self.answers = answers
        self.linked = asyncio.Event()
        self.came = lambda: None

    def on_peer(self, node: NodeId, boot: int, via: str, rtt_us: int) -> None:
        self.linked.set()

    def on_peer_lost(self, node: NodeId, reason: str) -> None:
        pass

    def on_message(self, node: NodeId, message: bytes) -> None:
        if self.answers:
            assert self.fabric is not None
            self.fabric.send(node, message, 1)
        else:
            self.came()

    def on_undelivered(self, node: NodeId, messages: list[bytes]) -> None:
        pass

    def on_path(self, node: NodeId, via: str, rtt_us: int) -> None:
        pass

    def on_beacon(self, node: NodeId, account: str, address: str, facts: bytes) -> None:
        pass

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        channel.accept(Sound(channel, echo=hello == b"echo"))


class Sound:
    """The receiver of a channel: an echo, or a counter."""

    def __init__(self, channel: Channel | None, *, echo: bool) -> None:
        self.channel = channel
        self.echo = echo
        self.bytes = 0
        self.came = lambda: None

    def accepted(self) -> None:
        pass

    def data_received(self, data: memoryview) -> None:
        self.bytes += len(data)
        if self.echo:
            assert self.channel is not None
            self.channel.write(bytes(data))
        self.came()

    def eof_received(self) -> None:
        pass

    def writable(self) -> None:
        self.came()

    def closed(self, ending: Ending, reason: str) -> None:
        pass


def new_fabric(key: DeviceKey, end: End) -> Fabric:
    members = {one.node_id: root_certificate(one) for one in (CLIENT, SERVER)}
    listen = ("127.0.0.1", 0) if key is SERVER else None
    fabric = Fabric(Identity(key=key, account=AccountId("a"), boot=1), end, members=members, listen=listen)
    end.fabric = fabric
    return fabric


def serve(pipe: multiprocessing.connection.Connection) -> None:
    """The far node, and the far end of the floor."""

    async def main() -> None:
        fabric = new_fabric(SERVER, End(answers=True))
        await fabric.start()
        pipe.send(fabric.port)
        await asyncio.to_thread(pipe.recv)
        await fabric.close()

    uvloop.run(main())


def serve_plain(pipe: multiprocessing.connection.Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)


def plain_rtts_us(seconds: float) -> list[float]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve_plain, args=(there,))
    process.start()
    rtts: list[float] = []
    with socket.create_connection(("127.0.0.1", here.recv())) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            connection.sendall(PAYLOAD)
            connection.recv(4096)
            rtts.append((time.perf_counter() - begun) * 1e6)
    process.join()
    return rtts


async def message_rtts_us(fabric: Fabric, end: End, seconds: float) -> list[float]:
    rtts: list[float] = []
    done = asyncio.get_running_loop().create_future()
    stop = time.perf_counter() + seconds
    begun = time.perf_counter()

    def came() -> None:
        nonlocal begun
        now = time.perf_counter()
        rtts.append((now - begun) * 1e6)
        if now >= stop:
            done.set_result(None)
            end.came = lambda: None
            return
        begun = now
        fabric.send(SERVER.node_id, PAYLOAD, 1)

    end.came = came
    fabric.send(SERVER.node_id, PAYLOAD, 1)
    await done
    return rtts


async def messages_per_second(fabric: Fabric, end: End, seconds: float, in_flight: int) -> float:
    done = asyncio.get_running_loop().create_future()
    begun = time.perf_counter()
    count = 0

    def came() -> None:
        nonlocal count
        count += 1
        if not count & 1023 and time.perf_counter() - begun >= seconds and not done.done():
            done.set_result(None)
        if not done.done():
            fabric.send(SERVER.node_id, PAYLOAD, 1)

    end.came = came
    for _ in range(in_flight):
        fabric.send(SERVER.node_id, PAYLOAD, 1)
    await done
    elapsed = time.perf_counter() - begun
    end.came = lambda: None
    await asyncio.sleep(0.1)
    return count / elapsed


async def bulk_megabytes_per_second(fabric: Fabric, seconds: float) -> float:
    """Echoed bytes over a channel: each goes there and comes back."""
    sound = Sound(None, echo=False)
    channel = fabric.open_channel(SERVER.node_id, b"echo", sound, 2)
    piece = bytes(256 * 1024)

    def more() -> None:
        while channel.writable:
            channel.write(piece)

    sound.came = more
    begun = time.perf_counter()
    more()
    await asyncio.sleep(seconds)
    rate = sound.bytes / (time.perf_counter() - begun) / 1e6
    sound.came = lambda: None
    channel.abort()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description="What does a request between two nodes cost?")
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    floor = plain_rtts_us(seconds)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there,))
    process.start()

    async def measure() -> tuple[list[float], float, float]:
        end = End(answers=False)
        fabric = new_fabric(CLIENT, end)
        await fabric.start()
        fabric.connect(SERVER.node_id, [f"127.0.0.1:{here.recv()}"])
        await end.linked.wait()
        rtts = await message_rtts_us(fabric, end, seconds)
        rate = await messages_per_second(fabric, end, seconds, 64)
        bulk = await bulk_megabytes_per_second(fabric, seconds)
        await fabric.close()
        return rtts, rate, bulk

    rtts, rate, bulk = uvloop.run(measure())
    here.send(None)
    process.join()
    low, high = statistics.median(floor), statistics.median(rtts)
    print("64-byte requests between two processes, loopback")
    print(f"  floor, plain TCP    {low:8.1f} us median   {quantile(floor, 0.99):8.1f} us p99   {1e6 / low:10,.0f} /s")
    print(
        f"  fabric, mutual TLS  {high:8.1f} us median   {quantile(rtts, 0.99):8.1f} us p99   {high / low:10.2f} x the floor"
    )
    print(f"  fabric, 64 in flight {rate:10,.0f} /s = {rate * low / 1e6:.2f} x the floor's one by one")
    print(f"  channel echo         {bulk:10,.0f} MB/s each way")


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


if __name__ == "__main__":
    main()
