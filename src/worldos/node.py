"""The whole node as one pure machine: events in, effects out. It routes; the tables behind it own and decide.

``agent`` drives it on a real machine and ``sim`` drives many of them in one thread; what is tested is what runs. The node is
one value: every table holds only encodable fields, so ``msgspec.msgpack.encode(node)`` is a snapshot, and a snapshot plus the
events since then gives the same effects again (``wos replay``).

Inside a site every node is its own center: it chooses for its own programs among the offers that all nodes of the site tell
each other, and the node chosen grants or refuses (decision record 0007). What the site does not have is looked for above it, by
way of the centers of the realms (``kernel/realms.py``).
"""

from __future__ import annotations

from typing import assert_never, get_args

import msgspec

from worldos.errors import BadRequest
from worldos.kernel import belonging, foresight, lend_rules, lending, losses
from worldos.kernel.effects import Audit, Connect, Effect, Forget, Notice, Send, Tell
from worldos.kernel.events import (
    CharterAsked,
    ClientGone,
    ClockTicked,
    CommandCarried,
    DrainAsked,
    Event,
    GrantsHeld,
    GuardSet,
    KeyLogOffered,
    LaneFailed,
    LeaveAsked,
    LendSet,
    PathMeasured,
    PeerLinked,
    PeerSaid,
    PeerUnlinked,
    Persisted,
    RealmFounded,
    ResourcesScanned,
    StatementsOffered,
    UseAsked,
    UseEnded,
)
from worldos.kernel.held import HeldLeases
from worldos.kernel.household import Household, Path
from worldos.kernel.leases import Leases
from worldos.kernel.membership import Membership
from worldos.kernel.petitions import Petition
from worldos.kernel.question import check_need
from worldos.kernel.realms import RealmsAtStart, begin_realms
from worldos.kernel.registry import Registry
from worldos.kernel.uses import Pending, Uses
from worldos.model import limits
from worldos.model.audit import (
    AuditMessage,
    CheckpointSeen,
    CheckpointTold,
    ForkTold,
    PieceAsk,
    PieceTold,
    ReceiptAsk,
    ReceiptTold,
)
from worldos.model.ids import AccountId, NodeId
from worldos.model.local import UseRefused
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.realm import Level, RealmId, RealmMessage
from worldos.model.resource import Kind, ResourceState
from worldos.model.statements import StatementMessage, StatementsHave, StatementsKnown, StatementsTold
from worldos.model.swim import Ack, Nack, Ping, PingRequest, SendSwim, StatusChanged, SwimEffect
from worldos.model.wire import (
    KeyLogHave,
    KeyLogTold,
    LeaseAsk,
    LeaseConfirm,
    LeaseConfirmed,
    LeaseGone,
    LeaseGranted,
    LeaseMessage,
    LeaseRefused,
    LeaseRelease,
    LeaseRenew,
    LeaseRenewed,
    LeaseWaits,
    LeaseYield,
    LeaseYielding,
    OfferTold,
    PeerMessage,
    PeersTold,
)
from worldos.trust.keylog import KeyLog

NEVER_NS = limits.NEVER_NS


class Node(Household, kw_only=True):
    """One node. Make it with ``new_node``; feed it with ``handle``; call again at ``next_deadline_ns`` (``due_ns``)."""

    left: bool = False
    due_ns: int = 0

    def handle(self, event: Event) -> list[Effect]:
        """Take in one event; return what must be done about it, in order."""
        now_ns = event.now_ns
        if self.decisions.made:
            self.decisions.made = []
        queue = self._tick(now_ns) if now_ns >= self.due_ns else []
        queue += self._peer_said(event) if type(event) is PeerSaid else self._react(event)
        if self.dirty:
            queue.extend(self._tell_offer(now_ns))
        effects: list[Effect] = []
        realms, uses = self.realms, self.uses
        while True:
            for effect in queue:  # the queue grows while it is worked on: what a node says to itself is heard at once
                if type(effect) is Send and effect.node == self.node:
                    queue.extend(self._heard(now_ns, self.node, effect.message))
                else:
                    effects.append(effect)
            if self.leases.freed:
                self.dirty = True
                queue = self.leases.settle(now_ns)
            elif realms.changed or realms.found or uses.wanted:
                queue = self._follow_realms(now_ns)
            else:
                break
        self.decisions.follow(uses, self.leases, effects)
        self.due_ns = self.next_deadline_ns()
        return effects

    def next_deadline_ns(self) -> int:
        """Return when the node wants to be woken with ``ClockTicked``, on its own clock: then, or a little early."""
        expiries = self.leases.expiries
        told_ns = self.registry.told_ns + (limits.OFFER_PERIOD_MIN_NS if self.dirty else limits.OFFER_REFRESH_NS)
        due_ns = min(self.membership.due_ns, told_ns, self.uses.due_ns, self.uses.held.due_ns, self.realms.due_ns)
        due_ns = min(due_ns, self.upkeep.next_ns(self))
        return min(due_ns, expiries[0][0]) if expiries else due_ns

    def _react(self, event: Event) -> list[Effect]:
        now_ns = event.now_ns
        match event:
            case PeerSaid():
                return self._peer_said(event)
            case ClockTicked():
                return []
            case PathMeasured():
                return self._path_measured(event)
            case PeerLinked():
                return self._linked(event)
            case PeerUnlinked():
                return self._unlinked(now_ns, event.node)
            case ResourcesScanned():
                return self._scanned(event)
            case UseAsked():
                return self._use_asked(event)
            case UseEnded() | ClientGone():
                return self._ended(event)
            case LaneFailed():
                self.dirty = True
                return self.leases.fail(event.lease, event.why)
            case KeyLogOffered() | StatementsOffered() | GrantsHeld():
                return self._offered(event)
            case DrainAsked() | LendSet():
                return self._owner_said(event)
            case LeaveAsked():
                return self._leave(now_ns)
            case GuardSet() | CommandCarried():
                return self.upkeep.take(event, self)
            case Persisted() | CharterAsked() | RealmFounded():
                return self._realm_event(event)
            case _:
                assert_never(event)

    def _owner_said(self, event: DrainAsked | LendSet) -> list[Effect]:
        self.dirty = True
        if isinstance(event, DrainAsked):
            self.leases.drained = event.drained
            return self.registry.refresh(event.now_ns, self.leases)
        self.lend.lend = event.lend
        return lend_rules.look(self, event.now_ns)

    def _ended(self, event: UseEnded | ClientGone) -> list[Effect]:
        if isinstance(event, UseEnded):
            return self.uses.end(event.client, event.use)
        self.realms.end_client(event.client)
        return self.uses.end_client(event.client)

    def _offered(self, event: KeyLogOffered | StatementsOffered | GrantsHeld) -> list[Effect]:
        if isinstance(event, KeyLogOffered):
            return belonging.merge(self, event.now_ns, event.entries, None)
        if isinstance(event, GrantsHeld):
            self.uses.wallet = event.grants
            return []
        take = self.statements.restore if event.stored else self.statements.offer
        return take(event.now_ns, event.statements, self)

    def _peer_said(self, event: PeerSaid) -> list[Effect]:
        if not self.keylog.is_member(event.node):
            if not self.realms.kin.has(event.node):
                return [Notice(name="stranger refused", fields={"node": event.node})]
            if not isinstance(event.message, FOR_KIN):
                return [Notice(name="out of place", fields={"node": event.node, "said": type(event.message).__name__})]
        if event.node in self.clones.cloned:
            return []
        return self._heard(event.now_ns, event.node, event.message)

    def _heard(self, now_ns: int, peer: NodeId, message: PeerMessage) -> list[Effect]:
        match message:
            case Ping() | Ack() | PingRequest() | Nack():
                return self._swim(now_ns, self.membership.heard(now_ns, peer, message))
            case LeaseRenew():
                return lending.renewed(self, now_ns, peer, message)
            case LeaseRenewed():
                self.uses.held.renewed(peer, message)
                return []
            case OfferTold():
                return self._offer_told(peer, message.offer)
            case LeaseYielding():
                return self.leases.yields(now_ns, peer, message)
            case LeaseAsk() | LeaseConfirm() | LeaseRelease():
                return self.decisions.answered(peer, message, self._lease_asked(now_ns, peer, message))
            case LeaseGranted() | LeaseConfirmed() | LeaseRefused() | LeaseGone() | LeaseWaits() | LeaseYield():
                return self._lease_answered(now_ns, peer, message)
            case KeyLogHave():
                self.authority.revocations.heard_log(now_ns, peer, message, self)
                return belonging.tell(self, peer, message)
            case KeyLogTold():
                return belonging.merge(self, now_ns, message.entries, peer)
            case PeersTold():
                return self._peers_told(message)
            case StatementsHave() | StatementsKnown() | StatementsTold():
                return self.statements.heard(now_ns, peer, message, self)
            case (
                CheckpointTold()
                | CheckpointSeen()
                | ForkTold()
                | PieceAsk()
                | PieceTold()
                | ReceiptAsk()
                | ReceiptTold()
            ):
                return [Audit(node=peer, message=message)]
            case _:
                return self.realms.heard(now_ns, peer, message, self)

    def _lease_asked(self, now_ns: int, peer: NodeId, message: LeaseAsk | LeaseConfirm | LeaseRelease) -> list[Effect]:
        self.dirty = True
        match message:
            case LeaseAsk():
                return lending.asked(self, now_ns, peer, message)
            case LeaseConfirm():
                return self.leases.confirm(now_ns, peer, message)
            case LeaseRelease():
                return self.leases.release(peer, message)
            case _:
                assert_never(message)

    def _lease_answered(
        self,
        now_ns: int,
        peer: NodeId,
        message: LeaseGranted | LeaseConfirmed | LeaseRefused | LeaseGone | LeaseWaits | LeaseYield,
    ) -> list[Effect]:
        match message:
            case LeaseWaits():
                return self.uses.waits(now_ns, peer, message)
            case LeaseYield():
                return self.uses.held.yield_by(now_ns, peer, message.lease, message.grace_ns)
            case LeaseGranted():
                effects = self.uses.granted(now_ns, peer, message)
            case LeaseConfirmed():
                effects = self.uses.confirmed(now_ns, peer, message)
            case LeaseRefused():
                effects = self.uses.refused(now_ns, peer, message, self.usable_offers(), self.view(now_ns))
            case LeaseGone():
                return self._lease_gone(now_ns, peer, message)
            case _:
                assert_never(message)
        self.membership.focus(self.uses.held.nodes())
        return effects

    def _lease_gone(self, now_ns: int, peer: NodeId, message: LeaseGone) -> list[Effect]:
        lost = self.uses.held.gone(peer, message.lease, message.why)
        effects = losses.replace(self, now_ns, lost)
        return effects or self.uses.part_gone(now_ns, peer, message.lease, self.usable_offers(), self.view(now_ns))

    def _tick(self, now_ns: int) -> list[Effect]:
        effects = self._swim(now_ns, self.membership.tick(now_ns))
        expiries = self.leases.expiries
        if expiries and expiries[0][0] <= now_ns:
            self.dirty = True
            effects.extend(self.leases.expire(now_ns))
        if self.uses.held.due_ns <= now_ns:
            renewals, lost = self.uses.held.tick(now_ns)
            effects.extend(renewals)
            effects.extend(losses.replace(self, now_ns, lost))
        if self.uses.due_ns <= now_ns:
            effects.extend(self.uses.tick(now_ns, self.usable_offers(), self.view(now_ns)))
        if now_ns - self.registry.told_ns >= limits.OFFER_REFRESH_NS:
            self.dirty = True
        if self.realms.due_ns <= now_ns:
            effects.extend(self.realms.tick(now_ns, self))
        if now_ns >= self.compare_ns:
            effects.extend(belonging.compare(self, now_ns))
        if now_ns >= self.statements.compare_ns:
            effects.extend(self.statements.compare(now_ns, self))
        if self.quarantine.due_ns <= now_ns:
            effects.extend(self.quarantine.expire(now_ns, self))
        if self.upkeep.is_due(now_ns, self):
            effects.extend(self.upkeep.tick(now_ns, self))
        return effects

    def _tell_offer(self, now_ns: int) -> list[Effect]:
        effects = self.registry.refresh(now_ns, self.leases)
        self.registry.limited, self.registry.lent = self.lend.is_limited, lend_rules.told(self, now_ns)
        if now_ns - self.registry.told_ns < limits.OFFER_PERIOD_MIN_NS and self.registry.told is not None:
            self.registry.offers[self.node] = self.registry.own_offer(self.leases)
            return effects
        self.dirty = False
        offer = self.registry.tell(now_ns, self.leases)
        self.registry.offers[self.node] = offer or self.registry.own_offer(self.leases)
        if offer is not None and not self.left:
            effects.extend(Send(node=peer, message=OfferTold(offer=offer)) for peer in self.members())
        return effects

    def _linked(self, event: PeerLinked) -> list[Effect]:
        now_ns, peer = event.now_ns, event.node
        is_member = self.is_member(peer)
        if not is_member and not self.realms.kin.has(peer):
            return [Forget(node=peer, why="not a member")]
        effects = [*self.clones.linked(now_ns, peer, event.boot, self)]
        if any(isinstance(effect, Forget) for effect in effects):
            return effects
        if self.known_boots.get(peer, event.boot) != event.boot:
            self.dirty = True
            effects.extend(self.leases.drop_holder(peer, "its holder restarted"))
            effects.extend(losses.replace(self, now_ns, self.uses.held.node_dead(peer, "its node restarted")))
        is_new = peer not in self.paths
        self.known_boots[peer] = event.boot
        self.paths[peer] = Path(boot=event.boot)
        effects.extend(losses.trust(self, peer))
        if is_member:
            effects.extend(self._greet(now_ns, peer, event.boot))
        effects.extend(self.clones.introduce(peer, self))
        effects.extend(self.statements.greet(peer, self))
        effects.extend(self.realms.linked(now_ns, peer, self))
        if is_new:
            effects.append(Notice(name="node linked", fields={"node": peer}))
        return effects

    def _greet(self, now_ns: int, peer: NodeId, boot: int) -> list[Effect]:
        """Tell a member of the site that is linked now what members know of each other."""
        effects = self._swim(now_ns, self.membership.linked(now_ns, peer, boot))
        effects.append(Send(node=peer, message=KeyLogHave(heads=self.keylog.heads())))
        if self.registry.told is not None:
            effects.append(Send(node=peer, message=OfferTold(offer=self.registry.told)))
        others = tuple((n, o.addresses) for n, o in sorted(self.registry.offers.items()) if n != self.node)
        hints = tuple((n, addresses) for n, addresses in others if n != peer and addresses)
        if hints:
            effects.append(Send(node=peer, message=PeersTold(peers=hints)))
        return effects

    def _unlinked(self, now_ns: int, peer: NodeId) -> list[Effect]:
        """No way to a peer is left: doubt its leases at once, before it is asked whether it lives; ends nothing."""
        self.paths.pop(peer, None)
        effects = losses.doubt(self, now_ns, peer)
        if self.is_member(peer):
            effects.extend(self._swim(now_ns, self.membership.unlinked(now_ns, peer)))
        return [*effects, *self.realms.unlinked(now_ns, peer, self)]

    def _offer_told(self, peer: NodeId, offer: Offer) -> list[Effect]:
        """Take in an offer; where its node can be dialled is news for those who are not linked with it."""
        known = self.registry.offers.get(peer)
        effects = self.registry.hear(peer, offer)
        if offer.addresses and (known is None or known.addresses != offer.addresses):
            told = PeersTold(peers=((peer, offer.addresses),))
            effects.extend(Send(node=n, message=told) for n in self.members() if n != peer)
        return effects

    def _peers_told(self, message: PeersTold) -> list[Effect]:
        peers = [(n, a) for n, a in message.peers if n != self.node and n not in self.paths and self.is_member(n)]
        return [Connect(node=node, addresses=addresses) for node, addresses in peers]

    def _path_measured(self, event: PathMeasured) -> list[Effect]:
        path = self.paths.get(event.node)
        if path is None:
            return []
        moved = path.via != event.via
        path.rtt_us, path.via = event.rtt_us, event.via
        self.realms.path_measured(event.now_ns, event.node, event.rtt_us)
        if not moved:
            return []
        return [Notice(name="path", fields={"node": event.node, "via": event.via or "direct"})]

    def _scanned(self, event: ResourcesScanned) -> list[Effect]:
        self.dirty = True
        self.wall_ahead_ns = event.wall_ns - event.now_ns
        foreseen = foresight.news(self.registry.facts, event.facts)
        self.registry.facts = event.facts
        if self.realms.founding or self.registry.addresses != event.addresses:
            self.realms.due_ns = 0  # where this node is found is news for others
        self.registry.addresses = event.addresses
        self.lend.felt = event.felt
        effects = self.registry.scan(event.now_ns, event.wall_ns, event.resources, self.leases)
        return [*effects, *foreseen, *lend_rules.look(self, event.now_ns)]

    def _use_asked(self, event: UseAsked) -> list[Effect]:
        try:
            for need in event.needs:
                check_need(need)
            if len({need.realm for need in event.needs}) > 1:
                raise BadRequest("all parts of a gang are looked for in one realm", hint="say the same realm= for each")
        except BadRequest as error:
            refused = UseRefused(use=event.use, reason=str(error), hint=error.hint)
            return [Tell(client=event.client, message=refused)]
        pending = Pending(
            use=event.use,
            client=event.client,
            needs=tuple(self._placed(need) for need in event.needs),
            ttl_ns=event.ttl_ns,
            nonce=event.nonce,
            asked_ns=event.now_ns,
            grant=event.grant,
        )
        if self.dirty:  # a choice needs this node's own offer as it is now
            self.registry.offers[self.node] = self.registry.own_offer(self.leases)
        return self.uses.ask(event.now_ns, pending, self.usable_offers(), self.view(event.nonce))

    def _placed(self, need: Need) -> Need:
        """Say where a need of a program on this node points: what "me" is, and that a Network ends at its ``to``."""
        near = need.near or (need.to if need.kind == Kind.NETWORK else "")
        return msgspec.structs.replace(need, near=self.node if near == "me" else near)

    def _swim(self, now_ns: int, effects: list[SwimEffect]) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            if type(effect) is SendSwim:
                out.append(Send(node=effect.node, message=effect.message))
            elif type(effect) is StatusChanged:
                out.extend(losses.status_changed(self, now_ns, effect))
        return out

    def _follow_realms(self, now_ns: int) -> list[Effect]:
        """Take over what the realms came to, and give them what programs here want from further away."""
        effects: list[Effect] = []
        if self.realms.changed:
            self.realms.changed = False
            self._center_changed()
        found, self.realms.found = self.realms.found, []
        for done in found:
            key = self.looking.pop(done.bid, "")
            offers, view = self.usable_offers(), self.view(done.bid)
            effects.extend(self.uses.found(now_ns, key, done.candidates, done.why, offers, view))
        wanted, self.uses.wanted = self.uses.wanted, []
        for key in wanted:
            needs = self.uses.sought(key)
            bid, asks = self.realms.look_further(now_ns, needs, self) if needs else (0, [])
            effects.extend(asks)
            if bid:
                self.looking[bid] = key
                continue
            why = "no center can be asked now"
            effects.extend(self.uses.found(now_ns, key, (), why, self.usable_offers(), self.view(now_ns)))
        return effects

    def _center_changed(self) -> None:
        center = self.realms.centers.known.get(self.realms.site)
        self.uses.looks_further = self.realms.looks_further
        self.uses.path = center.path if center is not None else ""
        lends = center is not None and center.lend == "kin"
        if lends != self.registry.lends:
            self.registry.lends = lends
            self.dirty = True

    def _realm_event(self, event: Persisted | CharterAsked | RealmFounded) -> list[Effect]:
        if isinstance(event, Persisted):
            return self.realms.persisted(event.now_ns, event.realm, event.number, self)
        if isinstance(event, RealmFounded):
            return self.realms.found_realm(event.now_ns, event.realm, event.name, Level(event.level), self)
        petition = Petition(
            realm=event.realm,
            command=event.command,
            request=event.request,
            until_ns=event.now_ns + limits.PETITION_NS,
            client=event.client,
        )
        return self.realms.petition(event.now_ns, petition, self)

    def _leave(self, now_ns: int) -> list[Effect]:
        self.left = True
        effects: list[Effect] = []
        for lease in list(self.leases.leases):
            effects.extend(self.leases.fail(lease, "its node left"))
        for held in list(self.uses.held.leases.values()):
            effects.extend(self.uses.end_client(held.client))
        effects.extend(self._swim(now_ns, self.membership.leave(now_ns)))
        return effects


def new_node(  # noqa: PLR0913 - one call, by name, from the two shells
    *,
    node: NodeId,
    account: AccountId,
    boot: int,
    name: str,
    place: str,
    keylog: KeyLog,
    seed: int,
    now_ns: int,
    realms: RealmsAtStart | None = None,
) -> Node:
    """Make a node at the start of life number ``boot``; ``seed`` is where its probing order comes from.

    ``realms``: what is on its disk of the realms' councils; None for a node that is a center of nobody (an embedded one).
    """
    return Node(
        node=node,
        boot=boot,
        keylog=keylog,
        registry=Registry(node=node, owner=account, boot=boot, name=name, place=place),
        leases=Leases(node=node, boot=boot),
        uses=Uses(node=node, boot=boot, held=HeldLeases()),
        membership=Membership.begin(me=node, boot=boot, seed=seed, now_ns=now_ns),
        realms=begin_realms(me=node, site=RealmId(account), boot=boot, seed=seed, now_ns=now_ns, start=realms),
    )


FOR_KIN = (*get_args(RealmMessage), *get_args(LeaseMessage), *get_args(StatementMessage), *get_args(AuditMessage))
"""What nodes of other accounts may say at all; each part decides about the rest."""


def offline(offer: Offer) -> Offer:
    """Return the offer of a node that is gone as people should see it."""
    gone = tuple(msgspec.structs.replace(r, free=0, state=ResourceState.OFFLINE) for r in offer.resources)
    return msgspec.structs.replace(offer, resources=gone)
