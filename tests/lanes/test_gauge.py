"""What a gauge sees of calls: their own peaks of memory, and what they wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from harness import Here

from worldos.kernel.profile import Profile, Profiles
from worldos.lanes.gauge import MARK_NS, TIMED_NS, Gauge
from worldos.lanes.wire import Measured

MB = 1 << 20


def measured(gauge: Gauge, work: Callable[[], object]) -> Measured:
    began_ns = time.perf_counter_ns()
    gauge.begin(began_ns + MARK_NS + 1)
    work()
    gauge.end(1, time.perf_counter_ns() - began_ns, time.perf_counter_ns())
    (one,) = gauge.taken()
    return one


def take(megabytes: int) -> int:
    return len(bytearray(b"x") * (megabytes * MB))


def test_each_call_is_told_its_own_peak_and_not_that_of_one_before_it() -> None:
    gauge = Gauge()
    large, small = measured(gauge, lambda: take(80)), measured(gauge, lambda: take(8))
    assert 78 * MB < large.memory_bytes < 120 * MB
    assert small.memory_bytes < 50 * MB
    assert gauge.taken() == []


def test_what_was_written_and_how_long_the_processor_worked_is_told(tmp_path: Path) -> None:
    def write() -> None:
        with (tmp_path / "file").open("wb") as file:
            file.write(b"x" * MB)
            file.flush()
            os.fsync(file.fileno())

    gauge = Gauge()
    wrote, waited = measured(gauge, write), measured(gauge, lambda: time.sleep(0.02))
    assert wrote.written_bytes in {0, *range(MB - 4096, 2 * MB)}, "a file system in memory counts nothing"
    assert waited.written_bytes < MB // 2
    assert waited.wall_us >= 20_000 > 10_000 > waited.cpu_us


def test_a_holder_learns_what_its_functions_take(here: Here) -> None:
    profiles = Profiles()
    lane = here.lane(1, lane={"profiles": profiles})
    try:
        for megabytes in (30, 60, 60):
            assert lane.submit(take, megabytes).result(60) == megabytes * MB
        assert lane.submit(time.sleep, TIMED_NS / 1e9 * 20).result(60) is None
    finally:
        lane.shutdown()
    known = {profile.name: profile for profile in profiles.functions.values()}
    assert 55 * MB < known["take"].memory.value < 120 * MB
    slept: Profile = known["sleep"]
    assert slept.memory.value < 50 * MB
    assert slept.cpu_us.mean < slept.wall_us.mean
