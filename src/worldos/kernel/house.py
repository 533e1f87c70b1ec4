"""The house: what the realms' tables see of the node that they belong to. The node itself is one (node.py)."""

from __future__ import annotations

from typing import Protocol

from worldos.kernel.leases import Leases
from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.offer import Offer
from worldos.model.realm import Contact


class House(Protocol):
    """A node, as its realms see it."""

    leases: Leases

    def is_member(self, node: NodeId) -> bool:
        """Tell whether this device is of our account and not revoked."""

    def is_linked(self, node: NodeId) -> bool:
        """Tell whether there is a way to this node now; to itself there always is."""

    def members(self) -> list[NodeId]:
        """Return the members of this site that are linked, by id."""

    def alive(self) -> list[NodeId]:
        """Return the members of this site that are linked and not in doubt, this node too, by id."""

    def contact_of(self, node: NodeId) -> Contact | None:
        """Return how a member of this site is found; None for one that is not known well enough."""

    def site_offers(self) -> dict[NodeId, Offer]:
        """Return the offers of this site that can be asked now."""

    def offers_to(self, guest: NodeId) -> list[Offer]:
        """Return the offers of this site as a node of another account may have them: open to it where it has a role."""

    def view(self, nonce: int) -> View:
        """Say how this node sees the others."""

    def has_business(self, node: NodeId) -> bool:
        """Tell whether a lease is held from this node, granted to it, or being asked of it."""
