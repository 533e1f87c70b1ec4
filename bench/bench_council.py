"""What does a decision of a council cost, and how long is there none when its leader dies?

Three voters in three real processes on this machine, each with its log on the disk (fdatasync before it answers), a client in a
process of its own that asks the leader to put 100 bytes under one of 1 000 keys. Ours talk by the fabric, mutual TLS; etcd (3.4,
from Debian, its defaults) without any, which favours it. Both are driven by a hand-written client over TCP.

Guess on the back of an envelope: a commit is one round trip to a follower and one sync of its disk (the leader's own goes on
meanwhile): 120 us by bench_link.py + 250 us, and two hops between loop and writing thread at each end, 4 x 30 us: 0.5 ms, if each
of the four processes has a core when it wants one. With hundreds in flight a round of writes carries them all: what is left is
Python's hands, 40 us a command at the leader, 25 at a follower, 15 at the client: on two cores 20 000 a second. A killed leader's
sockets close at once; followers wait 0 to 50 ms, ask whether they would be elected (0.3 ms), sync their vote and the first entry
(2 x 0.4 ms): 30 ms, and half as long again for split votes. etcd waits for its election time-out of 1 to 2 s.

    uv run python bench/bench_council.py [--seconds 2] [--kills 10] [--rounds 3] [--only council|etcd]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.bench_link import plain_rtts_us  # noqa: E402
from bench.council_client import SeatConnection  # noqa: E402
from bench.council_process import DONE, STATUS  # noqa: E402
from bench.etcd_client import OPEN_MAX, EtcdConnection  # noqa: E402

VOTERS = 3
KEYS = 1000
VALUE = bytes(range(100))
MANY = 1024
READY_S = 20.0
ASK_EVERY_S = 0.01
COMMIT_TARGET_MS, RATE_TARGET, FAILOVER_TARGET_MS = 1.0, 10_000, 400
SYNCS = 300


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def sync_us(folder: Path) -> float:
    """The floor under every durable decision: 200 bytes into a file that has room, and a sync."""
    file = os.open(folder / "floor", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(file, bytes(1 << 20))
    os.fsync(file)
    took = []
    for number in range(SYNCS):
        begun = time.perf_counter()
        os.pwrite(file, VALUE * 2, number * 256)
        os.fdatasync(file)
        took.append((time.perf_counter() - begun) * 1e6)
    os.close(file)
    return statistics.median(took)


class Council:
    """Three of our seats."""

    name = "council"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seats = [f"127.0.0.1:{free_port()}" for _ in range(VOTERS)]
        self.doors = [("127.0.0.1", free_port()) for _ in range(VOTERS)]
        self.processes = [self.start(number) for number in range(VOTERS)]

    def start(self, number: int) -> subprocess.Popen[bytes]:
        host, port = self.doors[number]
        choices = {
            "me": number,
            "seats": self.seats,
            "clients": f"{host}:{port}",
            "folder": str(self.folder / f"seat-{number}"),
        }
        argv = [sys.executable, "-m", "bench.council_process", json.dumps(choices)]
        return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)

    async def connect(self, number: int) -> SeatConnection:
        return await SeatConnection.to(*self.doors[number])

    async def leader(self) -> int:
        """Return who leads; -1 where nobody does, or somebody is not up to date."""
        told = []
        for number in range(VOTERS):
            try:
                connection = await self.connect(number)
            except OSError:
                return -1
            _, status = await connection.ask(STATUS)
            connection.close()
            told.append(status)
        leaders = {status["leader"] for status in told}
        applied = [status["applied"] for status in told]
        return leaders.pop() if len(leaders) == 1 and max(applied) - min(applied) < MANY else -1

    async def inside_us(self, leader: int) -> float:
        """From a proposal at the leader to its commitment, as the leader saw it."""
        connection = await self.connect(leader)
        _, status = await connection.ask(STATUS)
        connection.close()
        return statistics.median(status["timed_ns"]) / 1e3

    async def prober(self, number: int, answered: Callable[[int, int], None]) -> SeatConnection:
        connection = await self.connect(number)
        connection.answered = lambda which, status, _: answered(which, status)
        return connection


class Etcd:
    """Three members of etcd."""

    name = "etcd"
    quiet: ClassVar[list[str]] = ["--logger", "zap", "--log-outputs", "/dev/null", "--log-level", "error"]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seats = [f"http://127.0.0.1:{free_port()}" for _ in range(VOTERS)]
        self.doors = [("127.0.0.1", free_port()) for _ in range(VOTERS)]
        self.processes = [self.start(number) for number in range(VOTERS)]

    def start(self, number: int) -> subprocess.Popen[bytes]:
        clients = f"http://127.0.0.1:{self.doors[number][1]}"
        all_of_them = ",".join(f"m{each}={seat}" for each, seat in enumerate(self.seats))
        argv = ["etcd", "--name", f"m{number}", "--data-dir", str(self.folder / f"member-{number}")]
        argv += ["--listen-peer-urls", self.seats[number], "--initial-advertise-peer-urls", self.seats[number]]
        argv += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        argv += ["--initial-cluster", all_of_them, "--initial-cluster-state", "new", *self.quiet]
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def connect(self, number: int) -> EtcdConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: EtcdConnection(lambda *_: None), *self.doors[number])
        return connection

    async def leader(self) -> int:
        ends = ",".join(f"http://{host}:{port}" for host, port in self.doors)
        asked = await asyncio.create_subprocess_exec(
            *("etcdctl", "--endpoints", ends, "endpoint", "status", "-w", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        out, _ = await asked.communicate()
        told = [each["Status"] for each in json.loads(out)] if asked.returncode == 0 else []
        leaders = [n for n, status in enumerate(told) if status["header"]["member_id"] == status.get("leader")]
        applied = [status["raftIndex"] for status in told]
        return leaders[0] if len(told) == VOTERS and leaders and max(applied) - min(applied) < MANY else -1

    async def prober(self, number: int, answered: Callable[[int, int], None]) -> EtcdConnection:
        connection = await self.connect(number)
        connection.answered = answered
        return connection


System = Council | Etcd


async def settled_leader(system: System) -> int:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        leader = await system.leader()
        if leader >= 0:
            return leader
        await asyncio.sleep(0.05)
    raise SystemExit(f"{system.name}: no leader within {READY_S} s")


async def drive(system: System, leader: int, seconds: float, in_flight: int) -> tuple[float, float, float]:
    """Keep so many puts open for a while; return the median and 99th percentile in us, and how many a second were done."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    took: list[float] = []
    begun: dict[int, float] = {}
    count = 0
    stop = time.perf_counter() + seconds

    def ask(connection: Any) -> None:
        nonlocal count
        count += 1
        owner[count] = connection
        begun[count] = time.perf_counter()
        connection.put(count, f"key{count % KEYS}", VALUE)

    def answered(number: int, status: int) -> None:
        if status != DONE and not done.done():
            done.set_exception(RuntimeError(f"{system.name} refused a put"))
        now = time.perf_counter()
        took.append(now - begun.pop(number))
        connection = owner.pop(number)
        if now < stop:
            ask(connection)
        elif not begun and not done.done():
            done.set_result(None)

    owner: dict[int, Any] = {}
    connections = [await system.prober(leader, answered) for _ in range(-(-in_flight // OPEN_MAX))]
    start = time.perf_counter()
    for number in range(in_flight):
        ask(connections[number % len(connections)])
    await asyncio.wait_for(done, seconds + READY_S)
    elapsed = time.perf_counter() - start
    for connection in connections:
        connection.close()
    took.sort()
    return statistics.median(took) * 1e6, took[int(len(took) * 0.99)] * 1e6, len(took) / elapsed


async def failover_ms(system: System) -> float:
    """Kill the leader under a light load; return how long it takes until a put is committed by the two that are left."""
    leader = await settled_leader(system)
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def answered(number: int, status: int) -> None:
        if status == DONE and number > 0 and not done.done():
            done.set_result(time.perf_counter())

    left = [await system.prober(number, answered) for number in range(VOTERS) if number != leader]
    for connection in left:
        connection.put(-1, "before", VALUE)
    await asyncio.sleep(0.3)
    process = system.processes[leader]
    killed = time.perf_counter()
    process.send_signal(signal.SIGKILL)
    count, end = 0, killed + READY_S
    while not done.done() and time.perf_counter() < end:
        count += 1
        for connection in left:
            connection.put(count, "after", VALUE)
        await asyncio.wait([done], timeout=ASK_EVERY_S)
    for connection in left:
        connection.close()
    process.wait()
    system.processes[leader] = system.start(leader)
    if not done.done():
        raise SystemExit(f"{system.name}: nothing committed within {READY_S} s of a kill")
    return (done.result() - killed) * 1e3


class Figures:
    """What was measured of one system."""

    def __init__(self) -> None:
        self.one_us: list[float] = []
        self.one_late_us: list[float] = []
        self.inside_us: list[float] = []
        self.many: list[float] = []
        self.cpu: list[float] = []
        self.failover_ms: list[float] = []


async def measure(system: System, figures: Figures, seconds: float, kills: int) -> None:
    leader = await settled_leader(system)
    await drive(system, leader, 0.5, 64)
    await system.leader()  # forgets how long those took
    median, late, _ = await drive(system, leader, seconds, 1)
    figures.one_us.append(median)
    figures.one_late_us.append(late)
    if isinstance(system, Council):
        figures.inside_us.append(await system.inside_us(leader))
    busy, begun = time.process_time(), time.perf_counter()
    figures.many.append((await drive(system, leader, seconds, MANY))[2])
    figures.cpu.append((time.process_time() - busy) / (time.perf_counter() - begun))
    for _ in range(kills):
        figures.failover_ms.append(await failover_ms(system))


def run(kind: type[Council] | type[Etcd], figures: Figures, seconds: float, kills: int) -> None:
    """Start three, ask them, and leave nothing of them."""
    folder = Path(tempfile.mkdtemp(prefix="wos-council-"))
    system = kind(folder)
    try:
        uvloop.run(measure(system, figures, seconds, kills))
    finally:
        for process in system.processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def said(what: str, ours: float, theirs: float | None, limit: float, target: str, unit: str) -> None:
    peer = "" if theirs is None else f"{theirs:12,.2f}   {ours / theirs:8.2f}"
    floor = f"{ours / limit:11,.1f}x" if limit else ""
    print(f"{what:34}{ours:12,.2f}{peer:23}{floor:12}   {target:>10} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What does a decision of a council cost?")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--kills", type=int, default=10, help="of the leader, in all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("council", "etcd"))
    choices = parser.parse_args()
    kinds: list[type[Council] | type[Etcd]] = [Council]
    if shutil.which("etcd") and shutil.which("etcdctl"):
        kinds.append(Etcd)
    else:
        print("etcd is not here (Debian: apt-get install etcd-server etcd-client): ours alone")
    kinds = [kind for kind in kinds if choices.only in (None, kind.name)]
    with tempfile.TemporaryDirectory(prefix="wos-council-") as folder:
        floor_us = statistics.median(plain_rtts_us(0.5)) + sync_us(Path(folder))
    found = {kind.name: Figures() for kind in kinds}
    for number in range(choices.rounds):
        kills = choices.kills // choices.rounds + (number < choices.kills % choices.rounds)
        for kind in kinds:
            run(kind, found[kind.name], choices.seconds, kills)
    show(found, floor_us)


def show(found: dict[str, Figures], floor_us: float) -> None:
    median = statistics.median
    ours, theirs = found.get("council"), found.get("etcd")
    if ours is None or theirs is None:
        ours, theirs = ours or theirs, None
    assert ours is not None
    print(
        f"\n3 voters in 3 processes, loopback, one disk; medians. The limit: a bare round trip and a sync, {floor_us:.0f} us"
    )
    print(f"{'':34}{'ours':>12}{'etcd':>12}{'ratio':>11}{'to limit':>12}   {'to reach':>10}")
    limit_ms = floor_us / 1e3
    rows: list[tuple[str, Callable[[Figures], float], float, str, str]] = [
        ("commit, one at a time", lambda f: median(f.one_us) / 1e3, limit_ms, "<= 1", "ms"),
        ("  99th percentile", lambda f: median(f.one_late_us) / 1e3, limit_ms, "", "ms"),
        (f"commits, {MANY} in flight", lambda f: median(f.many), 0, ">= 10,000", "/s"),
    ]
    if ours.failover_ms:
        rows.append(("leader killed -> next commit", lambda f: median(f.failover_ms), 0, "<= 400", "ms"))
        rows.append(("  slowest", lambda f: max(f.failover_ms), 0, "", "ms"))
    for what, value, limit, target, unit in rows:
        said(what, value(ours), value(theirs) if theirs else None, limit, target, unit)
    if ours.inside_us:
        print(f"commit as our leader saw it: {median(ours.inside_us) / 1e3:.2f} ms")
    shares = ", ".join(f"{name} {median(f.cpu):.2f}" for name, f in found.items())
    print(f"the client's share of a core with {MANY} in flight: {shares}; {os.cpu_count()} cores for all of it")
    print(f"kills: {', '.join(f'{name} {len(f.failover_ms)}' for name, f in found.items())}")


if __name__ == "__main__":
    main()
