"""How many jobs a second go into the line, each on the disks of a majority before it is acknowledged?

On one node and on three of which two must have it: one job after the other; many in flight, a job a request, as many programs
would; and a hundred jobs a request. Beside it a row for each job in SQLite (WAL, synchronous=FULL) on the same disk, one a
transaction and a hundred a transaction: no network, no second disk, no other process.

Guess on the back of an envelope: one alone is a sync of the disk and 400 us of Python's hands in two processes; three nodes add a
round trip of 150 us and a sync that goes on at the same time. In flight, a request costs the agent 80 us (frame, order, task,
answer) and the job 15 us (decoding, applying, encoding) and each follower 12 us: 10 000 a second on one node, 7 000 on three that
share two cores. A hundred a request: 30 us a job with the client: 30 000. SQLite: a sync and 10 us; 150 000 a second in hundreds.

    uv run python bench/bench_submit.py [--seconds 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.agents import RunningAgent, new_home, running, until  # noqa: E402
from tests.agent.sites import running_site  # noqa: E402

from bench.bench_queue import alone_us, rate, sync_us  # noqa: E402
from worldos.home import Home  # noqa: E402
from worldos.kernel.work.look import read_keepers  # noqa: E402
from worldos.kernel.work.words import decode_answers, encode_command  # noqa: E402
from worldos.model.ids import NodeId  # noqa: E402
from worldos.model.local import LOCAL_VERSION, Answer, Ask, Hello, ToClient  # noqa: E402
from worldos.model.need import Need  # noqa: E402
from worldos.model.work import Applied, Cancel, Forget, JobId, JobSpec, LineCommand, Submit, WorkCommand  # noqa: E402
from worldos.sdk.connection import LENGTH, cut  # noqa: E402

IN_FLIGHT, BATCH = 256, 100
TARGET = 5_000
SPEC = JobSpec(
    argv=("process", "--input", "frame-0001.png"), need=Need(kind="CPU", amount=10**9)
)  # nobody has that: it waits

_decode = msgspec.msgpack.Decoder(ToClient).decode


class Site:
    """One conversation with an agent, and jobs that nobody can run."""

    def __init__(self, name: str, home: Home, agents: list[RunningAgent]) -> None:
        self.name = name
        self.agents = [psutil.Process(agent.process.pid) for agent in agents]
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(home.socket_file))
        self.buffer = bytearray()
        self.number = 0
        self.jobs: list[JobId] = []
        self.say(Hello(version=LOCAL_VERSION, program="bench"))

    def say(self, message: Hello | Ask) -> None:
        body = msgspec.msgpack.encode(message)
        self.socket.sendall(LENGTH.pack(len(body)) + body)

    def send(self, *said: LineCommand) -> None:
        self.number += 1
        command = encode_command(WorkCommand(said=said))
        self.say(Ask(request=self.number, name="work", arguments={"command": command}))

    def hear(self) -> int:
        while (body := cut(self.buffer)) is None:
            self.buffer += self.socket.recv(1 << 18)
        message = _decode(body)
        assert isinstance(message, Answer), message
        answers = decode_answers(message.value)
        assert all(type(answer) is Applied for answer in answers), answers
        return len(answers)

    def job(self) -> Submit:
        job = JobId(f"b-{os.urandom(8).hex()}")
        self.jobs.append(job)
        return Submit(job=job, spec=SPEC, by=NodeId("bench"))

    def one(self) -> int:
        self.send(self.job())
        return self.hear()

    def many_in_flight(self) -> int:
        for _ in range(IN_FLIGHT):
            self.send(self.job())
        return sum(self.hear() for _ in range(IN_FLIGHT))

    def a_hundred_each(self) -> int:
        self.send(*(self.job() for _ in range(BATCH)))
        return self.hear()

    def spent_us(self) -> float:
        """Processor time that the busiest of the agents has taken."""
        return max(sum(agent.cpu_times()[:2]) for agent in self.agents) * 1e6

    def clear(self) -> None:
        """Let the line be empty again."""
        for at in range(0, len(self.jobs), BATCH):
            part = self.jobs[at : at + BATCH]
            self.send(*(Cancel(job=job) for job in part))
            self.send(*(Forget(job=job) for job in part))
            self.hear()
            self.hear()
        self.jobs = []


class Sqlite:
    """A row a job."""

    name = "sqlite FULL"

    def __init__(self, folder: Path) -> None:
        self.rows = sqlite3.connect(folder / "jobs.db", isolation_level=None)
        self.rows.execute("PRAGMA journal_mode=WAL")
        self.rows.execute("PRAGMA synchronous=FULL")
        self.rows.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, spec BLOB)")
        self.spec = msgspec.msgpack.encode(SPEC)

    def insert(self, count: int) -> int:
        self.rows.execute("BEGIN")
        self.rows.executemany(
            "INSERT INTO jobs VALUES (?, ?)", [(os.urandom(8).hex(), self.spec) for _ in range(count)]
        )
        self.rows.execute("COMMIT")
        return count

    def one(self) -> int:
        return self.insert(1)

    def many_in_flight(self) -> int:
        return self.insert(1)

    def a_hundred_each(self) -> int:
        return self.insert(BATCH)

    def spent_us(self) -> float:
        return time.process_time() * 1e6

    def clear(self) -> None:
        self.rows.execute("DELETE FROM jobs")


def questions(peer: Site | Sqlite, seconds: float) -> dict[str, float]:
    seen = {"one us": alone_us(peer.one, seconds)}
    peer.clear()
    for what, act in (("in flight", peer.many_in_flight), ("in hundreds", peer.a_hundred_each)):
        done, before_us = [0], peer.spent_us()

        def counted(act: Callable[[], int] = act, done: list[int] = done) -> int:
            done[0] += (count := act())
            return count

        seen[f"{what}/s"] = rate(counted, seconds)
        seen[f"{what} cpu us"] = (peer.spent_us() - before_us) / done[0]
        peer.clear()
    return seen


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=2.0)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--without", nargs="*", default=[], choices=["three"])
    asked = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wos-bs-"))
    try:
        with contextlib.ExitStack() as stack:
            lone = stack.enter_context(running(new_home(folder / "lone")))
            peers: list[Site | Sqlite] = [Site("1 node", lone.home, [lone])]
            if "three" not in asked.without:
                site = stack.enter_context(running_site(folder, "a", "b", "c"))
                peers.append(Site("3 nodes", site[0].home, site))
                peers[-1].one()
                keepers = lambda: read_keepers(site[0].ask("work_look", what="keepers"))  # noqa: E731
                until(lambda: len(keepers().voters) == 3, "three keep it", 60)
            peers.append(Sqlite(folder))
            rows: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
            for _ in range(asked.rounds):
                for peer in peers:
                    rows[peer.name].append(questions(peer, asked.seconds))
            floor_us = sync_us(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, seen in rows.items():
        medians = {what: statistics.median(row[what] for row in seen) for what in seen[0]}
        print(f"{name:12}" + "".join(f"{what:>19} {value:>6,.0f}" for what, value in medians.items()))
    print(
        f"a sync: {floor_us:.0f} us; to reach: {TARGET:,} jobs/s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
