"""A council of real processes under kill, stop and cut: what its clients heard can be put in one order.

Each seat is a process on a host of its own, with its log on the disk; clients on another host ask all of them at once and write
down every answer (council_clients.py); then the history is judged (tests/lincheck.py). COUNCIL_SECONDS makes it longer,
COUNCIL_SEED another one.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.lab import Lab, Run, until
from tests.lincheck import NEVER_NS, Operation, culprit

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("COUNCIL_SECONDS", "4"))
SEED = int(os.environ.get("COUNCIL_SEED", "0"))
READY_S = 30.0
LONG_S = 600.0
CLIENTS, CLIENT_PROCESSES, KEYS = 4, 2, 3

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120 + 20 * SECONDS)]


class Seats:
    """The seats of a council, each on a host of the lab."""

    def __init__(self, lab: Lab, count: int, **more: Any) -> None:
        self.lab = lab
        self.more = more
        self.hosts = [f"s{number}" for number in range(count)]
        lab.site("council", "10.7.0", [*self.hosts, "clients"])
        self.doors = [f"{lab.host(host).address}:7001" for host in self.hosts]
        self.runs = [self.start(number) for number in range(count)]
        for run in self.runs:
            run.expect("^up$", READY_S)

    def start(self, number: int) -> Run:
        host = self.hosts[number]
        choices = {
            "me": number,
            "seats": [f"{self.lab.host(each).address}:7000" for each in self.hosts],
            "clients": self.doors[number],
            "folder": str(self.lab.folder / f"log-{host}"),
            **self.more,
        }
        return self.lab.run(host, [sys.executable, "-m", "bench.council_process", json.dumps(choices)], cwd=ROOT)

    def change(self, steps: str) -> None:
        """Have seats added, promoted or removed, in these steps."""
        argv = [sys.executable, "-m", "bench.council_client", json.dumps(self.doors), *steps.split()]
        run = self.lab.run("clients", argv, cwd=ROOT)
        assert run.wait(READY_S) == 0, run.said()

    def kill(self, number: int) -> None:
        self.runs[number].signal(signal.SIGKILL)
        self.runs[number].process.wait()

    def restart(self, number: int) -> None:
        self.runs[number] = self.start(number)

    def leader(self) -> int:
        """Return which seat said last, by its term, that it leads."""
        terms = [max(map(int, re.findall(r"^leads (\d+)$", run.text(), re.MULTILINE)), default=0) for run in self.runs]
        return terms.index(max(terms))

    def clients(self, seconds: float, seed: int) -> list[tuple[Run, Path]]:
        started = []
        for name in range(CLIENT_PROCESSES):
            out = self.lab.folder / f"history-{seed}-{name}.jsonl"
            choices = {
                "doors": self.doors,
                "clients": CLIENTS,
                "keys": KEYS,
                "seconds": seconds,
                "seed": seed,
                "name": seed * CLIENT_PROCESSES + name,
                "out": str(out),
            }
            argv = [sys.executable, "-m", "tests.e2e.council_clients", json.dumps(choices)]
            started.append((self.lab.run("clients", argv, cwd=ROOT), out))
        return started


def history_of(files: list[Path]) -> list[Operation]:
    found = []
    for file in files:
        whole, _, _ = (file.read_text() if file.exists() else "").rpartition("\n")  # the last line may be half written
        for line in whole.splitlines():
            client, key, kind, value, asked_ns, answered_ns, expect, good = json.loads(line)
            answered_ns = answered_ns or NEVER_NS
            found.append(
                Operation(client, key, kind, value, asked_ns, answered_ns, expect=expect, good=good),
            )
    return found


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def trouble(seats: Seats, dice: random.Random) -> None:
    """Hurt one seat, more often than not the leader, wait, and heal it."""
    victim = seats.leader() if dice.random() < 0.6 else dice.randrange(len(seats.runs))
    for_s = 0.2 + 1.3 * dice.random()
    what = dice.choice(["kill", "stop", "cut", "cut between"])
    if what == "kill":
        seats.kill(victim)
        time.sleep(for_s / 3)
        seats.restart(victim)
        seats.runs[victim].expect("^up$", READY_S)
    elif what == "stop":
        seats.runs[victim].signal(signal.SIGSTOP)
        time.sleep(for_s)
        seats.runs[victim].signal(signal.SIGCONT)
    elif what == "cut":
        seats.lab.cut(seats.hosts[victim])
        time.sleep(for_s)
        seats.lab.heal()
    else:
        other = (victim + 1 + dice.randrange(len(seats.runs) - 1)) % len(seats.runs)
        seats.lab.cut_between(seats.hosts[victim], seats.hosts[other])
        time.sleep(for_s)
        seats.lab.heal()
    time.sleep(0.3 * dice.random())


def recorded(seats: Seats, seed: int, seconds: float) -> list[Operation]:
    """Let clients ask while seats are hurt; return what they heard. When all is well again, they must be able to write."""
    dice = random.Random(seed)
    clients = seats.clients(LONG_S, seed)
    files = [out for _, out in clients]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        trouble(seats, dice)
    calm_ns = time.monotonic_ns()
    until(lambda: has_write_after(calm_ns, files), READY_S, "somebody writes again")
    time.sleep(0.5)
    end_clients(clients)
    return history_of(files)


def has_write_after(moment_ns: int, files: list[Path]) -> bool:
    return any(
        one.kind == "put" and one.asked_ns > moment_ns and one.answered_ns != NEVER_NS for one in history_of(files)
    )


def end_clients(clients: list[tuple[Run, Path]]) -> None:
    for run, _ in clients:
        run.signal(signal.SIGTERM)
    for run, _ in clients:
        assert run.wait(READY_S) == 0, run.said()


def judged(history: list[Operation]) -> None:
    done = [one for one in history if one.answered_ns != NEVER_NS]
    print(f"{len(done)} answered, {len(history) - len(done)} open")
    assert len(done) > 20 * SECONDS
    assert {one.kind for one in done} == {"get", "put", "cas"}
    assert culprit(history) == ""


@pytest.mark.parametrize("count", [3, 5])
def test_what_clients_hear_under_kill_stop_and_cut_has_one_order(lab: Lab, count: int) -> None:
    seats = Seats(lab, count)
    judged(recorded(seats, SEED + count, SECONDS))


def test_a_seat_that_answers_reads_from_memory_is_caught(lab: Lab) -> None:
    """A planted bug: reads are not confirmed by a majority. A seat that was cut off then tells what was."""
    seats = Seats(lab, 3, bug="local reads")
    clients = seats.clients(LONG_S, seed=1)
    files = [out for _, out in clients]
    until(lambda: has_write_after(0, files), READY_S, "somebody writes")
    for number in (0, 1, 2):
        time.sleep(0.3)
        seats.lab.cut_between(seats.hosts[number], seats.hosts[(number + 1) % 3])
        seats.lab.cut_between(seats.hosts[number], seats.hosts[(number + 2) % 3])
        time.sleep(0.7)
        seats.lab.heal()
    end_clients(clients)
    assert culprit(history_of(files)) != ""


def test_a_council_whose_seats_were_all_killed_goes_on_where_it_was(lab: Lab) -> None:
    seats = Seats(lab, 3)
    clients = seats.clients(LONG_S, seed=1)
    files = [out for _, out in clients]
    until(lambda: has_write_after(0, files), READY_S, "somebody writes")
    time.sleep(0.5)
    for number in (0, 1, 2):
        seats.kill(number)
    for number in (1, 2):
        seats.restart(number)
    killed_ns = time.monotonic_ns()
    until(lambda: has_write_after(killed_ns, files), READY_S, "somebody writes again")
    time.sleep(0.3)
    end_clients(clients)
    judged(history_of(files))


@pytest.mark.parametrize("how", ["rot", "old backup"])
def test_a_seat_whose_log_is_damaged_is_mended_by_the_others_before_it_counts(lab: Lab, how: str) -> None:
    seats = Seats(lab, 3)
    log = lab.folder / "log-s1" / "log"
    backup = lab.folder / "backup"
    shutil.copytree(log, backup)
    clients = seats.clients(LONG_S, seed=3)
    files = [out for _, out in clients]
    until(lambda: has_write_after(0, files), READY_S, "somebody writes")
    time.sleep(0.3)
    seats.kill(1)
    if how == "rot":
        (file,) = log.glob("*.wal")
        data = bytearray(file.read_bytes())
        data[len(data.rstrip(b"\0")) // 2] ^= 4
        file.write_bytes(data)
    else:
        shutil.rmtree(log)
        shutil.copytree(backup, log)
    seats.restart(1)
    seats.runs[1].expect("^damaged: ", READY_S)
    seats.runs[1].expect("^mended$", READY_S)
    seats.kill(0)  # from here on the mended one is half of the majority
    killed_ns = time.monotonic_ns()
    until(lambda: has_write_after(killed_ns, files), READY_S, "somebody writes again")
    end_clients(clients)
    seats.kill(1)
    seats.restart(1)
    seats.runs[1].expect("^up$", READY_S)
    assert "damaged" not in seats.runs[1].text()
    judged(history_of(files))


def test_every_seat_of_a_council_is_replaced_under_load(lab: Lab) -> None:
    """Learners get a snapshot, are promoted, and the founders go, the leader among them."""
    seats = Seats(lab, 6, founders=3, compact=100)
    clients = seats.clients(LONG_S, seed=4)
    files = [out for _, out in clients]
    until(lambda: has_write_after(0, files), READY_S, "somebody writes")
    seats.change("add 3 promote 3 remove 0 add 4 promote 4 remove 1 add 5 promote 5 remove 2")
    for old in range(3):
        seats.kill(old)
    alone_ns = time.monotonic_ns()
    until(lambda: has_write_after(alone_ns, files), READY_S, "the new ones write")
    end_clients(clients)
    judged(history_of(files))
