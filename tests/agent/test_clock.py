"""The steady clock: never back, and the one of Linux that counts sleep (the simulator shows what happens with the other)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest

from worldos.agent import clock


def test_a_timer_waits_whole_milliseconds_and_never_too_few() -> None:
    due_ns = clock.now_ns() + 7_300_000
    delay_s = clock.delay_s(due_ns)
    assert delay_s * 1000 == round(delay_s * 1000)
    assert due_ns - clock.now_ns() <= delay_s * 1e9 <= 8_000_000
    assert clock.delay_s(due_ns - 10**9) == 0
    assert clock.delay_s(1 << 62) > 1e9, "a deadline that does not come"


def test_it_never_goes_back() -> None:
    moments = [clock.now_ns() for _ in range(10_000)]
    assert moments == sorted(moments)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux tells its clocks apart like this")
def test_on_linux_it_is_the_clock_that_goes_on_in_sleep() -> None:
    assert clock.CLOCK == time.CLOCK_BOOTTIME


def test_it_follows_the_time_that_was_slept_and_the_other_clock_does_not() -> None:
    """A time namespace moves one clock and not the other, as an hour of sleep does."""
    slept = ["unshare", "--user", "--map-root-user", "--time", "--boottime", "3600", "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*slept, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces here")
    code = "import time; from worldos.agent import clock; print(clock.now_ns(), time.monotonic_ns())"
    before = clock.now_ns(), time.monotonic_ns()
    said = subprocess.run(
        [*slept, sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    moved = [(int(after) - then) // 10**9 for after, then in zip(said, before, strict=True)]
    assert 3600 <= moved[0] < 3660
    assert 0 <= moved[1] < 60
