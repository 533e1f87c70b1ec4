"""Pace: when the next piece may pass, so that no more than the leased rate ever does.

A token bucket told by its *virtual* clock: each piece moves ``next_ns`` on by its size over the rate, and passes when
the real clock has come there. A stream that paused may catch up at most ``burst_ns`` worth. So in any window that
starts with a piece, the bytes that passed are at most ``rate * (window + burst)``, and from the very first piece on
at most ``rate * time``. Pure: the caller brings the clock. Source: ITU-T I.371, the generic cell rate algorithm
(virtual scheduling).
"""

from __future__ import annotations

from typing import Final

BURST_NS: Final = 20_000_000
SECOND_NS: Final = 1_000_000_000


class Pace:
    """One stream at ``bits_per_second``."""

    def __init__(self, bits_per_second: int, burst_ns: int = BURST_NS) -> None:
        assert bits_per_second > 0
        assert burst_ns >= 0
        self.bits_per_second = bits_per_second
        self.burst_ns = burst_ns
        self._next_ns: int | None = None

    def due_ns(self, size_bytes: int, now_ns: int) -> int:
        """Take in a piece that is ready now; return the time at which all of it may have passed."""
        cost_ns = -(-size_bytes * 8 * SECOND_NS // self.bits_per_second)
        start_ns = now_ns if self._next_ns is None else max(self._next_ns, now_ns - self.burst_ns)
        self._next_ns = start_ns + cost_ns
        return self._next_ns
