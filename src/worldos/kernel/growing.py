"""How many cores an elastic lease is worth now: pure, in integers, so that the rule can be tried without any machine.

A core more pays while the queue is longer than ``PAYS_NS`` for each core that is there; to get one costs about that: an ask, a
process, its first imports. It grows at most to twice what it has in one step and never beyond ``most``; after a refusal it
waits, longer each time. It shrinks when fewer would have done for ``IDLE_NS``, and never below ``least``.
"""

from __future__ import annotations

from typing import Final

import msgspec

MS: Final = 1_000_000
PAYS_NS: Final = 200 * MS
IDLE_NS: Final = 1_000 * MS
WAIT_MIN_NS: Final = 250 * MS
WAIT_MAX_NS: Final = 8_000 * MS


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane has to do. ``service_ns``: how long a call takes, as measured; 0: none has come back yet."""

    open_calls: int
    delivered: int
    service_ns: int


class Growing(msgspec.Struct, kw_only=True):
    """The rule, with what it remembers. ``least`` and ``most`` are cores."""

    least: int
    most: int
    delivered: int = 0
    moved_ns: int = 0  # when a result came last, or calls began to be open
    idle_since_ns: int = -1
    wait_ns: int = 0
    not_before_ns: int = 0

    def wanted(self, now_ns: int, load: Load, cores: int) -> int:
        """Return how many cores to have now: more than ``cores`` to ask for, fewer to give back."""
        if load.delivered != self.delivered or not load.open_calls:
            self.delivered, self.moved_ns = load.delivered, now_ns
        worth = min(self.most, max(self.least, self._worth(now_ns, load)))
        if worth >= cores:
            self.idle_since_ns = -1
            return cores if now_ns < self.not_before_ns else min(worth, 2 * max(1, cores))
        if self.idle_since_ns < 0:
            self.idle_since_ns = now_ns
        return worth if now_ns - self.idle_since_ns >= IDLE_NS else cores

    def gain_ms(self, now_ns: int, load: Load, cores: int) -> int:
        """Return how much sooner all is done with one core more."""
        work_ns = load.open_calls * self._service_ns(now_ns, load)
        return max(1, work_ns // (cores * (cores + 1)) // MS)

    def answered(self, now_ns: int, *, granted: bool) -> None:
        """Take in what came of asking for one more."""
        self.wait_ns = 0 if granted else min(WAIT_MAX_NS, max(WAIT_MIN_NS, 2 * self.wait_ns))
        self.not_before_ns = now_ns + self.wait_ns

    def _worth(self, now_ns: int, load: Load) -> int:
        return min(load.open_calls, -(-load.open_calls * self._service_ns(now_ns, load) // PAYS_NS))

    def _service_ns(self, now_ns: int, load: Load) -> int:
        """A call takes as long as those before it, or as long as nothing has come back."""
        return max(load.service_ns, now_ns - self.moved_ns)
