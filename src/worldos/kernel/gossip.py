"""Gossip: about which nodes there is news, and how often each was told.

News rides on messages that are sent anyway, the least told first. After a few times log2(N) tellings by everyone who
heard it, a rumor has reached a site of N with high probability, so then it is dropped; what still got lost is found by
the full lists that nodes exchange now and then. The queue holds at most one entry per node.

Source: SWIM (Das, Gupta, Motivala, 2002), section 4.1, "Infection-Style Dissemination Component".
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.ids import NodeId

NEWS_PER_MESSAGE_MAX: Final = 8
TELLINGS_PER_DOUBLING: Final = 3


class Gossip(msgspec.Struct, kw_only=True):
    """``told`` counts how often the news about a node was sent on."""

    told: dict[NodeId, int] = {}

    def tell(self, node: NodeId) -> None:
        """There is news about ``node``: begin to spread it, afresh if an older one was on its way."""
        self.told[node] = 0

    def hush(self, node: NodeId) -> None:
        """Say nothing more about ``node``: what was to be said holds no more."""
        self.told.pop(node, None)

    def take(self, reachable: int) -> list[NodeId]:
        """Return whom to speak about in the next message, the least told first."""
        if not self.told:
            return []
        enough = TELLINGS_PER_DOUBLING * reachable.bit_length()
        chosen = sorted(self.told, key=lambda node: (self.told[node], node))[:NEWS_PER_MESSAGE_MAX]
        for node in chosen:
            self.told[node] += 1
            if self.told[node] >= enough:
                del self.told[node]
        return chosen
