"""Gentle work: its processes run on what others leave, and so does what they start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness import Here, eventually

PROGRAM = """
import os, subprocess
from worldos.lanes.gentle import be_gentle
be_gentle()
print(os.sched_getscheduler(0) == os.SCHED_IDLE, os.getpriority(os.PRIO_PROCESS, 0))
subprocess.run(["python3", "-c", "import os; print(os.sched_getscheduler(0) == os.SCHED_IDLE)"])
"""


def test_a_gentle_process_and_its_children_are_idle_for_the_scheduler() -> None:
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, start_new_session=True
    )  # its own autogroup
    assert sorted(done.stdout.split()) == ["19", "True", "True"]


GROUPS = Path("/proc/self/autogroup")


@pytest.mark.skipif(not GROUPS.exists() or not GROUPS.read_text(), reason="sessions have no groups of their own here")
def test_a_guest_that_begins_a_session_gets_no_better_place_by_it() -> None:
    here = Here(mechanism="watch")
    try:
        with here.lane(1, gentle=True) as lane:

            def begin() -> tuple[int, str]:
                child = subprocess.Popen(["sleep", "60"], start_new_session=True)
                return child.pid, Path(f"/proc/{child.pid}/autogroup").read_text()

            pid, before = lane.submit(begin).result(30)
            assert before.endswith(" nice 0\n")
            assert eventually(lambda: Path(f"/proc/{pid}/autogroup").read_text().endswith(" nice 19\n"))
            assert Path("/proc/self/autogroup").read_text().endswith(" nice 0\n"), "its owner's is as it was"
    finally:
        here.stop()
