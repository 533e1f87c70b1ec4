"""Who is the center of which realm, as this node believes, and the fence: what comes from an older reign is refused.

Invariant: what is believed about a realm never goes back to an older epoch. Two provisional primaries of one number are two
islands that met: the smaller node id stays. An epoch that leaps by more than LEAP_MAX is nobody's honest next one, and is not
believed, so that a liar cannot take the numbers that are still to come. Source: fencing tokens after M. Burrows, "The Chubby lock
service", OSDI 2006.
"""

from __future__ import annotations

import msgspec

from worldos.model.limits import EPOCH_LEAP_MAX
from worldos.model.realm import Center, Epoch, RealmId, rank

NONE = Epoch(0, provisional=True)


class Centers(msgspec.Struct, kw_only=True):
    """Centers by realm, and the newest epoch seen of each realm, also where its center is not known."""

    known: dict[RealmId, Center] = {}
    seen: dict[RealmId, Epoch] = {}

    def is_stale(self, realm: RealmId, epoch: Epoch) -> bool:
        """Tell whether something newer than this epoch was seen."""
        return rank(epoch) < rank(self.seen.get(realm, NONE))

    def see(self, realm: RealmId, epoch: Epoch) -> bool:
        """Know of an epoch; return whether it is believed: not stale, and no leap."""
        seen = self.seen.get(realm, NONE)
        if rank(epoch) < rank(seen) or epoch.number > seen.number + EPOCH_LEAP_MAX:
            return False
        self.seen[realm] = epoch
        return True

    def hear(self, center: Center) -> bool:
        """Take in what a primary says of itself; return whether it is believed."""
        known = self.known.get(center.realm)
        if known is not None and known.epoch == center.epoch and known.primary.node < center.primary.node:
            return False
        if not self.see(center.realm, center.epoch):
            return False
        self.known[center.realm] = center
        return True

    def forget(self, realm: RealmId) -> None:
        """Know no center of a realm any more; the fence stays."""
        self.known.pop(realm, None)

    def next_provisional(self, realm: RealmId) -> Epoch:
        """Return the epoch of an island that begins now."""
        return Epoch(self.seen.get(realm, NONE).number + 1, provisional=True)
