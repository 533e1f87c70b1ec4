"""The household: the tables of one node side by side, and what can be asked of them together. It changes none of them.

``node.py`` adds what happens; the realms see it as their house (house.py).
"""

from __future__ import annotations

import msgspec

from worldos.kernel.authority import Warden
from worldos.kernel.behaviour.behaviour import Behaviour
from worldos.kernel.clones import Clones
from worldos.kernel.contacts import Contacts
from worldos.kernel.decisions import Decisions
from worldos.kernel.epochs import Epochs
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.upkeep import Upkeep
from worldos.kernel.leases import Leases
from worldos.kernel.lend_rules import Lending, guest_of, seen_by
from worldos.kernel.membership import Membership
from worldos.kernel.quarantine import Quarantine
from worldos.kernel.question import View
from worldos.kernel.realms import Realms
from worldos.kernel.registry import Registry
from worldos.kernel.sessions import Sessions
from worldos.kernel.statements import Keeper, Statements
from worldos.kernel.uses import Uses
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.offer import Offer
from worldos.model.realm import Contact
from worldos.model.statements import Topic
from worldos.model.swim import Status
from worldos.trust.keylog import KeyLog


class Path(msgspec.Struct, kw_only=True):
    """A linked peer: which life of it, how far it is, and through whom (empty: directly)."""

    boot: int
    rtt_us: int = 1000
    via: str = ""


class Household(msgspec.Struct, kw_only=True):
    """All that one node knows. ``paths`` has everybody that is linked: members of the site, and kin."""

    node: NodeId
    boot: int
    keylog: KeyLog
    registry: Registry
    leases: Leases
    uses: Uses
    membership: Membership
    realms: Realms
    paths: dict[NodeId, Path] = {}
    known_boots: dict[NodeId, int] = {}
    looking: dict[int, str] = {}  # bids under way, and the uses that they are for
    statements: Statements = msgspec.field(default_factory=Statements)
    authority: Warden = msgspec.field(default_factory=Warden)
    quarantine: Quarantine = msgspec.field(default_factory=Quarantine)
    behaviour: Behaviour = msgspec.field(default_factory=Behaviour)
    guard: Guard = msgspec.field(default_factory=Guard)
    upkeep: Upkeep = msgspec.field(default_factory=Upkeep)
    epochs: Epochs = msgspec.field(default_factory=Epochs)
    clones: Clones = msgspec.field(default_factory=Clones)
    sessions: Sessions = msgspec.field(default_factory=Sessions)
    contacts: Contacts = msgspec.field(default_factory=Contacts)
    decisions: Decisions = msgspec.field(default_factory=Decisions)
    lend: Lending = msgspec.field(default_factory=Lending)
    dirty: bool = False  # the offer is not what was told last
    compare_ns: int = 0  # when the next peer is told how far the key log goes
    have_snapshot: dict[NodeId, str] = {}  # which devices are known to have which snapshot of the key log
    compared: NodeId = NodeId("")
    wall_ahead_ns: int = 0  # what people's clocks show, less the node's own; 0 = not known yet

    def wall_s(self, now_ns: int) -> int:
        """Return the unix time as this machine believes it, in seconds; 0 while it does not know."""
        return (now_ns + self.wall_ahead_ns) // SECOND if self.wall_ahead_ns else 0

    def keeper_of(self, topic: Topic) -> Keeper | None:
        """Return who judges the statements of a topic."""
        match topic:
            case Topic.REVOKED:
                return self.authority.revocations
            case Topic.ROLE:
                return self.authority.roles
            case Topic.COMMAND | Topic.APPROVAL | Topic.HEALTH | Topic.STOP:
                return self.guard
            case Topic.EPOCH:
                return self.epochs
            case Topic.DEVICE:
                return self.clones
            case Topic.SESSION:
                return self.sessions
            case Topic.CARD:
                return self.contacts
            case Topic.QUARANTINE:
                return self.quarantine
            case Topic.BASELINE:
                return self.behaviour
            case _:
                return None

    def view(self, nonce: int) -> View:
        """Say how this node sees the others: how far they are and whether they are in doubt."""
        statuses = {node: self.membership.status(node) for node in self.paths}
        return View(
            home=self.node,
            account=self.registry.owner,
            rtt_us={node: path.rtt_us for node, path in self.paths.items()},
            doubted=frozenset(n for n, status in statuses.items() if status is Status.SUSPECT),
            gone=frozenset(n for n, status in statuses.items() if status in {Status.DEAD, Status.LEFT}),
            nonce=nonce.to_bytes(8, "big"),
        )

    def usable_offers(self) -> dict[NodeId, Offer]:
        """Return the offers that can be asked now: of this node, and of linked members that are not dead."""
        offers = self.registry.offers
        return {n: offers[n] for n in (self.node, *sorted(self.paths)) if n in offers}

    def may_link(self, node: NodeId) -> bool:
        """Tell whether a link with this node is wanted: a member of the account, or kin."""
        return self.keylog.is_member(node) or self.realms.kin.has(node)

    # -- the house, as its realms see it (kernel/house.py) ------------------------------------------------------------------

    def is_member(self, node: NodeId) -> bool:
        """Tell whether this device is of our account and not revoked."""
        return self.keylog.is_member(node)

    def is_linked(self, node: NodeId) -> bool:
        """Tell whether there is a way to this node now."""
        return node == self.node or node in self.paths

    def members(self) -> list[NodeId]:
        """Return the members of this site that are linked, by id."""
        return [node for node in sorted(self.paths) if self.keylog.is_member(node)]

    def alive(self) -> list[NodeId]:
        """Return the members of this site that are linked and not in doubt, this node too, by id."""
        status = self.membership.status
        return sorted([self.node, *(node for node in self.members() if status(node) in {Status.ALIVE, None})])

    def contact_of(self, node: NodeId) -> Contact | None:
        """Return how a member of this site is found."""
        device = self.keylog.members().get(node)
        offer = self.registry.offers.get(node)
        if device is None or offer is None:
            return None
        addresses = (self.registry.addresses if node == self.node else offer.addresses)[:8]
        name = offer.name[: limits.NAME_CHARS_MAX]
        return Contact(node=node, name=name, site=self.realms.site, root_cert=device.root_cert, addresses=addresses)

    def site_offers(self) -> dict[NodeId, Offer]:
        """Return the offers of this site that can be asked now."""
        return self.usable_offers()

    def offers_to(self, guest: NodeId) -> list[Offer]:
        """Return the offers of this site as a node of another account may have them: what is lent, and what a role opens."""
        roles, who = self.authority.roles, guest_of(self, guest)
        seen = []
        for offer in self.usable_offers().values():
            opened = roles.opened(offer, guest) if guest in roles.holders else offer
            seen.append(seen_by(opened, who, roles.given(offer, guest) if offer.rules.limited else ()))
        return seen

    def has_business(self, node: NodeId) -> bool:
        """Tell whether a lease is held from this node, granted to it, or being asked of it."""
        if any(lease.holder == node for lease in self.leases.leases.values()) or node in self.uses.held.nodes():
            return True
        return any(part.node == node for pending in self.uses.pending.values() for part in pending.parts)
