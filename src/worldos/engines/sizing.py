"""How large an engine is: it grows when more waits than it has cores for, and gives back what has long had nothing to do.

Pure: cores are integers, time comes in nanoseconds. Growing is quick and shrinking slow, because a seat costs seconds to start.
Invariant: never below the least nor beyond the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SECOND_NS: Final = 1_000_000_000
WAITS_NS: Final = 2 * SECOND_NS  # so long more must wait before it grows: a burst of small tasks is over by then
REFUSED_NS: Final = 10 * SECOND_NS  # before it asks again for what could not be had
IDLE_NS: Final = 30 * SECOND_NS  # so long a seat must have had nothing to do before it is given back


class Sizing:
    """The size of one engine between ``least`` and ``most`` cores."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self._short_since_ns: int | None = None
        self._not_before_ns = 0
        self._idle_since_ns: dict[int, int] = {}

    def lacking(self, now_ns: int, wanted: int, cores: int) -> int:
        """Return how many cores are to be added now, if ``wanted`` have something to do and there are ``cores``."""
        lacking = min(wanted, self.most) - cores
        if lacking <= 0:
            self._short_since_ns = None
            return 0
        if self._short_since_ns is None:
            self._short_since_ns = now_ns
        waited = now_ns - self._short_since_ns >= WAITS_NS
        return lacking if waited and now_ns >= self._not_before_ns else 0

    def refused(self, now_ns: int) -> None:
        """Take in that nothing could be added."""
        self._not_before_ns = now_ns + REFUSED_NS

    def spare(self, now_ns: int, idle: Mapping[int, int], cores: int) -> tuple[int, ...]:
        """Return the seats that are to be given back now. ``idle``: those that have nothing to do now, and their cores."""
        since = {seat: self._idle_since_ns.get(seat, now_ns) for seat in idle}
        self._idle_since_ns = since
        going = []
        for seat in sorted(idle, reverse=True):  # the last that came goes first
            if now_ns - since[seat] >= IDLE_NS and cores - idle[seat] >= self.least:
                going.append(seat)
                cores -= idle[seat]
        return tuple(going)
