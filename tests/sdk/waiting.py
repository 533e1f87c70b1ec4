"""Waiting for a condition, with a bound; and programs of their own, for what only a whole process can show."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.patience import patient_s

BOUND_S = 15.0


def until(condition: Callable[[], object], bound_s: float = BOUND_S) -> None:
    end = time.monotonic() + patient_s(bound_s)
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def program(text: str, tmp_path: Path) -> subprocess.Popen[str]:
    """Start a program in a process of its own, with a home without an agent."""
    file = tmp_path / "program.py"
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(file)],
        env={**os.environ, "WORLDOS_HOME": str(tmp_path / "home")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
