"""What does it cost to keep a lease apart from the machine: at its start, at each call, in memory?

A lane host in this process, as the agent has it. In turns: a lease without a sandbox, a lease in one while a spare room is
ready, each from ``open_lease`` until the first call has returned, then closed. Beside them the floors of the same run:
``bwrap ... true`` with the same words as ours, and with as few as there can be; and a room that is made from nothing.

Guess on the back of an envelope: bubblewrap makes 7 namespaces and some 30 mounts, 5 to 8 ms. Python and what a worker needs take
60 to 90 ms of processor, so without a spare a lease costs that on top. With one it is what a plain lease is (a cage, a folder,
a fork: 8 to 15 ms), a look at /proc and two files more: 2 to 5 ms above it. A call goes through the same socket and the same
memory: nothing, but a filter of some 120 words, which the kernel remembers by number: below 1 % of a call of 50 us. A spare is
one Python with little of its own: 10 to 14 MB. To reach (issue 6): a start at most 30 ms above a plain one.

    uv run python bench/bench_sandbox.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "lanes")]

from harness import Here  # noqa: E402

from worldos.lanes import sandbox  # noqa: E402
from worldos.lanes.client import Door, Lane  # noqa: E402
from worldos.lanes.sandbox import Extra, Room  # noqa: E402
from worldos.model.isolation import Isolation  # noqa: E402

TARGET_MS = 30.0
PAUSE_S = 0.4  # in which the next spare is made
CALLS = 2000


def no_op() -> None:
    """Do nothing."""


def start_ms(here: Here, **spec: object) -> float:
    """From the order until the first call has returned."""
    begun = time.perf_counter()
    lease, doors = here.open(workers=1, **spec)
    with Lane([Door(path=doors[0].path)]) as lane:
        lane.submit(no_op).result(20)
        took = time.perf_counter() - begun
    here.do(here.host.close_lease(lease))
    return took * 1e3


def call_us(here: Here, **spec: object) -> float:
    """One call after the other: the median."""
    with here.lane(1, **spec) as lane:
        took = []
        for _ in range(CALLS):
            begun = time.perf_counter()
            lane.submit(no_op).result(20)
            took.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(took)


def floor_ms(words: list[str]) -> float:
    """Run one command to its end."""
    begun = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return (time.perf_counter() - begun) * 1e3


def ours(folder: Path) -> list[str]:
    """Our own words, over a folder that is furnished like a room's."""
    sandbox._furnish(folder, 0)
    return [*sandbox.command(folder, Extra(), is_root=False), "/bin/true"]


def spare() -> tuple[float, float]:
    """Return how long it takes to make a room, and what one keeps of memory while it waits, in ms and MB."""

    async def make() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            room = Room(Path(folder) / "room", Extra())
            await room.settle()
            took = time.perf_counter() - begun
            pss = psutil.Process(room.pid).memory_full_info().pss
            with contextlib.suppress(psutil.Error):
                pss += psutil.Process(room.process.pid).memory_full_info().pss
            room.end()
            room.process.wait()
        return took * 1e3, pss / 1e6

    return asyncio.run(make())


def main() -> None:
    """Ask in turns, print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    if not sandbox.bubblewrap():
        sys.exit("bubblewrap is not installed")
    apart = {"is_apart": True, "isolation": Isolation.SANDBOX}
    taken: dict[str, list[float]] = {}
    bare = [sandbox.bubblewrap(), "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"]
    bare += ["--symlink", "usr/lib64", "/lib64", "/usr/bin/true"]
    here = Here()
    try:
        start_ms(here)
        start_ms(here, **apart)
        with tempfile.TemporaryDirectory() as folder:
            words = ours(Path(folder) / "room")
            for _ in range(rounds):
                time.sleep(PAUSE_S)
                for name, took in (
                    ("bwrap, as little as can be, true", floor_ms(bare)),
                    ("bwrap, our words, true", floor_ms(words)),
                    ("lease, a process", start_ms(here)),
                    ("lease, sandbox, spare ready", start_ms(here, **apart)),
                ):
                    taken.setdefault(name, []).append(took)
        for _ in range(max(3, rounds // 4)):
            took, _memory = spare()
            taken.setdefault("a room, made from nothing", []).append(took)
        calls = [(call_us(here), call_us(here, **apart)) for _ in range(3)]
    finally:
        here.stop()
    print(f"{'ms, median of ' + str(rounds):40}{'median':>8}{'least':>8}{'most':>8}")
    for name, values in taken.items():
        print(f"{name:40}{statistics.median(values):8.1f}{min(values):8.1f}{max(values):8.1f}")
    above = [a - b for a, b in zip(taken["lease, sandbox, spare ready"], taken["lease, a process"], strict=True)]
    reached = "reached" if statistics.median(above) <= TARGET_MS else "MISSED"
    print(f"a sandbox above a process, pairs: {statistics.median(above):.1f} ms (to reach {TARGET_MS:.0f}: {reached})")
    plain, kept = statistics.median(p for p, _ in calls), statistics.median(k for _, k in calls)
    print(f"a call: {plain:.0f} us as a process, {kept:.0f} us in a sandbox: {kept / plain:.2f} x")
    print(f"a spare room waits with {spare()[1]:.1f} MB (PSS)")


if __name__ == "__main__":
    main()
