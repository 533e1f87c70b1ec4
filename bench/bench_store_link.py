"""What does the way to a depot cost: on this machine, and behind two agents?

Shares of 1 MiB are put and fetched with eight under way, by one program, from a depot in another process. Local: a Unix socket.
Far: program, Unix socket, agent, mutual TLS over TCP on the loopback, agent, Unix socket, depot, so four hops and two encryptions
more. Every put is on the disk (fdatasync) before it is acknowledged.

Guess on the back of an envelope: one core moves 4 GB/s over a loopback socket, and the disk takes what it takes: a put is
the disk, a get from the page cache two copies, 2 to 3 GB/s. Far: an agent copies each byte four times (socket, channel, TLS
record, socket), encrypts it once at 5 GB/s in records of 16 KiB, and has it in Python's hands every 64 KiB, all on one core: some
500 MB/s an agent; two agents, the program and the depot on two cores: half of that. A small question is 60 us local (two
wake-ups, 2 x 15 us of Python); far adds a message's way through both agents, twice: 60 + 2 x 110 us.

    uv run python bench/bench_store_link.py [--seconds 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.agents import RunningAgent, running_pair, until  # noqa: E402

from bench.bench_link import bulk_megabytes_per_second  # noqa: E402
from worldos.depot.link import StoreLink  # noqa: E402
from worldos.depot.wire import Who  # noqa: E402

MIB = 1 << 20
FLIGHT = 8
LEAVES = bytes(MIB // (16 * 1024) * 32)
SHARES = 16  # put once, fetched again and again: from the page cache


def sink(pipe: multiprocessing.connection.Connection) -> None:
    """The far end of the limit: reads all that comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
        buffer = bytearray(MIB)
        with connection:
            while connection.recv_into(buffer):
                pass


def tcp_mb_s(seconds: float) -> float:
    """One way over loopback TCP, Python at both ends: the limit."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=sink, args=(there,))
    process.start()
    data, sent = os.urandom(MIB), 0
    with socket.create_connection(("127.0.0.1", here.recv())) as connection:
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            connection.sendall(data)
            sent += MIB
        took = time.perf_counter() - begun
    process.join()
    return sent / took / 1e6


def disk_mb_s(folder: Path, seconds: float) -> float:
    """Append 8 MiB and fdatasync, again and again: the limit of a put."""
    data, written = os.urandom(8 * MIB), 0
    file = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT, 0o600)
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        os.pwrite(file, data, written % (256 * MIB))
        os.fdatasync(file)
        written += len(data)
    took = time.perf_counter() - begun
    os.close(file)
    (folder / "floor").unlink()
    return written / took / 1e6


def flow(seconds: float, begin: Callable[[int], object]) -> float:
    """Keep FLIGHT requests of 1 MiB under way; return MB/s."""
    open_: list[tuple[int, object]] = []
    done, number = 0, 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        while len(open_) < FLIGHT:
            open_.append((number, begin(number)))
            number += 1
        open_.pop(0)[1].result(60)  # type: ignore[attr-defined]
        done += 1
    took = time.perf_counter() - begun
    for _, future in open_:
        future.result(60)  # type: ignore[attr-defined]
    return done * MIB / took / 1e6


def put_mb_s(link: StoreLink, seconds: float) -> float:
    data = [os.urandom(MIB) for _ in range(FLIGHT)]
    ids: list[bytes] = []

    def begin(number: int) -> object:
        ids.append(os.urandom(32))
        return link.put_share(ids[-1], data[number % FLIGHT], digests=LEAVES)

    rate = flow(seconds, begin)
    link.drop(ids[:4096]).result(60)
    return rate


def get_mb_s(link: StoreLink, seconds: float) -> float:
    ids = [os.urandom(32) for _ in range(SHARES)]
    for share in ids:
        link.put_share(share, os.urandom(MIB), digests=LEAVES).result(60)
    buffers = [memoryview(bytearray(MIB)) for _ in range(FLIGHT)]
    rate = flow(seconds, lambda n: link.get_share(ids[n % SHARES], into=buffers[n % FLIGHT]))
    link.drop(ids).result(60)
    return rate


def ask_us(link: StoreLink, seconds: float) -> float:
    took = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        link.have((LEAVES[:32],)).result(60)
        took.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(took)


@contextlib.contextmanager
def links(folder: Path) -> Iterator[tuple[StoreLink, StoreLink]]:
    """A link to the depot of the second agent from its own machine, and one from the first agent's."""
    with running_pair(folder) as (first, second):
        near = next(row for row in second.ask("stores") if row["here"])
        far = until(lambda: far_row(first, near["node"]), "the depot is reached", 20)
        who = Who(node=near["node"], account=near["account"], rights="own")
        with StoreLink.open(near["path"], who) as direct, StoreLink.open(far["path"]) as through:
            yield direct, through


def far_row(agent: RunningAgent, node: str) -> dict[str, str] | None:
    return next((row for row in agent.ask("stores") if row["node"] == node and row["path"]), None)


def channel_mb_s(seconds: float) -> float:
    """One channel of the fabric, there and back, without agents, sockets or disks: what TLS and framing leave."""
    from bench.bench_link import CLIENT, SERVER, End, new_fabric, serve

    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there,))
    process.start()

    async def measure() -> float:
        end = End(answers=False)
        fabric = new_fabric(CLIENT, end)
        await fabric.start()
        fabric.connect(SERVER.node_id, [f"127.0.0.1:{here.recv()}"])
        await end.linked.wait()
        rate = await bulk_megabytes_per_second(fabric, seconds)
        await fabric.close()
        return rate

    import uvloop

    rate = uvloop.run(measure())
    here.send(None)
    process.join()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description="What does the way to a depot cost?")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds = options.seconds
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory(prefix="wos-bench-") as text, links(Path(text)) as (direct, through):
        for _ in range(options.rounds):
            note("loopback TCP MB/s", tcp_mb_s(seconds))
            note("disk MB/s", disk_mb_s(Path(text), seconds))
            note("channel MB/s", channel_mb_s(seconds))
            for name, link in (("local", direct), ("far", through)):
                note(f"{name} put MB/s", put_mb_s(link, seconds))
                note(f"{name} get MB/s", get_mb_s(link, seconds))
                note(f"{name} ask us", ask_us(link, seconds / 2))
    middle = {name: statistics.median(values) for name, values in rows.items()}
    for name, value in middle.items():
        print(f"{name:20} {value:8.0f}   ({min(rows[name]):.0f} to {max(rows[name]):.0f})")
    for name in ("local", "far"):
        put, get = middle[f"{name} put MB/s"], middle[f"{name} get MB/s"]
        limit = min(middle["loopback TCP MB/s"], middle["disk MB/s"])
        print(f"{name}: put {put / limit:.2f} of min(TCP, disk), get {get / middle['loopback TCP MB/s']:.2f} of TCP")
    print(f"far get is {middle['far get MB/s'] / middle['channel MB/s']:.2f} of the channel's echoed rate")


if __name__ == "__main__":
    main()
