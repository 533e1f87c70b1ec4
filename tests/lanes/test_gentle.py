"""Gentle work: its processes run on what others leave, and so does what they start."""

from __future__ import annotations

import subprocess
import sys

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
