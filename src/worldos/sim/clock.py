"""Clocks of simulated machines: one steady that drifts, and one on the wall that jumps.

The kernel lives by the steady clock (``read``), which never goes back and may go faster or slower than true time; the wall's
is for people only. Leases are safe as long as no two steady clocks differ in rate by more than 1/8 (``limits.LEASE_GRACE_PART``),
so every rate lies within 1/18 of the true one. All in ns; rates in parts of ``RATE_ONE``.
"""

from __future__ import annotations

from random import Random
from typing import Final

from worldos.model import limits

RATE_ONE: Final = 1 << 16
RATE_PART: Final = 18  # a clock is off by at most one part in so many
RATE_MIN: Final = RATE_ONE - RATE_ONE // RATE_PART
RATE_MAX: Final = RATE_ONE + RATE_ONE // RATE_PART

assert RATE_MAX * limits.LEASE_GRACE_PART < RATE_MIN * (limits.LEASE_GRACE_PART + 1), "a holder must always stop first"


class Clock:
    """The steady clock of one machine, and its wall clock's error."""

    __slots__ = ("_local_ns", "_true_ns", "rate", "wall_error_ns")

    def __init__(self, *, true_ns: int = 0, local_ns: int = 0, rate: int = RATE_ONE) -> None:
        self._true_ns = true_ns
        self._local_ns = local_ns
        self.rate = rate
        self.wall_error_ns = 0

    def read(self, true_ns: int) -> int:
        """Return what the steady clock shows at this moment of true time."""
        return self._local_ns + (true_ns - self._true_ns) * self.rate // RATE_ONE

    def wall(self, true_ns: int) -> int:
        """Return what the wall clock shows."""
        return true_ns + self.wall_error_ns

    def moment_of(self, local_ns: int) -> int:
        """Return the first moment of true time at which the steady clock shows at least ``local_ns``."""
        if self.rate == 0:
            return local_ns + (1 << 62)  # it stands still: never
        return self._true_ns - (-(local_ns - self._local_ns) * RATE_ONE // self.rate)

    def set_rate(self, true_ns: int, rate: int) -> None:
        """Go on at another rate. 0 stands still: what CLOCK_MONOTONIC does while a Linux machine sleeps."""
        self._local_ns = self.read(true_ns)
        self._true_ns = true_ns
        self.rate = rate


def rate_by_chance(dice: Random) -> int:
    """Return a rate that is allowed; the extremes come often, since they are where faults are."""
    if dice.random() < 0.4:
        return RATE_MIN if dice.random() < 0.5 else RATE_MAX
    return RATE_MIN + int(dice.random() * (RATE_MAX - RATE_MIN))
