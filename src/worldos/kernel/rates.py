"""Rates: how often may be asked by right of a grant, counted for each of its blocks, so that all narrowed from one share it.

A bucket holds ``burst`` and fills by ``per_hour``. Whole requests are counted in millionths of a request, so that slow rates fill
too. Bound: METERS_MAX; the one that was used least lately goes, and is full when it comes again, which only who issues many
grants can bring about.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.limits import MINUTE
from worldos.trust.block import Rate

METERS_MAX: Final = 4096
ONE: Final = 1_000_000
HOUR_NS: Final = 60 * MINUTE


class Meter(msgspec.Struct, kw_only=True):
    """What is left of a rate, in millionths of a request, and when that was."""

    left: int
    at_ns: int


class Rates(msgspec.Struct, kw_only=True):
    """The meters of blocks by their ids."""

    meters: dict[str, Meter] = {}

    def take(self, now_ns: int, rates: tuple[tuple[str, Rate], ...]) -> str:
        """Count one request against all of these; return why it is too many, or nothing. Nothing is counted that is refused."""
        taken = [(block, self._meter(now_ns, block, rate), rate) for block, rate in rates]
        for _, meter, rate in taken:
            if meter.left < ONE:
                return f"the grant is for {rate.per_hour} requests an hour, and {rate.burst} at once"
        for block, meter, _ in taken:
            self.meters.pop(block, None)
            self.meters[block] = Meter(left=meter.left - ONE, at_ns=now_ns)
            if len(self.meters) > METERS_MAX:
                del self.meters[next(iter(self.meters))]
        return ""

    def _meter(self, now_ns: int, block: str, rate: Rate) -> Meter:
        full = rate.burst * ONE
        known = self.meters.get(block)
        if known is None:
            return Meter(left=full, at_ns=now_ns)
        filled = (now_ns - known.at_ns) * rate.per_hour * ONE // HOUR_NS
        return Meter(left=min(full, known.left + filled), at_ns=now_ns)
