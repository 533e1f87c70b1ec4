"""The agent's side towards other nodes: fabric, doors for lanes, and the claim door. An embedded node does without.

What the fabric sees becomes events of the node; what the node wants said goes out here.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from typing import Protocol

import msgspec

from worldos.agent import clock
from worldos.agent.addresses import is_loopback, reachable_addresses
from worldos.agent.claims import ClaimDoor, Confirmations
from worldos.agent.doors import Depot, FarDoors, NearDoors, PathOf
from worldos.agent.nets import Nets
from worldos.agent.realm_door import RealmDoor
from worldos.agent.realm_door import Realms as RealmsOfAgent
from worldos.agent.start import Started
from worldos.agent.work_door import WorkDoor
from worldos.errors import BadRequest, NotAllowed, PeerBroke, WorldError
from worldos.fabric.channel import Channel
from worldos.fabric.host import Fabric, Identity, Statistics
from worldos.fabric.limits import BEACON_FACTS_BYTES_MAX
from worldos.fabric.tcp import parse_address
from worldos.kernel.effects import Notice
from worldos.kernel.events import Event, KeyLogOffered, PathMeasured, PeerLinked, PeerSaid, PeerUnlinked
from worldos.model import wire
from worldos.model.ids import LeaseId, NodeId
from worldos.model.raft import AppendAnswer
from worldos.model.realm import Contact, RaftSaid, RealmId
from worldos.model.swim import Ack
from worldos.model.work_wire import WorkMessage, WorkRaft
from worldos.trust.entries import AddDevice, read_entry
from worldos.trust.keylog import SignedEntry
from worldos.trust.pairing import PeerHint
from worldos.trust.roots import root_certificate

RTT_UNKNOWN_US = 1000


class Owner(Protocol):
    """The agent, as its network sees it: with the site's work beside its node."""

    work: WorkDoor

    def feed(self, event: Event) -> None:
        """Let the node take in an event, and carry out what it wants done."""

    def note(self, notice: Notice) -> None:
        """Say that something happened."""


class Network:
    """All that reaches other machines. ``attach`` it to its agent before ``start``."""

    def __init__(
        self,
        started: Started,
        listen: tuple[str, int],
        path_of: PathOf,
        owner: Owner,
        depot: Depot | None = None,
        nets: Nets | None = None,
    ) -> None:
        self.node = started.node
        self.listen = listen
        self._owner = owner
        self._remembered = started.remembered
        self._root = root_certificate(started.key)
        registry = self.node.registry
        settings = started.settings
        self.fabric = Fabric(
            Identity(key=started.key, account=registry.owner, boot=self.node.boot),
            self,
            members=self._members(),
            listen=listen,
            beacon=settings.discover and not is_loopback(listen[0]),
            relay=settings.relay,
        )
        self._far = FarDoors(started.home.run_folder / "far", self.fabric)
        self._near = NearDoors(self.node.leases.is_live, path_of, depot, nets)
        self.claim_door = ClaimDoor(self, started.key, registry.name, self.node.keylog, listen)
        self.confirmations = Confirmations()
        self._key = started.key
        self._realm_door: RealmDoor | None = None

    async def start(self) -> None:
        """Listen, and begin to look for the other members."""
        self._far.make_folder()
        self._tell_admission()
        await self.fabric.start()
        for peer, addresses in self._remembered.peers.items():
            self.fabric.connect(peer, addresses)

    async def close(self) -> None:
        """Close every door and link."""
        self.claim_door.close()
        if self._realm_door is not None:
            self._realm_door.close()
        self.keep_doors(())
        self._far.keep_depots(lambda _node, _lease: False)
        await self.fabric.close()

    # -- what the node wants done -----------------------------------------------------------------------------------------

    def send(self, node: NodeId, message: wire.Message) -> None:
        """Send a message to a node."""
        self.fabric.send(node, wire.encode(message), pressing=not _is_heartbeat_answer(message))

    def forget(self, node: NodeId, why: str) -> None:
        """Say what is still to be said to a node, and cut every link to it; one of another account is welcome no more."""
        self.fabric.flush_dirty()
        self.fabric.part(node, why)
        self.fabric.forget(node, why)

    def welcome(self, contact: Contact) -> None:
        """Believe a node of another account, and keep a link to it. What cannot be so is noted, and nothing else."""
        if self.node.is_member(contact.node):
            return
        try:
            if (
                contact.site == RealmId(self.node.registry.owner)
                or self.node.keylog.members().get(contact.node) is not None
            ):
                raise NotAllowed("the key log alone says who is of this account")
            addresses = [address for address in contact.addresses if _can_be_dialed(address)]
            self.fabric.welcome(contact.node, contact.root_cert, addresses)
        except WorldError as error:
            self._owner.note(Notice(name="contact refused", fields={"node": contact.node, "why": str(error)}))

    def connect(self, node: NodeId, addresses: tuple[str, ...]) -> None:
        """Keep a link to a node."""
        self.fabric.connect(node, addresses)

    def members_changed(self) -> None:
        """Take over who is a member now: links of removed ones close at once."""
        self.fabric.set_members(self._members())
        self._tell_admission()

    def realm_door(self, realms: RealmsOfAgent) -> RealmDoor:
        """Return the door at which other realms ask to go below one of ours."""
        if self._realm_door is None:
            self._realm_door = RealmDoor(realms, self._key, self.node.registry.owner, self.listen)
        return self._realm_door

    async def open_doors(self, lease: LeaseId, node: NodeId, workers: int) -> tuple[str, ...]:
        """Lay out sockets for the workers of a far lease."""
        return await self._far.open(lease, node, workers)

    def lease_ended(self, lease: LeaseId) -> None:
        """Cut what came in by right of a lease of ours that has ended."""
        self._near.lease_ended(lease)

    async def open_depot(self, node: NodeId, lease: str = "") -> str:
        """Lay out a socket for the depot of a node."""
        return await self._far.open_depot(node, lease)

    def close_doors(self, lease: LeaseId) -> None:
        """Take the sockets of a far lease away."""
        self._far.close(lease)

    def keep_doors(self, leases: Container[LeaseId]) -> None:
        """Take the sockets of all leases away that programs here do not hold any more."""
        self._far.keep(leases)
        self._far.keep_depots(lambda _, lease: not lease or lease in leases)

    # -- what the fabric sees (fabric.peer.Handler) -------------------------------------------------------------------------

    def on_peer(self, node: NodeId, boot: int, via: str, rtt_us: int) -> None:
        """A member can be reached."""
        now_ns = clock.now_ns()
        self._owner.feed(PeerLinked(now_ns=now_ns, node=node, boot=boot))
        self._owner.feed(PathMeasured(now_ns=now_ns, node=node, rtt_us=rtt_us or RTT_UNKNOWN_US, via=via))
        self._owner.work.linked(node)

    def on_peer_lost(self, node: NodeId, reason: str) -> None:
        """No link to a member is left."""
        del reason  # the node draws its own conclusions
        self._owner.feed(PeerUnlinked(now_ns=clock.now_ns(), node=node))
        self._owner.work.unlinked(node)

    def on_message(self, node: NodeId, message: bytes) -> None:
        """A member said something."""
        try:
            said = wire.decode(message)
        except PeerBroke as error:
            self._owner.note(Notice(name="bad message", fields={"node": node, "why": str(error)}))
            return
        if isinstance(said, WorkMessage):
            self._owner.work.heard(node, said)
            return
        self._owner.feed(PeerSaid(now_ns=clock.now_ns(), node=node, message=said))

    def on_undelivered(self, node: NodeId, messages: list[bytes]) -> None:
        """A session ended with messages under way: leases time out by themselves."""
        self._owner.note(Notice(name="undelivered", fields={"node": node, "messages": len(messages)}))

    def on_path(self, node: NodeId, via: str, rtt_us: int) -> None:
        """The way to a member changed."""
        self._owner.feed(PathMeasured(now_ns=clock.now_ns(), node=node, rtt_us=rtt_us, via=via))

    def on_beacon(self, node: NodeId, account: str, address: str, facts: bytes) -> None:
        """Hear a machine nearby that says it is of our account; one we do not know may bring its admission along.

        The fabric dials members by itself. A beacon proves nothing: the entry does, by its signatures, or is refused.
        """
        del account
        if not self.node.is_member(node) and facts:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                entry = msgspec.msgpack.decode(facts, type=wire.LogEntry)
                self._owner.feed(KeyLogOffered(now_ns=clock.now_ns(), entries=(entry,)))
            if self.node.is_member(node):
                self.fabric.connect(node, (address,))

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        """A member wants to reach a worker."""
        self._near.on_channel(node, channel, hello)

    # -- what the claim door needs (claims.Owner) -----------------------------------------------------------------------------

    def admit(self, entry: SignedEntry) -> None:
        """Take in the admission of a device; the key log is on disk when this returns."""
        entries = ((entry.body, entry.signature),)
        self._owner.feed(KeyLogOffered(now_ns=clock.now_ns(), entries=entries))

    def hints(self) -> tuple[PeerHint, ...]:
        """Say where every device of the account was last seen, this one first."""
        offers = self.node.registry.offers
        here = PeerHint(node=self.node.node, name=self.node.registry.name, addresses=self.addresses())
        others = [
            PeerHint(node=device.node, name=device.name, addresses=offers[device.node].addresses)
            for device in self.node.keylog.members().active
            if device.node in offers and device.node != self.node.node
        ]
        return (here, *others)

    # -- what people see ------------------------------------------------------------------------------------------------------

    def addresses(self) -> tuple[str, ...]:
        """Return where other machines can dial this one."""
        return reachable_addresses(self.listen[0], self.fabric.port) if self.fabric.port else ()

    def contact(self) -> Contact:
        """Return what a node of another account needs to know of this one to link with it."""
        registry = self.node.registry
        return Contact(
            node=self.node.node,
            name=registry.name,
            site=RealmId(registry.owner),
            root_cert=self._root,
            addresses=self.addresses(),
        )

    def statistics(self) -> Statistics:
        """Return a snapshot of all links."""
        return self.fabric.statistics()

    def _tell_admission(self) -> None:
        """Let every beacon carry the entry that admitted this device, for members that have not heard of it."""
        for signed in reversed(self.node.keylog.entries.values()):
            entry = read_entry(signed)
            if isinstance(entry, AddDevice) and entry.device == self.node.node:
                facts = msgspec.msgpack.encode((signed.body, signed.signature))
                if len(facts) <= BEACON_FACTS_BYTES_MAX:
                    self.fabric.set_facts(facts)
                return

    def _members(self) -> dict[NodeId, bytes]:
        return {device.node: device.root_cert for device in self.node.keylog.members().active}


def _is_heartbeat_answer(message: wire.Message) -> bool:
    """Tell what is said many times a second because it was asked, and is asked again whether it arrived or not."""
    if isinstance(message, RaftSaid | WorkRaft):
        return isinstance(message.message, AppendAnswer)
    return isinstance(message, Ack)


def _can_be_dialed(address: str) -> bool:
    try:
        parse_address(address)
    except BadRequest:
        return False
    return True
