"""A parent: a realm that this one may register with, how to reach its center, and what it costs to be below it.

The cost is the measured round trip, more for a busy center and for one whose answers came to nothing. Round trips are smoothed
against jitter, but a change to less than half or more than double counts at once: then the way itself is another. Times are ns on
this node's clock. Source: DESIGN.md section 6.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import Center, Contact, RealmId, rank

RTT_US_MAX = 10_000_000
COST_LEAST_US = 1_000  # nothing is nearer than this, so that load counts on a LAN too
LOAD_COUNTED_MAX = 4_000
CREDIT_COUNTED_MIN = 100


class Way(msgspec.Struct, kw_only=True):
    """A linked node: its round trip as last measured and smoothed; 0: not measured yet."""

    last_us: int = 0
    rtt_us: int = 0

    def measured(self, rtt_us: int) -> None:
        """Take in a measurement."""
        self.last_us = max(1, min(RTT_US_MAX, rtt_us))
        if self.last_us > 2 * self.rtt_us or 2 * self.last_us < self.rtt_us:
            self.rtt_us = self.last_us

    def smooth(self) -> None:
        """Come a quarter nearer to what was last measured; called at a steady pace, as measurements are told only on change."""
        self.rtt_us += (self.last_us - self.rtt_us) // 4


class Parent(msgspec.Struct, kw_only=True):
    """An allowed parent. ``away_until_ns``: it refused or was silent; ``left_until_ns``: it was left, and going back must wait.

    ``center`` is what its primary said of itself, ``hint`` what somebody else said of it, good for one try.
    ``is_busy``: it is away only because it has too much to do. ``better_since_ns``: since when it costs less than the active one.
    """

    realm: RealmId
    contacts: tuple[Contact, ...]
    center: Center | None = None
    hint: Center | None = None
    load_permille: int = 0
    credit: int = limits.CREDIT_MAX
    credited_ns: int = 0
    away_ns: int = 0
    away_until_ns: int = 0
    is_busy: bool = False
    left_ns: int = 0
    left_until_ns: int = 0
    better_since_ns: int = limits.NEVER_NS

    def known(self) -> list[Contact]:
        """Return whom to ask, best first: its primary, its council, and whom the ticket named."""
        by_node: dict[NodeId, Contact] = {}
        for center in (self.hint, self.center):
            for contact in (center.primary, *center.council) if center is not None else ():
                by_node.setdefault(contact.node, contact)
        for contact in self.contacts:
            by_node.setdefault(contact.node, contact)
        return list(by_node.values())

    def is_newer(self, center: Center) -> bool:
        """Tell whether what a primary says of itself is not older than what is known, and no leap."""
        if self.center is None:
            return True
        known = self.center.epoch
        return rank(center.epoch) >= rank(known) and center.epoch.number <= known.number + limits.EPOCH_LEAP_MAX

    def believe(self, center: Center) -> None:
        """Take in who its center is now, as it says itself."""
        self.center, self.hint = center, None
        self.load_permille = center.load_permille

    def doubt(self, now_ns: int) -> None:
        """What it answered, or did not, came to nothing."""
        self.credit = self.credibility(now_ns) * 3 // 4
        self.credited_ns = now_ns

    def credibility(self, now_ns: int) -> int:
        """Return how far its answers are believed, 0 to 1000; it comes back by 10 a second."""
        recovered = max(0, now_ns - self.credited_ns) * limits.CREDIT_PER_SECOND // limits.SECOND
        return min(limits.CREDIT_MAX, self.credit + recovered)

    def cost_us(self, now_ns: int, rtt_us: int) -> int:
        """Return what it costs to be below it, in microseconds of a round trip."""
        loaded = (rtt_us + COST_LEAST_US) * (1000 + 2 * min(self.load_permille, LOAD_COUNTED_MAX)) // 1000
        return loaded * limits.CREDIT_MAX // max(CREDIT_COUNTED_MIN, self.credibility(now_ns))

    def send_away(self, now_ns: int, for_ns: int = 0, *, is_busy: bool = False) -> None:
        """Pass over it for a while; without a time for twice as long as before."""
        self.hint = None
        self.away_ns = for_ns or min(limits.AWAY_MAX_NS, max(limits.AWAY_MIN_NS, 2 * self.away_ns))
        self.away_until_ns = now_ns + self.away_ns
        self.is_busy = is_busy
        self.better_since_ns = limits.NEVER_NS

    def welcome(self) -> None:
        """It answers again."""
        self.away_ns = self.away_until_ns = 0
        self.is_busy = False

    def leave(self, now_ns: int, since_ns: int) -> None:
        """It was the active one since then, and is not any more: who goes back and forth waits longer each time."""
        steady = now_ns - since_ns >= limits.STEADY_NS
        self.left_ns = (
            limits.LEFT_MIN_NS if steady else min(limits.LEFT_MAX_NS, max(limits.LEFT_MIN_NS, 2 * self.left_ns))
        )
        self.left_until_ns = now_ns + self.left_ns


def nodes_of(contacts: Iterable[Contact]) -> list[NodeId]:
    """Return the nodes of contacts, in order."""
    return [contact.node for contact in contacts]
