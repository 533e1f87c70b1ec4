"""Islands: when a node stands in for a primary that cannot be reached, so that no two that see each other do.

Those who see each other rank themselves by (fitness, id). The first one waits a little longer than a council with a majority
needs to elect, then begins; each one below it waits a little longer still, in case the first has another view. A node that hears
of a newer reign resigns. Times in ns of the node's clock.
"""

from __future__ import annotations

import msgspec

from worldos.model.ids import NodeId
from worldos.model.limits import ISLAND_AFTER_NS, ISLAND_STEP_NS, NEVER_NS

PLACES_MAX = 8


class Island(msgspec.Struct, kw_only=True):
    """How long the center of one realm has been out of reach; ``lost_ns`` is -1 while it is not."""

    lost_ns: int = -1
    due_ns: int = NEVER_NS

    def look(self, now_ns: int, *, reachable: bool, ranking: list[NodeId], me: NodeId) -> bool:
        """Return whether to begin a provisional reign now. ``ranking``: who can be seen, this node too, best first."""
        if reachable:
            self.lost_ns, self.due_ns = -1, NEVER_NS
            return False
        if self.lost_ns < 0:
            self.lost_ns = now_ns
        place = min(ranking.index(me), PLACES_MAX)
        self.due_ns = self.lost_ns + ISLAND_AFTER_NS + place * ISLAND_STEP_NS
        return now_ns >= self.due_ns
