"""Throw millions of inputs at every decoder that faces a stranger, and say what came of it.

    .venv/bin/python -m tests.fuzz.fuzz [--inputs 10000000] [--target NAME ...] [--seed 1]

Printed for each target: inputs a second, the slowest input (its best of ten tries, in processor time: a machine with other work
to do is no find), crashes and accepts; and the bytes of every find, so that a test can be made of it. It ends with 1 if there
was one. A target that does more than decode is ``slow``: no time is demanded of it. The nightly size is ten million; the same
targets run a little with Hypothesis in each `make test` (`test_targets.py`), and guided by coverage with `guided.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice

from tests.fuzz.mutation import mutants
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SLOW_MS = 1.0
TRIES = 10
SUSPECTS_MAX = 20
FINDS_MAX = 5
SLOW_PART = 5  # of the inputs for a target that does more than decode


class Tally:
    """What came of one target's inputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs = 0
        self.took_s = 0.0
        self.crashes = 0
        self.accepts = 0
        self.finds: list[str] = []
        self.suspects: list[tuple[float, bytes]] = []
        self.slowest_ms = 0.0

    def found(self, error: BaseException, data: bytes) -> None:
        """Note a find, with what is needed to make it again."""
        if isinstance(error, AssertionError):
            self.accepts += 1
        else:
            self.crashes += 1
        if len(self.finds) < FINDS_MAX:
            self.finds.append(f"{self.name}: {type(error).__name__}: {str(error)[:200]}\n  {data.hex()}")

    def line(self) -> str:
        rate = self.inputs / self.took_s if self.took_s else 0
        return f"{self.name:16}{self.inputs:12,}{rate:12,.0f}{self.slowest_ms:10.2f}{self.crashes:9}{self.accepts:9}"


def throw(tally: Tally, target: Target, inputs: Iterator[bytes]) -> None:
    """Run a target over inputs, and look again at those that took long."""
    clock = time.perf_counter_ns
    begun = clock()
    for data in inputs:
        tally.inputs += 1
        start = clock()
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001 whatever it is, it is what we look for
            tally.found(error, data)
        took_ms = (clock() - start) / 1e6
        if took_ms > tally.slowest_ms:
            tally.slowest_ms = took_ms
        if took_ms > SLOW_MS:
            tally.suspects.append((took_ms, data))
            if len(tally.suspects) > 4 * SUSPECTS_MAX:
                del tally.suspects[: -2 * SUSPECTS_MAX]
    tally.took_s = (clock() - begun) / 1e9
    tally.suspects.sort(reverse=True)
    if tally.suspects:
        tally.slowest_ms = max(best_ms(target, data) for _, data in tally.suspects[:SUSPECTS_MAX])


def best_ms(target: Target, data: bytes) -> float:
    """Return the processor time that an input needs: the best of some tries."""
    tries = []
    for _ in range(TRIES):
        begun = time.thread_time_ns()
        with contextlib.suppress(Exception):  # it was counted before
            target.run(data)
        tries.append(time.thread_time_ns() - begun)
    return min(tries) / 1e6


def main() -> int:
    """Share the inputs among the targets; print a table, and every find."""
    parser = argparse.ArgumentParser(description="Throw bytes at every decoder that faces a stranger.")
    parser.add_argument("--inputs", type=int, default=10_000_000, help="of all targets together")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=1)
    choices = parser.parse_args()
    wanted = {name: TARGETS[name] for name in choices.target or TARGETS}
    shares = sum(1.0 / SLOW_PART if target.slow else 1.0 for target in wanted.values())
    print(f"{'target':16}{'inputs':>12}{'a second':>12}{'slowest ms':>10}{'crashes':>9}{'accepts':>9}", flush=True)
    tallies, late = [], []
    for name, target in wanted.items():
        count = int(choices.inputs / shares / (SLOW_PART if target.slow else 1)) + 1
        tally = Tally(name)
        throw(tally, target, islice(mutants(target.seeds, random.Random(f"{choices.seed}/{name}")), count))
        tallies.append(tally)
        if tally.slowest_ms > SLOW_MS and not target.slow:
            late.append(name)
        print(tally.line(), flush=True)
    total, crashes = sum(each.inputs for each in tallies), sum(each.crashes for each in tallies)
    accepts, took_s = sum(each.accepts for each in tallies), sum(each.took_s for each in tallies)
    print(f"\n{total:,} inputs, {total / took_s:,.0f} a second, {crashes} crashes, {accepts} accepts")
    if late:
        print(f"over {SLOW_MS:g} ms of processor time: {', '.join(late)}")
    for tally in tallies:
        print(*tally.finds, sep="\n", end="\n" if tally.finds else "")
    return 1 if crashes or accepts else 0


if __name__ == "__main__":
    sys.exit(main())
