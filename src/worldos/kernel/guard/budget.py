"""Budgets: how many nodes commands may reach in a while, also where nobody sees the whole.

A *bucket* fills with time and is emptied by what is done: one on each node, and one for each key that proposes or stops. For
regions and the planet no node could keep a bucket, so there are *shares*: the roll gives each place so many units for each
window, together never more than the cap, and the holder of a share gives units out by number, each once. A node takes part
only if units of a share of its own place are given to the command, within the share's amount. So islands need not see each
other: the sum was fixed before. Merging is union, and a unit given to two commands shows its holder as a liar.

Invariant: units given to different commands do not overlap, and none is at or above the amount. Integers only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from worldos.kernel.guard.limits import (
    NARROW_BURST,
    NARROW_PER_HOUR,
    NODE_BURST,
    NODE_PER_HOUR,
    PROPOSE_BURST,
    PROPOSE_PER_HOUR,
    SHARE_WINDOW_S,
    STOP_BURST,
    STOP_PER_HOUR,
)
from worldos.kernel.guard.roll import Roll, Share
from worldos.kernel.guard.said import Spent
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.realm import RealmId


class Bucket(msgspec.Struct, kw_only=True):
    """``burst`` units at most, ``per_hour`` new ones; ``grains`` are units times the ns of an hour, so nothing is rounded."""

    burst: int
    per_hour: int
    grains: int = -1  # -1: full, as it begins
    at_ns: int = 0

    def take(self, now_ns: int, units: int = 1) -> bool:
        """Take so many units out, if they are there."""
        full = self.burst * _HOUR_NS
        passed_ns = max(0, now_ns - self.at_ns)
        grains = full if self.grains < 0 else min(full, self.grains + passed_ns * self.per_hour)
        is_enough = 0 <= units * _HOUR_NS <= grains
        self.grains = grains - units * _HOUR_NS if is_enough else grains
        self.at_ns = max(self.at_ns, now_ns)
        return is_enough


_HOUR_NS = 3600 * SECOND


class Buckets(msgspec.Struct, kw_only=True):
    """What this node and each key may still do; made full when first asked for."""

    node: Bucket = msgspec.field(default_factory=lambda: Bucket(burst=NODE_BURST, per_hour=NODE_PER_HOUR))
    narrow: Bucket = msgspec.field(default_factory=lambda: Bucket(burst=NARROW_BURST, per_hour=NARROW_PER_HOUR))
    stops: dict[str, Bucket] = {}
    proposals: dict[str, Bucket] = {}

    def may_stop(self, now_ns: int, key: str) -> bool:
        """Take one stop of this key."""
        return self.stops.setdefault(key, Bucket(burst=STOP_BURST, per_hour=STOP_PER_HOUR)).take(now_ns)

    def may_propose(self, now_ns: int, key: str) -> bool:
        """Take one proposal of this key."""
        return self.proposals.setdefault(key, Bucket(burst=PROPOSE_BURST, per_hour=PROPOSE_PER_HOUR)).take(now_ns)


class Purse(msgspec.Struct, kw_only=True):
    """The holder's end of a share: which unit of this window comes next. Its holder alone writes it."""

    place: RealmId
    amount: int
    window: int = 0
    next_unit: int = 0

    def gave(self, spent: Spent) -> None:
        """Remember, after a start, what was given out in an earlier life."""
        if spent.window > self.window:
            self.window, self.next_unit = spent.window, 0
        if spent.window == self.window:
            self.next_unit = max(self.next_unit, spent.first + spent.count)

    def spend(self, command_id: str, count: int, now_s: int) -> Spent | None:
        """Give units to a command; None where there are not so many left in this window."""
        window = now_s // SHARE_WINDOW_S
        if window < self.window or count < 1:
            return None  # the clock went back: what was given out then is not known any more
        if window > self.window:
            self.window, self.next_unit = window, 0
        if self.next_unit + count > self.amount:
            return None
        first, self.next_unit = self.next_unit, self.next_unit + count
        return Spent(command=command_id, place=self.place, window=window, first=first, count=count)


def share_of(roll: Roll, holder: NodeId, place: str) -> Share | None:
    """Return the share that this node holds for this place."""
    return next((share for share in roll.shares if (share.holder, share.place) == (holder, place)), None)


def overlap(one: Spent, other: Spent) -> bool:
    """Tell whether two spendings of one share give the same unit to different commands."""
    if (one.place, one.window) != (other.place, other.window) or one.command == other.command:
        return False
    return one.first < other.first + other.count and other.first < one.first + one.count


def within(share: Share, spent: Spent) -> bool:
    """Tell whether these units are there to be given."""
    return spent.place == share.place and spent.first + spent.count <= share.amount


def spent_in_all(said: Iterable[tuple[NodeId, Spent]]) -> int:
    """Return how many units were given out, however often and in which order it was heard of."""
    units: dict[tuple[NodeId, str, int], set[tuple[int, int]]] = {}
    for holder, spent in said:
        units.setdefault((holder, spent.place, spent.window), set()).add((spent.first, spent.first + spent.count))
    return sum(_union(ranges) for ranges in units.values())


def _union(ranges: set[tuple[int, int]]) -> int:
    total, end = 0, 0
    for first, last in sorted(ranges):
        total += max(0, last - max(first, end))
        end = max(end, last)
    return total
