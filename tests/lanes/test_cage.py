"""Cages: what is inside is bounded, seen, stopped and cleared away, with each mechanism that this machine has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import alive, eventually

from worldos.lanes.cage import Bounds, Cages
from worldos.lanes.cage_roots import clear_leftovers, name_of_host


def mechanisms() -> list[str]:
    """Return what can be had on this machine."""
    best = Cages("probe-cage")
    best.close()
    return ["watch"] if best.kind == "watch" else ["watch", best.kind]


@pytest.fixture(params=mechanisms())
def cages(request: pytest.FixtureRequest) -> Iterator[Cages]:
    made = Cages(name_of_host(), kind=request.param)
    yield made
    made.close()
    assert not any(Path(folder).exists() for folder in made.folders)


def enter(entrances: list[str], command: list[str]) -> subprocess.Popen[bytes]:
    """Start a command in a cage."""
    script = "".join(f"echo 0 > {path}; " for path in entrances) + 'exec "$@"'
    return subprocess.Popen(["sh", "-c", script, "sh", *command], start_new_session=True)


def test_what_is_inside_is_seen_and_killed_with_all_it_started(cages: Cages) -> None:
    cage = cages.open("lease", Bounds(pids=20))
    process = enter(cage.entrances(), ["sh", "-c", "trap '' TERM; sleep 100 & sleep 100 & wait"])
    inside = eventually(lambda: (found := cage.pids([process.pid])) and len(found) == 3 and found)
    assert process.pid in inside
    assert not cage.remove(), "something is inside"
    cage.kill([process.pid])
    assert process.wait(15) == -signal.SIGKILL
    assert eventually(lambda: not any(alive(pid) for pid in inside))
    assert eventually(cage.remove)


def test_frozen_processes_stand_still_and_go_on(cages: Cages) -> None:
    cage = cages.open("lease", Bounds())
    process = enter(cage.entrances(), [sys.executable, "-c", "while True: pass"])

    def moves() -> bool:
        before = cage.cpu_ns([process.pid])
        time.sleep(0.15)
        return cage.cpu_ns([process.pid]) > before

    assert eventually(moves)
    cage.freeze([process.pid])
    assert eventually(lambda: not moves())
    cage.thaw([process.pid])
    assert eventually(moves)
    cage.kill([process.pid])
    process.wait(15)
    assert eventually(cage.remove)


def test_memory_is_counted_and_too_much_is_stopped(cages: Cages) -> None:
    cage = cages.open("lease", Bounds(memory_bytes=100_000_000))
    program = "import time\nx = []\nfor _ in range(60): x.append(b'x' * 5_000_000); time.sleep(0.02)\ntime.sleep(60)"
    process = enter(cage.entrances(), [sys.executable, "-c", program])
    most = 0
    while process.poll() is None:
        cage.enforce([process.pid])
        most = max(most, cage.memory_bytes(cage.pids([process.pid])))
        time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    assert cage.stopped_for_memory() == 1
    assert 50_000_000 < most < 150_000_000
    assert eventually(cage.remove)


def test_the_number_of_processes_is_bounded(cages: Cages) -> None:
    cage = cages.open("lease", Bounds(pids=10))
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 30 & done 2>/dev/null; wait"
    process = enter(cage.entrances(), ["sh", "-c", script])
    until = time.monotonic() + 1
    while time.monotonic() < until:
        cage.enforce([process.pid])
        time.sleep(0.02)
    assert len(cage.pids([process.pid])) <= 10
    cage.kill([process.pid])
    process.wait(15)
    assert eventually(cage.remove)


def test_the_watch_counts_files_in_memory_that_nobody_has_mapped() -> None:
    cages = Cages(name_of_host(), kind="watch")
    cage = cages.open("lease", Bounds(memory_bytes=100_000_000))
    take = "import os; fd = os.memfd_create('m'); [os.write(fd, bytes(10_000_000)) for _ in range(15)]; input()"
    with subprocess.Popen([sys.executable, "-c", take], stdin=subprocess.PIPE) as process:
        assert eventually(lambda: cage.memory_bytes([process.pid]) > 150_000_000)
        cage.enforce([process.pid])
        assert process.wait(15) == -signal.SIGKILL
    assert cage.stopped_for_memory() == 1
    cages.close()


def test_the_watch_knows_what_has_left_its_parents() -> None:
    cages = Cages(name_of_host(), kind="watch")
    cage = cages.open("lease", Bounds())
    process = enter([], ["sh", "-c", "sleep 100 & sleep 0.5"])
    inside = eventually(lambda: len(found := cage.pids([process.pid])) == 3 and found)
    process.wait(15)
    left = [pid for pid in inside if alive(pid)]
    assert len(left) == 1
    assert cage.pids([]) == left
    cage.kill([])
    assert eventually(lambda: not alive(left[0]))


def test_limits_are_named() -> None:
    assert "watch every 50 ms" in Cages("probe-w", kind="watch").describe()
    best = Cages("probe-b")
    assert best.kind in best.describe() or best.kind == "watch"
    best.close()


def test_the_next_start_clears_the_cages_of_a_host_that_was_killed_with_its_nursery() -> None:
    if mechanisms() == ["watch"]:
        pytest.skip("no cgroup can be made here")
    stale, mine = Cages(name_of_host()), Cages(name_of_host())
    sleeper = subprocess.Popen(["sleep", "300"])
    cage = stale.open("lease", Bounds(memory_bytes=100_000_000))
    for entrance in cage.entrances():
        Path(entrance).write_text(str(sleeper.pid))
    clear_leftovers()
    assert sleeper.poll() is None, "its host lives"
    while stale._locks:
        os.close(stale._locks.pop())  # as the kernel does when a host is killed
    clear_leftovers()
    assert sleeper.wait(15) == -signal.SIGKILL
    assert not any(Path(folder).exists() for folder in stale.folders)
    assert all(Path(folder).exists() for folder in mine.folders)
    mine.close()


def test_hosts_that_start_at_once_do_not_clear_each_other_away() -> None:
    made: list[Cages] = []

    def start() -> None:
        for _ in range(10):
            clear_leftovers()
            made.append(Cages(name_of_host()))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(Path(folder).exists() for cages in made for folder in cages.folders)
    assert len({cages.kind for cages in made}) == 1
    for cages in made:
        cages.close()
