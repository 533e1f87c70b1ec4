"""The table of realms around one node: seats, reigns, beliefs and kin, with nothing but questions about them.

Invariants: what comes with an older epoch than the newest seen of its realm changes nothing. A legitimate primary acts only while
its seat says so at this moment. Nobody is linked without a reason in ``kin``.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.bids import BidDone, Bids
from worldos.kernel.centers import Centers
from worldos.kernel.island import Island
from worldos.kernel.kin import Kin
from worldos.kernel.petitions import Petitions
from worldos.kernel.reign import Reign
from worldos.kernel.seat import Seat
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Level,
    RealmId,
)

GUEST = "guest"


class Table(msgspec.Struct, kw_only=True):
    """All realms around one node. ``off``: an embedded node, which has no center and no council.

    ``name`` and ``level`` are what the site is called if this node founds it (``founding``). ``changed`` says that the site's
    center changed, ``found`` what bids came to: the node takes both over after each step. ``introduced`` are guests whom
    this node, as the center, sent to others of the site lately.
    """

    me: NodeId
    site: RealmId
    name: str
    level: Level
    seed: int
    centers: Centers
    kin: Kin
    bids: Bids
    petitions: Petitions
    island: Island
    off: bool = False
    founding: bool = False
    islands: dict[RealmId, Island] = {}  # of realms above, for whose primary this node may have to stand in
    seats: dict[RealmId, Seat] = {}
    reigns: dict[RealmId, Reign] = {}
    changed: bool = False
    found: list[BidDone] = []
    introduced: dict[NodeId, RealmId] = {}
    look_ns: int = 0
    due_ns: int = 0

    @property
    def looks_further(self) -> bool:
        """Tell whether there is somebody to ask for more than this site has."""
        center = self.centers.known.get(self.site)
        return not self.off and center is not None and bool(center.parents)

    def may_act(self, now_ns: int, realm: RealmId) -> bool:
        """Tell whether this node may act as the primary of a realm at this moment."""
        reign = self.reigns.get(realm)
        if reign is None or self.centers.is_stale(realm, reign.epoch):
            return False
        seat = self.seats.get(realm)
        return reign.epoch.provisional or (seat is not None and seat.is_primary(now_ns))

    def is_above(self, realm: RealmId, peer: NodeId) -> bool:
        """Tell whether a node speaks for a realm that one of ours is allowed below."""
        for reign in self.reigns.values():
            parent = reign.superiors.parents.get(realm)
            if parent is not None and any(contact.node == peer for contact in parent.known()):
                return True
        return False

    def is_allowed(self, realm: RealmId) -> bool:
        """Tell whether one of the realms led here may be below this one."""
        return any(realm in reign.superiors.parents for reign in self.reigns.values())

    def soon(self, now_ns: int) -> None:
        """Ask to be woken at once."""
        self.due_ns = now_ns

    def site_changed(self, realm: RealmId) -> None:
        """Note that a center is another; that of the own site is news for the node."""
        if realm == self.site:
            self.changed = True

    def next_ns(self) -> int:
        """Return when something is due."""
        due_ns = min(self.look_ns, self.island.due_ns, self.bids.due_ns, self.kin.due_ns, self.petitions.due_ns)
        for seat in self.seats.values():
            due_ns = min(due_ns, seat.due_ns)
        for reign in self.reigns.values():
            due_ns = min(due_ns, reign.look_ns, reign.children.due_ns, reign.superiors.due_ns)
        for island in self.islands.values():
            due_ns = min(due_ns, island.due_ns)
        return due_ns
