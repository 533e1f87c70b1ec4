"""How long tests wait. What a test names is what a quiet machine needs at most; a busy one is given several times that.

A wait ends with what it waits for, so a wide bound costs nothing where all is well: it only tells a slow machine from a mistake.
Tests that show that something does *not* happen name their time themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TIMES = 3.0  # how much slower a machine with busy neighbours may be than the quiet one that bounds are named for
POLL_S = 0.01


def patient_s(quiet_s: float) -> float:
    """Return how long to wait for what takes a quiet machine so long at most."""
    return TIMES * quiet_s


def until(condition: Callable[[], Any], what: str, quiet_s: float = 10.0) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + patient_s(quiet_s)
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {patient_s(quiet_s):.0f} s: {what}"
        time.sleep(POLL_S)
    return found
