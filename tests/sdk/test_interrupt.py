"""Ctrl-C in a program that works with leases: it ends at once, with everything under it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
from tests.sdk.waiting import alive, program, until

WORKS = """
import time
from worldos import use
from worldos.sdk.connection import connection

with use("CPU", 1) as cpu:
    cpu.submit(pow, 2, 3).result(60)
    print(connection().embedded._child.pid, flush=True)
    list(cpu.map(time.sleep, [600] * 3))
"""


def test_ctrl_c_ends_the_program_and_all_that_it_leased(tmp_path: Path) -> None:
    running = program(WORKS, tmp_path)
    assert running.stdout is not None
    agent = psutil.Process(int(running.stdout.readline()))
    family = [agent.pid, *(child.pid for child in agent.children(recursive=True))]
    running.send_signal(signal.SIGINT)
    _, wrong = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT
    assert wrong.rstrip().endswith("KeyboardInterrupt")
    until(lambda: not any(alive(pid) for pid in family))
