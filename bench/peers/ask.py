"""Ask one peer one set of questions in a process of its own, and print the answers as one line of JSON.

``python -m bench.peers.ask PEER cold FOLDER``  until the first result of a program that has just been started
``python -m bench.peers.ask PEER warm FOLDER``  everything else
Times are of CLOCK_MONOTONIC, which all processes of one machine share. PSS counts a shared page in equal parts.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers.functions import attempt, nothing

if TYPE_CHECKING:
    import psutil

MARK = "WORLDOS_BENCH_MARK"  # in the environment of everything that a peer starts, so that all of it is found again
CALLS = 10_000
CALLS_FEW, SLOW_CALLS_PER_S = 2_000, 1_500
ROUND_TRIPS_MAX = 2_000
SPENT_MAX_S = 5.0  # on the repetitions of one question
ARRAY_BYTES = 100_000_000
SETTLE_S, IDLE_S = 2.0, 5.0


def marked(mark: str) -> list[psutil.Process]:
    """Find every process that carries this mark, and their children: some write their title over their environment."""
    import psutil

    children = collections.defaultdict(list)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            children[process.ppid()].append(process)
            if process.environ().get(MARK) == mark:
                found.append(process)
    for process in found:
        found += [child for child in children[process.pid] if child not in found]
    return found


def round_trips(peer: Any) -> dict[str, float]:
    """One no-op call after the other: median and 99th percentile, in microseconds."""
    for _ in range(20):
        peer.submit(nothing).result()
    taken = []
    end = time.monotonic() + SPENT_MAX_S
    while len(taken) < ROUND_TRIPS_MAX and time.monotonic() < end:
        start = time.perf_counter_ns()
        peer.submit(nothing).result()
        taken.append((time.perf_counter_ns() - start) / 1e3)
    return {"round_trip_us": statistics.median(taken), "round_trip_p99_us": statistics.quantiles(taken, n=100)[98]}


def throughput(peer: Any) -> dict[str, float]:
    """Many no-op calls at once: calls a second, median of up to three runs. A slow peer is asked for fewer."""
    start = time.perf_counter()
    peer.map(nothing, range(CALLS_FEW // 4))
    slow = time.perf_counter() - start > CALLS_FEW / 4 / SLOW_CALLS_PER_S
    calls = CALLS_FEW if slow else CALLS
    rates: list[float] = []
    end = time.monotonic() + SPENT_MAX_S
    while len(rates) < 3 and (not rates or time.monotonic() < end):
        start = time.perf_counter()
        peer.map(nothing, range(calls))
        rates.append(calls / (time.perf_counter() - start))
    return {"calls_per_s": statistics.median(rates)}


def array(peer: Any) -> dict[str, float]:
    """Send 100 MB of float64 there and back: MB of the array per second of the whole trip, median of up to five."""
    import numpy

    sent = numpy.arange(ARRAY_BYTES // 8, dtype=numpy.float64)
    rates = []
    end = time.monotonic() + SPENT_MAX_S
    while len(rates) < 6 and (len(rates) < 2 or time.monotonic() < end):
        start = time.perf_counter()
        back = peer.there_and_back(sent)
        rates.append(ARRAY_BYTES / 1e6 / (time.perf_counter() - start))
        assert back.nbytes == sent.nbytes
        assert back[-1] == sent[-1]
        del back
    return {"array_mb_per_s": statistics.median(rates[1:])}


def idle(_peer: Any) -> dict[str, float]:
    """Memory and processor of everything the peer keeps running, this program itself not counted."""
    time.sleep(SETTLE_S)
    others = [process for process in marked(os.environ[MARK]) if process.pid != os.getpid()]
    before = {process: sum(process.cpu_times()[:2]) for process in others}
    start = time.monotonic()
    time.sleep(IDLE_S)
    alive = [process for process in others if process.is_running()]
    spent = sum(sum(process.cpu_times()[:2]) - before[process] for process in alive)
    return {
        "idle_pss_mb": sum(process.memory_full_info().pss for process in alive) / 1e6,
        "idle_cpu_percent": 100 * spent / (time.monotonic() - start),
        "idle_processes": len(alive),
    }


def lost_worker(peer: Any, folder: Path) -> dict[str, float]:
    """Kill the worker under a call: milliseconds until the call runs in another one, median of three if that is quick."""
    taken = []
    while len(taken) < 3 and sum(taken) < SPENT_MAX_S * 1e3:
        notes = folder / f"attempts-{len(taken)}"
        answer = peer.submit(attempt, str(notes))
        while not (notes.exists() and notes.read_text().endswith("\n")):
            time.sleep(0.002)
        killed_ns = time.monotonic_ns()
        os.kill(int(notes.read_text().split()[0]), signal.SIGKILL)
        assert answer.result() == 2
        taken.append((int(notes.read_text().splitlines()[1].split()[1]) - killed_ns) / 1e6)
    return {"lost_worker_ms": statistics.median(taken)}


def main() -> None:
    name, question, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    adapter = importlib.import_module(f"bench.peers.{name}_peer")
    with adapter.opened(folder) as peer:
        peer.submit(nothing).result()
        answers: dict[str, float] = {"first_result_ns": time.monotonic_ns()}
        if question == "warm":
            for ask in (round_trips, idle, throughput, array):
                answers |= ask(peer)
            answers |= lost_worker(peer, folder)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
