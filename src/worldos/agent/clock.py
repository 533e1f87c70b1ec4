"""The steady clock of this machine, which the node lives by: it never goes back, and it goes on while the machine sleeps.

``time.monotonic`` does not: on Linux it stands still during suspend, so a laptop that wakes after an hour would believe in leases
whose nodes gave the capacity to others long ago. CLOCK_BOOTTIME counts sleep; macOS' CLOCK_MONOTONIC does too. In ns.
"""

from __future__ import annotations

import time
from typing import Final

_MS: Final = 1_000_000
CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Return the moment."""
    return time.clock_gettime_ns(CLOCK)


def delay_s(due_ns: int) -> float:
    """Return how long a timer must wait for this moment: whole milliseconds, as libuv counts, and never too few."""
    return max(0, -((now_ns() - due_ns) // _MS)) / 1000
