"""The site, as its work sees it: who belongs to it, who sits in its council, who is there, and what they offer."""

from __future__ import annotations

from typing import Final, Protocol

from worldos.kernel.household import Household
from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.offer import Offer

WORK: Final = "/work"  # the log of the work lies beside that of the site's council, under this name


class Site(Protocol):
    """The site, as its work sees it."""

    def is_member(self, node: NodeId) -> bool:
        """Tell whether this device is of our account."""

    def is_linked(self, node: NodeId) -> bool:
        """Tell whether there is a way to this node now."""

    def wall_ms(self, now_ns: int) -> int:
        """Return what people's clocks show, or 0 while that is not known."""

    def works(self) -> bool | None:
        """Tell whether the charter says that this site keeps work; None: this node cannot know."""

    def founders(self) -> tuple[NodeId, ...]:
        """Return who founds the work, while that is not done."""

    def council(self) -> tuple[NodeId, ...]:
        """Return who sits in the site's council: voters, as far as this node knows."""

    def alive(self) -> list[NodeId]:
        """Return the members that are linked and not in doubt, this node too."""

    def offers(self) -> dict[NodeId, Offer]:
        """Return what they offer."""

    def view(self, now_ns: int) -> View:
        """Say how this node sees them."""

    def looks_further(self) -> bool:
        """Tell whether there is somebody beyond this site to ask."""


class NodeSite:
    """The site as its work sees it (kernel/work/site.py): what the node knows."""

    def __init__(self, node: Household) -> None:
        self._node = node

    def is_member(self, node: NodeId) -> bool:
        """Tell whether this device is of our account."""
        return self._node.is_member(node)

    def is_linked(self, node: NodeId) -> bool:
        """Tell whether there is a way to this node now."""
        return self._node.is_linked(node)

    def wall_ms(self, now_ns: int) -> int:
        """Return what people's clocks show, or 0 while that is not known."""
        ahead_ns = self._node.wall_ahead_ns
        return (now_ns + ahead_ns) // MS if ahead_ns else 0

    def works(self) -> bool | None:
        """Tell whether the charter says that this site keeps work; None where this node cannot know."""
        seat = self._node.realms.seats.get(self._node.realms.site)
        return seat.charter.works if seat is not None and seat.charter.seats else None

    def founders(self) -> tuple[NodeId, ...]:
        """Return who founds the work, while that is not done; a newcomer that reads the charter's past founds nothing."""
        seat = self._node.realms.seats.get(self._node.realms.site)
        if seat is None or self._node.node not in seat.raft.log.config.voters:
            return ()
        return seat.charter.founders

    def council(self) -> tuple[NodeId, ...]:
        """Return who sits in the site's council: voters where this node sits itself, else as its primary said."""
        realms = self._node.realms
        seat = realms.seats.get(realms.site)
        if seat is not None and seat.raft.log.config.voters:
            return seat.raft.log.config.voters
        center = realms.centers.known.get(realms.site)
        return tuple(contact.node for contact in center.council) if center is not None else ()

    def alive(self) -> list[NodeId]:
        """Return the members that are linked and not in doubt, this node too."""
        return self._node.alive()

    def offers(self) -> dict[NodeId, Offer]:
        """Return what they offer."""
        return {node: offer for node, offer in self._node.usable_offers().items() if self._node.is_member(node)}

    def view(self, now_ns: int) -> View:
        """Say how this node sees them."""
        return self._node.view(now_ns)

    def looks_further(self) -> bool:
        """Tell whether there is somebody beyond this site to ask."""
        return self._node.realms.looks_further
