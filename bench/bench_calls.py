"""What does a call cost on one machine, and where does the time go: us, the pool of Python, loky, and the floor.

Guess before measuring: the floor, two Python processes on a Unix socket that send 50 bytes to and fro, is 15 to 45 us (two
wake-ups). A call adds a pickle, a frame and a future at each side, some 15 us of Python: 40 to 80 us. In batches nobody is
woken, and about 15 us remain for each call over holder and worker: 60 000 calls/s on two cores.
100 MB in and back is one copy each way when the function makes a new array: 2 x 9 ms at 11 GB/s.

Each system has two workers, runs alone, and is measured in turns, so that a neighbour's load falls on all of them; medians
of the turns. Lanes are taken without agent and lease: what those add is in ``bench_use.py``; other systems in
``bench_peers.py``. ``measured(submit)`` is for others to use.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "lanes"))

from harness import Here

TURNS = 5
ROUND_TRIPS = 500
CALLS = 10_000
ARRAY_BYTES = 100_000_000
Submit = Callable[..., Any]
ROWS = {  # name: (what it says, how it is printed, whether more is better)
    "round_trip_us": ("no-op round trip, us", "{:.0f}", False),
    "round_trip_p99_us": ("the same, 99th percentile, us", "{:.0f}", False),
    "calls_per_s": ("10 000 no-op calls, 2 workers, /s", "{:.0f}", True),
    "array_mb_per_s": ("100 MB array there and back, total MB/s", "{:.0f}", True),
    "changed_mb_per_s": ("100 MB there, a new array back, total MB/s", "{:.0f}", True),
    "efficiency": ("200 x 20 ms on 2 workers, efficiency", "{:.2f}", True),
    "lost_ms": ("killed worker: its call running elsewhere, ms", "{:.1f}", False),
}


def nothing(_item: Any = None) -> None:
    """Do nothing."""


def same(value: Any) -> Any:
    return value


def doubled(value: Any) -> Any:
    np.multiply(value, 2, out=_scratch(value))
    return _scratch(value)


def _scratch(value: Any, kept: list[Any] = []) -> Any:  # noqa: B006 - warm memory: fresh pages would be the benchmark
    if not kept:
        kept.append(np.empty_like(value))
    return kept[0]


def busy() -> None:
    time.sleep(0.02)


def hang_once(path: str) -> int:
    """Note when and where this runs; hang at the first time."""
    with open(path, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()} {time.monotonic_ns()}\n")
    if len(Path(path).read_text("ascii").splitlines()) == 1:
        time.sleep(60)
    return os.getpid()


def round_trips(submit: Submit, count: int = ROUND_TRIPS) -> dict[str, float]:
    """One no-op call after the other."""
    taken = []
    for _ in range(count):
        start = time.perf_counter_ns()
        submit(nothing).result()
        taken.append((time.perf_counter_ns() - start) / 1e3)
    return {"round_trip_us": statistics.median(taken), "round_trip_p99_us": statistics.quantiles(taken, n=100)[98]}


def throughput(submit: Submit, count: int = CALLS) -> dict[str, float]:
    """Many no-op calls at once."""
    start = time.perf_counter()
    for future in [submit(nothing) for _ in range(count)]:
        future.result()
    return {"calls_per_s": count / (time.perf_counter() - start)}


def arrays(submit: Submit) -> dict[str, float]:
    """A large array there and back."""
    array = np.arange(ARRAY_BYTES // 8, dtype=np.float64)
    rates = {}
    for name, function in (("array_mb_per_s", same), ("changed_mb_per_s", doubled)):
        taken = []
        for _ in range(4):
            start = time.perf_counter()
            back = submit(function, array).result()
            taken.append(time.perf_counter() - start)
            assert back[7] == array[7] * (2 if function is doubled else 1)
            del back
        rates[name] = 2 * ARRAY_BYTES / 1e6 / min(taken)
    return rates


def efficiency(submit: Submit) -> dict[str, float]:
    """Share of the time in which both workers worked."""
    start = time.perf_counter()
    for future in [submit(busy) for _ in range(200)]:
        future.result()
    return {"efficiency": 200 * 0.02 / 2 / (time.perf_counter() - start)}


def measured(submit: Submit, *, large: bool = True) -> dict[str, float]:
    """Ask one system everything that can be asked through ``submit(function, *args) -> future``."""
    return round_trips(submit) | throughput(submit) | (arrays(submit) if large else {})


def lost_ms(submit: Submit, folder: Path) -> float:
    """Kill the worker under a call; return how long until the call runs in another process."""
    notes = folder / f"notes-{time.monotonic_ns()}"
    future = submit(hang_once, str(notes))
    concurrent.futures.wait([future], timeout=0.2)
    pid = int(notes.read_text("ascii").split()[0])
    killed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    assert future.result(20) != pid
    return (int(notes.read_text("ascii").split()[3]) - killed_ns) / 1e6


def losses() -> list[float]:
    """Lose workers of a lane of their own: one that has used much memory takes its time to end."""
    here = Here()
    with here.lane(2) as lane, tempfile.TemporaryDirectory() as folder:
        found = [lost_ms(lane.submit, Path(folder)) for _ in range(TURNS)]
    here.stop()
    return found


def floor() -> dict[str, float]:
    """Two processes, one Unix socket, nothing else: 50 bytes to and fro, and 64 at a time."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        while data := theirs.recv(1 << 16):
            theirs.sendall(data)
        os._exit(0)
    theirs.close()
    taken = []
    for _ in range(2000):
        start = time.perf_counter_ns()
        ours.send(b"x" * 50)
        ours.recv(4096)
        taken.append((time.perf_counter_ns() - start) / 1e3)
    ours.close()
    os.waitpid(pid, 0)
    return {"round_trip_us": statistics.median(taken), "round_trip_p99_us": statistics.quantiles(taken, n=100)[98]}


@contextlib.contextmanager
def systems() -> Iterator[dict[str, Submit]]:
    """Start all systems; what is idle costs nothing."""
    here = Here()
    lane = here.lane(2)
    with contextlib.ExitStack() as stack:
        stack.callback(here.stop)
        stack.enter_context(lane)
        found: dict[str, Submit] = {"lane": lane.submit}
        found["ProcessPool"] = stack.enter_context(concurrent.futures.ProcessPoolExecutor(2)).submit
        with contextlib.suppress(ImportError):
            import loky

            found["loky"] = stack.enter_context(loky.ProcessPoolExecutor(2)).submit
        yield found


def main() -> None:
    turns: dict[str, list[dict[str, float]]] = {}
    with systems() as found:
        for submit in found.values():
            [future.result() for future in [submit(nothing) for _ in range(200)]]
        for turn in range(TURNS):
            turns.setdefault("floor", []).append(floor())
            for name, submit in found.items():
                answers = measured(submit, large=turn == 0 or name == "lane")
                if turn == 0:
                    answers |= efficiency(submit)
                turns.setdefault(name, []).append(answers)
        turns["lane"].extend({"lost_ms": ms} for ms in losses())
    medians = {
        name: {
            key: statistics.median([a[key] for a in answers if key in a])
            for key in ROWS
            if any(key in a for a in answers)
        }
        for name, answers in turns.items()
    }
    names = list(medians)
    print(f"{'':48}" + "".join(f"{name:>14}" for name in names) + f"{'lane : pool':>14}")
    for key, (says, form, _more) in ROWS.items():
        cells = [form.format(medians[name][key]) if key in medians[name] else "" for name in names]
        ratio = medians["lane"][key] / medians["ProcessPool"][key] if key in medians["ProcessPool"] else None
        print(f"{says:48}" + "".join(f"{cell:>14}" for cell in cells) + (f"{ratio:>14.2f}" if ratio else ""))


if __name__ == "__main__":
    main()
