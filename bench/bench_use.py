"""From use() to a granted lease, and from a cold program to its first result.

How long does a program wait before it can work?

Guess on the back of an envelope: warm, a use is two messages over a Unix socket between two Python processes (45 us each way
with wake-ups, FINDINGS) and one choice among few offers: 0.2 to 0.4 ms. A worker is a fork of a process that has all code
loaded: some 5 ms until it answers. Cold, two interpreters start (20 ms each), import msgspec, cloudpickle and asyncio
(some 150 ms for the agent, of which most runs beside the program's own imports), and a nursery forks one worker: 0.3 s.

Every cold start is a process of its own with a home without an agent; byte code is compiled beforehand, as it is after the
first run of any installed package (the environment here may forbid it: ``PYTHONDONTWRITEBYTECODE``).

    uv run python bench/bench_use.py [--rounds 200] [--cold 7] [--near NODE]

``--near``: measure leases on another node too, with the agent of ``$WORLDOS_HOME``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

COLD = """
import time
started = time.clock_gettime(time.CLOCK_MONOTONIC)
from worldos import use
imported = time.clock_gettime(time.CLOCK_MONOTONIC)
with use("CPU") as cpu:
    granted = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert cpu.submit(pow, 2, 3).result() == 8
    print(started, imported, granted, time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--cold", type=int, default=7)
    options.add_argument("--near", default="")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="wos-bench-") as folder:
        cold_starts(asked.cold, folder)
        if not asked.near:
            os.environ["WORLDOS_HOME"] = f"{folder}/home"
        warm(asked.rounds, asked.near)


def cold_starts(rounds: int, folder: str) -> None:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/pyc", "WORLDOS_HOME": f"{folder}/none"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(text: str) -> tuple[float, str]:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", text], env=environment, cwd=folder, check=True, capture_output=True, text=True
        )
        return begun, done.stdout

    run(COLD)  # compiles
    bare = [timed(lambda: run("pass")) for _ in range(rounds)]
    imports = [timed(lambda: run("import worldos")) for _ in range(rounds)]
    parts = []
    for _ in range(rounds):
        begun, said = run(COLD)
        started, imported, granted, first = map(float, said.split())
        parts.append((started - begun, imported - started, granted - imported, first - granted, first - begun))
    show("import worldos, without Python's own start", [i - b for i, b in zip(imports, bare, strict=True)], 0.150)
    for name, column in zip(
        (
            "cold: Python starts",
            "cold: from worldos import use",
            "cold: use() until granted",
            "cold: until first result",
        ),
        zip(*parts, strict=True),
        strict=False,
    ):
        show(name, list(column))
    show("cold program until its first result", [part[-1] for part in parts], 0.5)


def warm(rounds: int, near: str) -> None:
    from worldos import use
    from worldos.sdk import connection

    def lease(**words: Any) -> Callable[[], float]:
        def once() -> float:
            begun = time.perf_counter()
            cpu = use("CPU", 1, **words)
            took = time.perf_counter() - begun
            cpu.close()
            time.sleep(0.02)  # the lease before is being cleaned up: that is not what is asked here
            return took

        return once

    def first_result(**words: Any) -> Callable[[], float]:
        def once() -> float:
            begun = time.perf_counter()
            with use("CPU", 1, **words) as cpu:
                cpu.submit(pow, 2, 3).result()
                took = time.perf_counter() - begun
            time.sleep(0.02)
            return took

        return once

    lease()()
    show("warm: use() until granted, this node", [lease()() for _ in range(rounds)], 0.001)
    show("warm: use() until first result, new worker", [first_result()() for _ in range(rounds // 4)])
    if near:
        show(f"warm: use() until granted, {near}", [lease(near=near)() for _ in range(rounds)], 0.003)
        show(f"warm: use() until first result, {near}", [first_result(near=near)() for _ in range(rounds // 4)])
    connection.close()


def timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def show(what: str, seconds: list[float], goal_s: float | None = None) -> None:
    ordered = sorted(seconds)
    goal = f"   goal {goal_s * 1e3:g} ms" if goal_s is not None else ""
    print(
        f"{what:<46} median {statistics.median(ordered) * 1e3:8.2f} ms   "
        f"best {ordered[0] * 1e3:8.2f}   p95 {ordered[int(len(ordered) * 0.95) - 1] * 1e3:8.2f}{goal}",
        flush=True,
    )


if __name__ == "__main__":
    main()
