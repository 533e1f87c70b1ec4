"""What does a durable queue cost, beside Redis streams and RabbitMQ, each of which has every message on disk before it says so?

Ours on one node, and kept by three nodes of which two must have it; Redis (appendfsync always, XADD, XREADGROUP, XACK over a Unix
socket, hand-written client: C against Python, one process, nobody checks who asks); RabbitMQ (durable queue, publisher confirms,
persistent messages, over TCP by pika), where it is installed. All clients are one Python process; bodies are 100 bytes.

Guess on the back of an envelope: one put alone is a sync of the disk (see the floor) and some 300 us of Python's hands: socket,
order, command, entry, thread of the log and back. Redis syncs too without such hands: 1.3 syncs. In batches of 500 a put is 2 us
of encoding at the client, 1 us of decoding and 3 us of applying at the agent, once more at each replica: 100 000 a second on one
node, 40 000 on three that share two cores; Redis, 3 us a command in the server and 4 us in our client: 120 000.
RabbitMQ: 30 us a message in Erlang and as much in pika. ``cpu us``: processor time a message of the server alone (of
three: of the one that is asked), which a busy machine does not spoil.

    uv run python bench/bench_queue.py [--seconds 2] [--rounds 3] [--without rabbit]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.agents import RunningAgent, new_home, running, until  # noqa: E402
from tests.agent.sites import running_site  # noqa: E402

from worldos.kernel.work.look import read_keepers  # noqa: E402
from worldos.sdk.queue import Message, Queue  # noqa: E402

BODY = bytes(range(100))
BATCH, TAKEN = 500, 100
READY_S = 30.0
EMPTY_S = 0.2  # a consumer of RabbitMQ is not told that there is nothing: it hears nothing for so long
SYNCS = 300


class Peer(Protocol):
    """A queue of somebody."""

    name: str
    server: int  # the process that does the most for it

    def put(self) -> None:
        """Put one message."""

    def put_many(self, count: int) -> None:
        """Put so many."""

    def take(self, count: int) -> int:
        """Take and be done with up to so many; return how many."""


class Ours:
    """``use("Queue")``."""

    def __init__(self, name: str, agent: RunningAgent) -> None:
        self.name = name
        self.server = agent.process.pid
        self.queue = Queue("bench", home=agent.home)
        self.taken: list[Message] = []

    def put(self) -> None:
        self.queue.put(BODY)

    def put_many(self, count: int) -> None:
        self.queue.put_many([BODY] * count)

    def take(self, count: int) -> int:
        if count == 1:
            found = self.queue.get_many(1, timeout=0)
            self.queue.ack(*found)
        else:
            found = self.taken = self.queue.get_many(count, timeout=0, done=self.taken)
        return len(found)


class Redis:
    """A stream with one group and one consumer."""

    name = "redis"

    def __init__(self, path: Path, server: int) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.taken: list[bytes] = []
        self.ask((b"XGROUP", b"CREATE", b"bench", b"group", b"$", b"MKSTREAM"))

    def ask(self, *commands: tuple[bytes, ...]) -> list[Any]:
        said = []
        for words in commands:
            said.append(b"*%d\r\n" % len(words))
            said += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(said))
        return [self.answer() for _ in commands]

    def answer(self) -> Any:
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        assert kind != b"-", line
        return rest

    def put(self) -> None:
        self.ask((b"XADD", b"bench", b"*", b"m", BODY))

    def put_many(self, count: int) -> None:
        self.ask(*[(b"XADD", b"bench", b"*", b"m", BODY)] * count)

    def take(self, count: int) -> int:
        words = (b"XREADGROUP", b"GROUP", b"group", b"me", b"COUNT", b"%d" % count, b"STREAMS", b"bench", b">")
        said = [(b"XACK", b"bench", b"group", *self.taken), (b"XDEL", b"bench", *self.taken)] if self.taken else []
        *_, found = self.ask(*said, words)  # what is done with goes along, as with ours
        self.taken = [each[0] for each in found[0][1]] if found else []
        if count == 1 and self.taken:
            self.ask((b"XACK", b"bench", b"group", *self.taken), (b"XDEL", b"bench", *self.taken))
            taken, self.taken = self.taken, []
            return len(taken)
        return len(self.taken)


class Rabbit:
    """A durable queue with publisher confirms."""

    name = "rabbitmq"

    def __init__(self, port: int, server: int) -> None:
        import pika

        self.server = server
        self.connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, heartbeat=0))
        self.channel = self.connection.channel()
        self.channel.queue_declare("bench", durable=True)
        self.channel.basic_qos(prefetch_count=TAKEN)
        self.sent = self.confirmed = 0
        self.inside = self.channel._impl  # the blocking one would wait for each confirm by itself
        self.inside.confirm_delivery(self.told, callback=lambda _: None)
        self.connection.process_data_events(0.2)
        self.durable = pika.BasicProperties(delivery_mode=2)

    def told(self, frame: Any) -> None:
        assert type(frame.method).__name__ == "Ack", frame
        self.confirmed = max(self.confirmed, frame.method.delivery_tag)

    def put(self) -> None:
        self.put_many(1)

    def put_many(self, count: int) -> None:
        for _ in range(count):
            self.inside.basic_publish("", "bench", BODY, self.durable)
        self.sent += count
        self.connection._flush_output(lambda: self.confirmed >= self.sent)

    def take(self, count: int) -> int:
        tag = at = 0
        for method, _, _ in self.channel.consume("bench", inactivity_timeout=EMPTY_S):
            if method is None:
                break
            tag, at = method.delivery_tag, at + 1
            if at == count:
                break
        if at:
            self.channel.basic_ack(tag, multiple=True)
        return at


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[tuple[Path, int]]:
    path = folder / "redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", folder, "--appendonly", "yes"]
    argv += ["--appendfsync", "always", "--save", "", "--logfile", folder / "redis.log"]
    process = subprocess.Popen(argv)
    try:
        until(path.exists, "redis listens", READY_S)
        yield path, process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def rabbit_server(folder: Path) -> Iterator[tuple[int, int]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    home = folder / "rabbit"
    home.mkdir()
    environ = {
        **os.environ,
        "HOME": str(home),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(port + 20_000 if port < 40_000 else port - 20_000),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }
    server = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    out = (home / "out").open("wb")
    process = subprocess.Popen([server], env=environ, stdout=out, stderr=out, start_new_session=True)
    try:
        until(lambda: _listens(port), "rabbitmq listens", 90)
        yield port, process.pid
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def sync_us(folder: Path) -> float:
    """The floor under every durable put: 200 bytes into a file that has room, and a sync."""
    file = os.open(folder / "floor", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(file, bytes(1 << 20))
    os.fsync(file)
    took = []
    for number in range(SYNCS):
        begun = time.perf_counter()
        os.pwrite(file, BODY * 2, number * 256)
        os.fdatasync(file)
        took.append((time.perf_counter() - begun) * 1e6)
    os.close(file)
    return statistics.median(took)


def spent_us(pid: int) -> float:
    """Processor time of a server and its children."""
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times) * 1e6


def alone_us(act: Callable[[], object], seconds: float) -> float:
    took = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        act()
        took.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(took)


def rate(act: Callable[[], int], seconds: float) -> float:
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < seconds:
        done = act()
        if not done:
            break
        count += done
    return count / (time.perf_counter() - begun)


def round_of(peer: Peer, seconds: float) -> dict[str, float]:
    """One round of all questions; it leaves the queue empty."""

    def many() -> int:
        peer.put_many(BATCH)
        return BATCH

    def cycle() -> None:
        peer.put()
        assert peer.take(1) == 1

    while peer.take(TAKEN):
        pass
    seen = {"cycle us": alone_us(cycle, seconds), "put us": alone_us(peer.put, seconds)}
    while peer.take(TAKEN):
        pass
    for what, act in (("put", many), ("take", lambda: peer.take(TAKEN))):
        before_us = spent_us(peer.server)
        began = time.perf_counter()
        seen[f"{what}s/s"] = rate(act, seconds)
        count = max(1.0, seen[f"{what}s/s"] * (time.perf_counter() - began))
        seen[f"{what} cpu us"] = (spent_us(peer.server) - before_us) / count
    while peer.take(TAKEN):
        pass
    return seen


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=2.0)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--without", nargs="*", default=[], choices=["three", "redis", "rabbit"])
    asked = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wos-bq-"))
    try:
        with contextlib.ExitStack() as stack:
            peers = _peers(stack, folder, asked.without)
            rows: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
            for _ in range(asked.rounds):  # in turns, so that what else the machine does falls on all
                for peer in peers:
                    rows[peer.name].append(round_of(peer, asked.seconds))
            _show(rows, sync_us(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _peers(stack: contextlib.ExitStack, folder: Path, without: list[str]) -> list[Peer]:
    peers: list[Peer] = []
    lone = stack.enter_context(running(new_home(folder / "lone")))
    peers.append(Ours("ours, 1 node", lone))
    if "three" not in without:
        site = stack.enter_context(running_site(folder, "a", "b", "c"))
        peers.append(Ours("ours, 3 nodes", site[0]))
        until(lambda: len(read_keepers(site[0].ask("work_look", what="keepers")).voters) == 3, "three keep it", 60)
    if "redis" not in without and shutil.which("redis-server"):
        peers.append(Redis(*stack.enter_context(redis_server(folder))))
    if "rabbit" not in without:
        try:
            peers.append(Rabbit(*stack.enter_context(rabbit_server(folder))))
        except (ImportError, FileNotFoundError, AssertionError) as why:
            print(f"without RabbitMQ: {why}", file=sys.stderr)
    return peers


def _show(rows: dict[str, list[dict[str, float]]], floor_us: float) -> None:
    medians = {
        name: {what: statistics.median(row[what] for row in seen) for what in seen[0]} for name, seen in rows.items()
    }
    whats = list(next(iter(medians.values())))
    print(f"{'':16}" + "".join(f"{what:>17}" for what in whats))
    first = medians["ours, 1 node"]
    for name, seen in medians.items():
        cells = [f"{seen[what]:,.0f} ({_ahead(what, first[what], seen[what]):.2f})" for what in whats]
        print(f"{name:16}" + "".join(f"{cell:>17}" for cell in cells))
    print(f"a sync of the disk: {floor_us:.0f} us; in brackets: how many times better than ours on 1 node")
    print(f"load: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _ahead(what: str, ours: float, theirs: float) -> float:
    return ours / theirs if what.endswith("us") else theirs / ours


if __name__ == "__main__":
    main()
