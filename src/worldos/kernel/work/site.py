"""The site, as its work sees it: who belongs to it, who sits in its council, who is there, and what they offer."""

from __future__ import annotations

from typing import Protocol

from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.offer import Offer


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
