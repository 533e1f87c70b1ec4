"""The realms that this node belongs to: it routes what centers say to each other, and owns who is believed.

A node has at most one *seat* in each council (seat.py), a *reign* for each realm whose primary it is (reign.py), and a belief who
is the center of each realm around it (centers.py). A site's nodes find leases without a center; the center is for what comes from
above and goes there, and for what must be unique. So when it is lost nothing stops: the council elects, and where it has no
majority the best of those that see each other stands in (island.py) until a legitimate primary is heard again.

Invariants: what comes with an older epoch than the newest seen of its realm changes nothing. A legitimate primary acts only while
its seat says so at this moment. Nobody is linked without a reason in ``kin``. Source: DESIGN.md sections 2 and 6.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.bid_route import ChildRoute, Route
from worldos.kernel.bids import BidDone, BidResult, Bids, ChildDoubted
from worldos.kernel.candidates import candidates
from worldos.kernel.centers import Centers
from worldos.kernel.charter import ChildCouncil, ChildLeft, decode_command, encode_command, name_from
from worldos.kernel.children import Children
from worldos.kernel.council import Sitter
from worldos.kernel.effects import Effect, Notice, Send, Unseat
from worldos.kernel.fitness import fitness
from worldos.kernel.house import House
from worldos.kernel.island import Island
from worldos.kernel.kin import Kin
from worldos.kernel.petitions import Petition, Petitions
from worldos.kernel.raft.pace import LAN, WAN, Pace
from worldos.kernel.reign import Reign, below, center_by
from worldos.kernel.seat import CharterChanged, Outcome, PrimaryBegan, PrimaryEnded, Proposed, Seat, Unseated
from worldos.kernel.stored import Recovered
from worldos.kernel.summary import differs, summarize
from worldos.kernel.superior import Superiors
from worldos.model import limits
from worldos.model.ids import ClientId, NodeId
from worldos.model.need import Need
from worldos.model.realm import (
    BidAnswer,
    BidAsk,
    Candidate,
    Center,
    CenterAsk,
    CenterTold,
    Contact,
    Epoch,
    GuestTold,
    Level,
    ProposeAnswer,
    ProposeAsk,
    RaftSaid,
    RealmId,
    RealmMessage,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
    rank,
)

SITE_STAND_INS = 8  # contacts of a site that its superior is told: the council, then the fittest others


class Realms(msgspec.Struct, kw_only=True):
    """All realms around one node. ``off``: an embedded node, which has no center and no council.

    ``name`` and ``level`` are what the site is called if this node founds it (``founding``). ``changed`` says that the site's
    center changed, ``found`` what bids came to: the node takes both over after each step.
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
    look_ns: int = 0
    due_ns: int = 0

    # -- time -----------------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, house: House) -> list[Effect]:
        """Do what is due."""
        if self.off:
            self.due_ns = limits.NEVER_NS
            return []
        effects = self._found_site(now_ns, house)
        for seat in list(self.seats.values()):
            if seat.due_ns <= now_ns:
                effects += self._sat(now_ns, seat, seat.tick(now_ns), house)
            reign = self.reigns.get(seat.realm)
            if (reign is None or reign.epoch.provisional) and seat.is_primary(now_ns):  # it had no address at first
                effects += self._reign_by(now_ns, seat, seat.epoch, house)
        if self.look_ns <= now_ns or self.island.due_ns <= now_ns:
            effects += self._look_for_center(now_ns, house)
        for reign in list(self.reigns.values()):
            effects += self._reign(now_ns, reign, house)
        if self.bids.due_ns <= now_ns:
            effects += self._bid_results(now_ns, self.bids.tick(now_ns), house)
        if self.kin.due_ns <= now_ns:
            effects += self._part(now_ns, house)
        effects += self._petition_again(now_ns, house)
        self.due_ns = self._next_ns()
        return effects

    def _next_ns(self) -> int:
        due_ns = min(self.look_ns, self.island.due_ns, self.bids.due_ns, self.kin.due_ns, self.petitions.due_ns)
        for seat in self.seats.values():
            due_ns = min(due_ns, seat.due_ns)
        for reign in self.reigns.values():
            due_ns = min(due_ns, reign.look_ns, reign.children.due_ns, reign.superiors.due_ns)
        for island in self.islands.values():
            due_ns = min(due_ns, island.due_ns)
        return due_ns

    def _soon(self, now_ns: int) -> None:
        self.due_ns = now_ns

    # -- who is the center of the site -----------------------------------------------------------------------------------------

    def _found_site(self, now_ns: int, house: House) -> list[Effect]:
        """Begin the council of a site that never had one, on its first device."""
        me = house.contact_of(self.me) if self.founding else None
        if me is None:
            return []
        self.founding = False
        return self.found_realm(now_ns, self.site, self.name, self.level, house)

    def found_realm(self, now_ns: int, realm: RealmId, name: str, level: Level, house: House) -> list[Effect]:
        """Begin a realm with this node as its whole council."""
        me = house.contact_of(self.me)
        if me is None or realm in self.seats or len(self.seats) >= limits.SEATS_MAX:
            return [Notice(name="realm not founded", fields={"realm": realm})]
        seat, outcome = Seat.found(realm, me, name, level, self.seed, now_ns, self._pace(level))
        self.seats[realm] = seat
        return self._sat(now_ns, seat, outcome, house)

    def recover(self, now_ns: int, realm: RealmId, recovered: Recovered) -> list[Effect]:
        """Take a seat again with what the disk has of it. The shell calls this before the node takes in anything."""
        self.founding = False
        pace = LAN if realm == self.site else WAN
        seat, outcome = Seat.recover(realm, self.me, recovered, self.seed, now_ns, pace)
        self.seats[realm] = seat
        self.due_ns = now_ns
        return outcome.effects

    def _pace(self, level: Level) -> Pace:
        """Return how quick a council is: those of nations and planets sit far from each other."""
        return LAN if level < Level.NATION else WAN

    def _look_for_center(self, now_ns: int, house: House) -> list[Effect]:
        """Stand in where the site's center cannot be reached; and where this node is no center, look again when told."""
        self.look_ns = now_ns + limits.CENTER_LOOK_NS
        known = self.centers.known.get(self.site)
        alive = house.alive()
        reachable = self.site in self.reigns or (
            known is not None and known.primary.node != self.me and known.primary.node in alive
        )
        ranking = [] if reachable else ranked(alive, house)
        if not self.island.look(now_ns, reachable=reachable, ranking=ranking, me=self.me):
            return []
        me = house.contact_of(self.me)
        if me is None:
            return []
        epoch = self.centers.next_provisional(self.site)
        old = known or self._unknown_site(me)
        center = msgspec.structs.replace(old, epoch=epoch, primary=me)
        self.island.look(now_ns, reachable=True, ranking=[], me=self.me)
        return self._begin(now_ns, self.site, center, house)

    def _unknown_site(self, me: Contact) -> Center:
        return Center(
            realm=self.site,
            name=self.name,
            level=self.level,
            epoch=Epoch(),
            primary=me,
            council=(),
            path=self.name,
            lineage=(self.site,),
        )

    # -- reigns ---------------------------------------------------------------------------------------------------------------

    def _begin(self, now_ns: int, realm: RealmId, center: Center, house: House) -> list[Effect]:
        """This node is the primary of a realm from now on."""
        self.centers.hear(center)
        old = self.reigns.get(realm)
        if old is not None:
            reign = old
            reign.epoch, reign.center, reign.told_ns = center.epoch, center, 0
        else:
            reign = Reign(
                realm=realm,
                epoch=center.epoch,
                children=Children(realm=realm),
                superiors=Superiors(node=self.me, realm=realm),
                center=center,
            )
            self.reigns[realm] = reign
            for node, rtt_us in sorted(house.view(0).rtt_us.items()):  # links that were there before the reign
                reign.superiors.path_measured(now_ns, node, rtt_us)
        self.islands.pop(realm, None)
        self._site_changed(realm)
        fields: dict[str, str | int] = {"realm": center.path, "epoch": center.epoch.number, "primary": self.me}
        name = "island" if center.epoch.provisional else "center"
        effects: list[Effect] = [Notice(name=name, fields=fields)]
        effects += self._rebuild(now_ns, reign, house)
        effects += self._tell(now_ns, reign, house)
        self._soon(now_ns)
        return effects

    def _end(self, now_ns: int, realm: RealmId, house: House, successor: Center | None = None) -> list[Effect]:
        """This node is the primary of a realm no more; its children are told where to go, if that is known."""
        reign = self.reigns.pop(realm, None)
        if reign is None:
            return []
        effects: list[Effect] = [
            Notice(name="center ended", fields={"realm": reign.center.path, "epoch": reign.epoch.number})
        ]
        for child in reign.children.children.values():
            refused = RegisterRefused(parent=realm, child=child.realm, why="its center changed", center=successor)
            effects.append(Send(node=child.primary, message=refused))
        self._site_changed(realm)
        effects += self._rewelcome(now_ns, house)
        self._soon(now_ns)
        return effects

    def _reign(self, now_ns: int, reign: Reign, house: House) -> list[Effect]:
        """Look after one realm: children that are silent, the superior, the council, what is told."""
        if not self._reigns(now_ns, reign.realm):
            return self._end(now_ns, reign.realm, house)
        effects: list[Effect] = []
        if reign.children.due_ns <= now_ns:
            effects += reign.children.tick(now_ns)
        if rank(reign.superiors.seen) > rank(reign.epoch) and not reign.epoch.provisional:
            effects += self._outbid(now_ns, reign.realm, reign.superiors.seen, house)
        if reign.look_ns <= now_ns:
            reign.look_ns = now_ns + limits.CENTER_LOOK_NS
            effects += self._rebuild(now_ns, reign, house)
            self._sum_up(now_ns, reign, house)
            effects += self._stand_in_above(now_ns, reign, house)
            seat = self.seats.get(reign.realm)
            if seat is not None and not reign.epoch.provisional:
                effects += self._sat(now_ns, seat, seat.tend(now_ns, self._seatable(reign, house)), house)
        if now_ns - reign.told_ns >= limits.CENTER_TELL_NS:
            effects += self._tell(now_ns, reign, house)
        effects += self._superior(now_ns, reign, house)
        return effects

    def _reigns(self, now_ns: int, realm: RealmId) -> bool:
        """Tell whether this node may act as the primary of a realm at this moment."""
        reign = self.reigns.get(realm)
        if reign is None or self.centers.is_stale(realm, reign.epoch):
            return False
        seat = self.seats.get(realm)
        return reign.epoch.provisional or (seat is not None and seat.is_primary(now_ns))

    def _rebuild(self, now_ns: int, reign: Reign, house: House) -> list[Effect]:
        """Say anew what the center is; tell it where it changed."""
        me = house.contact_of(self.me)
        if me is None:
            return []
        old, seat = reign.center, self.seats.get(reign.realm)
        if seat is not None and not reign.epoch.provisional:
            center = center_by(seat.charter, me, reign.epoch, old)
        else:
            center = msgspec.structs.replace(old, primary=me, epoch=reign.epoch)
        center = below(center, reign.superiors.center())
        heirs = reign.children.heirs() or center.heirs
        center = msgspec.structs.replace(center, heirs=heirs, load_permille=reign.children.load_permille())
        reign.superiors.allow(now_ns, self._contacts_above(center))
        if center == old and reign.told_ns:
            return []
        reign.center = center
        self.centers.known[reign.realm] = center
        self._site_changed(reign.realm)
        effects = self._rewelcome(now_ns, house)
        return effects + self._tell(now_ns, reign, house)

    def _contacts_above(self, center: Center) -> dict[RealmId, tuple[Contact, ...]]:
        """Return who may know the center of each allowed parent: its council as the charter has it, then its heirs."""
        above: dict[RealmId, tuple[Contact, ...]] = {}
        for parent in center.parents:
            known = self.centers.known.get(parent.realm)
            above[parent.realm] = (*parent.contacts, *(known.heirs if known is not None else ()))
        return above

    def _tell(self, now_ns: int, reign: Reign, house: House) -> list[Effect]:
        reign.told_ns = now_ns
        told = CenterTold(center=reign.center)
        return [Send(node=node, message=told) for node in self._audience(reign, house)]

    def _audience(self, reign: Reign, house: House) -> list[NodeId]:
        """Return who is to know of a reign: a site's members; of a realm above, its council and who speaks for its children."""
        if reign.realm == self.site:
            return [node for node in house.members() if node != self.me]
        contacts = [*reign.center.council, *reign.center.heirs]
        nodes = {contact.node for contact in contacts} | {child.primary for child in reign.children.children.values()}
        return sorted(node for node in nodes if node != self.me)

    def _sum_up(self, now_ns: int, reign: Reign, house: House) -> None:
        """Say anew what the realm has free; the superior is told if that changed by more than a tenth."""
        if reign.realm == self.site:
            summary = summarize(house.site_offers().values(), lend=reign.center.lend == "kin")
        else:
            summary = reign.children.summary()
        if reign.superiors.said is None or differs(reign.superiors.said.summary, summary):
            reign.superiors.due_ns = min(reign.superiors.due_ns, now_ns)
        reign.summary = summary

    def _superior(self, now_ns: int, reign: Reign, house: House) -> list[Effect]:
        """Be registered with the best superior that there is."""
        if reign.superiors.due_ns > now_ns or not (reign.center.parents or reign.superiors.parents):
            return []
        register = Register(
            parent=reign.realm,
            child=reign.realm,
            name=reign.center.name,
            level=reign.center.level,
            epoch=reign.epoch,
            council=self._speakers(reign, house),
            fitness=self._fitness(house),
            summary=reign.summary,
        )
        return reign.superiors.tick(now_ns, register)

    def _stand_in_above(self, now_ns: int, reign: Reign, house: House) -> list[Effect]:
        """Keep a realm above together where its council cannot be reached and this node is the first of the heirs that can."""
        effects: list[Effect] = []
        me = house.contact_of(self.me)
        for parent in list(reign.superiors.parents.values()):
            center = self.centers.known.get(parent.realm)
            if center is None or me is None or parent.realm in self.reigns:
                continue
            ranking = [heir.node for heir in center.heirs if house.is_linked(heir.node)]
            if self.me not in ranking:
                continue
            island = self.islands.setdefault(parent.realm, Island())
            reachable = bool(reign.superiors.active)
            if island.look(now_ns, reachable=reachable, ranking=ranking, me=self.me):
                epoch = self.centers.next_provisional(parent.realm)
                stand_in = msgspec.structs.replace(center, epoch=epoch, primary=me)
                effects += self._begin(now_ns, parent.realm, stand_in, house)
        return effects

    def _speakers(self, reign: Reign, house: House) -> tuple[Contact, ...]:
        """Return who may speak for a realm, its primary first: its council, then who would stand in."""
        contacts = {contact.node: contact for contact in (reign.center.primary, *reign.center.council)}
        if reign.realm == self.site:
            for node in ranked(house.alive(), house):
                contact = house.contact_of(node)
                if contact is not None and len(contacts) < SITE_STAND_INS:
                    contacts.setdefault(node, contact)
        else:
            for contact in reign.center.heirs:
                if len(contacts) < SITE_STAND_INS:
                    contacts.setdefault(contact.node, contact)
        return tuple(contacts.values())[:SITE_STAND_INS]

    def _fitness(self, house: House) -> int:
        offer = house.site_offers().get(self.me)
        return 0 if offer is None else fitness(offer)

    def _seatable(self, reign: Reign, house: House) -> tuple[Sitter, ...]:
        """Return who could sit in a realm's council, as this node sees them: members of a site, or primaries of children."""
        if reign.realm == self.site:
            offers, alive = house.site_offers(), set(house.alive())
            contacts = {node: contact for node in offers if (contact := house.contact_of(node)) is not None}
            fit = {node: fitness(offers[node]) for node in contacts}
        else:
            contacts = {child.primary: child.council[0] for child in reign.children.children.values()}
            fit = {child.primary: child.fitness for child in reign.children.children.values()}
            me = house.contact_of(self.me)
            if me is not None:
                contacts[self.me], fit[self.me] = me, self._fitness(house)
            alive = {node for node in contacts if house.is_linked(node)}
        for contact in self.seats[reign.realm].charter.seats:
            contacts.setdefault(contact.node, contact)
            if reign.realm != self.site and house.is_linked(contact.node):
                alive.add(contact.node)
        return tuple(
            Sitter(contact=contacts[node], fitness=fit.get(node, 0), alive=node in alive) for node in sorted(contacts)
        )

    # -- seats ----------------------------------------------------------------------------------------------------------------

    def _sat(self, now_ns: int, seat: Seat, outcome: Outcome, house: House) -> list[Effect]:
        """Carry out what came of a seat."""
        effects = list(outcome.effects)
        for happening in outcome.happenings:
            match happening:
                case PrimaryBegan():
                    effects += self._reign_by(now_ns, seat, happening.epoch, house)
                case PrimaryEnded():
                    reign = self.reigns.get(seat.realm)
                    if reign is not None and not reign.epoch.provisional:
                        effects += self._end(now_ns, seat.realm, house)
                case CharterChanged():
                    effects += self._charter_changed(now_ns, seat, house)
                case Proposed():
                    effects += self.petitions.end(happening.number, happening.why)
                case Unseated():
                    self.seats.pop(seat.realm, None)
                    effects.append(Unseat(realm=seat.realm))
                    effects += self._rewelcome(now_ns, house)
                case _:
                    assert_never(happening)
        self.due_ns = min(self.due_ns, seat.due_ns)
        return effects

    def _reign_by(self, now_ns: int, seat: Seat, epoch: Epoch, house: House) -> list[Effect]:
        """Begin the reign that a charter gives this node."""
        me = house.contact_of(self.me)
        if me is None:
            return []
        center = center_by(seat.charter, me, epoch, self.centers.known.get(seat.realm))
        return self._begin(now_ns, seat.realm, center, house)

    def _charter_changed(self, now_ns: int, seat: Seat, house: House) -> list[Effect]:
        effects = self._rewelcome(now_ns, house)
        reign = self.reigns.get(seat.realm)
        if reign is not None:
            for child in sorted(reign.children.children.keys() - seat.charter.children.keys()):
                reign.children.leave(child)
            effects += self._rebuild(now_ns, reign, house)
            self._soon(now_ns)
        return effects

    def persisted(self, now_ns: int, realm: RealmId, number: int, house: House) -> list[Effect]:
        """What a seat wanted stored is on disk."""
        seat = self.seats.get(realm)
        return [] if seat is None else self._sat(now_ns, seat, seat.persisted(now_ns, number), house)

    def _raft_said(self, now_ns: int, peer: NodeId, message: RaftSaid, house: House) -> list[Effect]:
        seat = self.seats.get(message.realm)
        if seat is None:
            seat = self._invited(now_ns, peer, message.realm, house)
        if seat is None or not self._may_sit(peer, message.realm, house):
            return []
        return self._sat(now_ns, seat, seat.heard(now_ns, peer, message.message), house)

    def _may_sit(self, peer: NodeId, realm: RealmId, house: House) -> bool:
        return house.is_member(peer) if realm == self.site else self.kin.has(peer) or house.is_member(peer)

    def _invited(self, now_ns: int, peer: NodeId, realm: RealmId, house: House) -> Seat | None:
        """Take a seat that a council gives this node: of its own site, or of a realm that its own is allowed below."""
        asks = house.is_member(peer) if realm == self.site else self._is_above(realm, peer)
        if self.off or not asks or len(self.seats) >= limits.SEATS_MAX:
            return None
        me = house.contact_of(self.me)
        if me is None:
            return None
        seat = Seat.invited(realm, me, self.seed, now_ns, LAN if realm == self.site else WAN)
        self.seats[realm] = seat
        return seat

    def _is_above(self, realm: RealmId, peer: NodeId) -> bool:
        """Tell whether a node speaks for a realm that one of ours is allowed below."""
        for reign in self.reigns.values():
            parent = reign.superiors.parents.get(realm)
            if parent is not None and any(contact.node == peer for contact in parent.known()):
                return True
        return False

    # -- links ----------------------------------------------------------------------------------------------------------------

    def _rewelcome(self, now_ns: int, house: House) -> list[Effect]:
        """Let those come whom this node's seats and reigns are about, and nobody else for these reasons."""
        wanted: dict[str, list[Contact]] = {}
        for realm, seat in self.seats.items():
            if realm != self.site:
                wanted[f"council of {realm}"] = list(seat.charter.seats)
            for child, record in seat.charter.children.items():
                wanted[f"child {child}"] = list(record.council)
        for reign in self.reigns.values():
            wanted[f"superiors of {reign.realm}"] = list(reign.superiors.wanted())
            for registered in reign.children.children.values():
                wanted.setdefault(f"child {registered.realm}", list(registered.council))
        effects: list[Effect] = []
        for reason in sorted({*wanted, *self.kin.counts} - {GUEST}):
            contacts = [contact for contact in wanted.get(reason, ()) if not house.is_member(contact.node)]
            effects += self.kin.replace(now_ns, reason, contacts)
        return effects

    def _part(self, now_ns: int, house: House) -> list[Effect]:
        """Part with guests whose time is over, except those with whom there is business."""
        for node, kinsman in self.kin.table.items():
            if kinsman.reasons.get(GUEST, limits.NEVER_NS) <= now_ns and house.has_business(node):
                self.kin.welcome(now_ns, kinsman.contact, GUEST, now_ns + limits.GUEST_NS)
        return self.kin.expire(now_ns)

    def linked(self, now_ns: int, peer: NodeId, house: House) -> list[Effect]:
        """There is a way to a node: tell it whom this node is the primary of."""
        self._soon(now_ns)
        for reign in self.reigns.values():
            reign.superiors.linked(now_ns, peer)
        return [
            Send(node=peer, message=CenterTold(center=reign.center))
            for reign in self.reigns.values()
            if peer in self._audience(reign, house)
        ]

    def unlinked(self, now_ns: int, peer: NodeId, house: House) -> list[Effect]:
        """There is no way to a node any more: a hint for everybody who waits for it."""
        effects: list[Effect] = []
        for seat in list(self.seats.values()):
            effects += self._sat(now_ns, seat, seat.unlinked(now_ns, peer), house)
        for reign in self.reigns.values():
            reign.children.unlinked(now_ns, peer)
            reign.superiors.unlinked(now_ns, peer)
        effects += self._bid_results(now_ns, self.bids.unlinked(now_ns, peer), house)
        return effects + self.member_changed(now_ns, house)

    def member_changed(self, now_ns: int, house: House) -> list[Effect]:
        """A member of the site is in doubt, gone or back: look for the center at the next moment."""
        del house
        if not self.off:
            self.look_ns = now_ns
            self._soon(now_ns)
        return []

    def path_measured(self, now_ns: int, node: NodeId, rtt_us: int) -> None:
        """The way to a node was measured."""
        for reign in self.reigns.values():
            reign.children.path_measured(node, rtt_us)
            reign.superiors.path_measured(now_ns, node, rtt_us)
            self.due_ns = min(self.due_ns, reign.superiors.due_ns)

    # -- what centers say -----------------------------------------------------------------------------------------------------

    def heard(self, now_ns: int, peer: NodeId, message: RealmMessage, house: House) -> list[Effect]:
        """Take in a message about realms from a member or kin."""
        if self.off:
            return []
        match message:
            case RaftSaid():
                return self._raft_said(now_ns, peer, message, house)
            case CenterTold():
                return self._center_told(now_ns, peer, message.center, house)
            case CenterAsk():
                reign = self.reigns.get(message.realm)
                return [] if reign is None else [Send(node=peer, message=CenterTold(center=reign.center))]
            case Register():
                return self._register(now_ns, peer, message, house)
            case Registered():
                return self._registered(now_ns, peer, message, house)
            case RegisterRefused():
                return self._register_refused(now_ns, peer, message, house)
            case SummaryTold():
                return self._summary_told(now_ns, peer, message)
            case BidAsk():
                return self._bid_asked(now_ns, peer, message, house)
            case BidAnswer():
                return self._bid_results(now_ns, self.bids.answered(now_ns, peer, message), house)
            case GuestTold():
                return self._guest_told(now_ns, peer, message, house)
            case ProposeAsk():
                return self._propose_asked(now_ns, peer, message, house)
            case ProposeAnswer():
                return self.petitions.end(message.number, message.why) if self._is_asked(peer, message) else []
            case _:
                assert_never(message)

    def _center_told(self, now_ns: int, peer: NodeId, center: Center, house: House) -> list[Effect]:
        """A primary says who it is. Of two that meet, the one of the newer epoch stays; a legitimate one outbids an island."""
        realm = center.realm
        if peer != center.primary.node or peer == self.me or not self._concerns(peer, realm, house):
            return []
        mine = self.reigns.get(realm)
        if mine is None:
            return self._believe(now_ns, center, house)
        newer = rank(center.epoch) > rank(mine.epoch) or (center.epoch == mine.epoch and center.primary.node < self.me)
        if not newer:
            return [Send(node=peer, message=CenterTold(center=mine.center))]
        if self._reigns(now_ns, realm) and not mine.epoch.provisional and center.epoch.provisional:
            return self._outbid(now_ns, realm, center.epoch, house)
        return [*self._end(now_ns, realm, house, center), *self._believe(now_ns, center, house)]

    def _outbid(self, now_ns: int, realm: RealmId, seen: Epoch, house: House) -> list[Effect]:
        """A legitimate primary takes an epoch above that of an island that it met."""
        seat = self.seats.get(realm)
        known = self.centers.seen.get(realm, Epoch())
        if seat is None or seen.number > known.number + limits.EPOCH_LEAP_MAX:
            return []
        return self._sat(now_ns, seat, seat.raise_epoch(now_ns, seen), house)

    def _concerns(self, peer: NodeId, realm: RealmId, house: House) -> bool:
        if realm == self.site:
            return house.is_member(peer)
        return realm in self.seats or realm in self.reigns or self._is_above(realm, peer) or self._is_allowed(realm)

    def _is_allowed(self, realm: RealmId) -> bool:
        return any(realm in reign.superiors.parents for reign in self.reigns.values())

    def _believe(self, now_ns: int, center: Center, house: House) -> list[Effect]:
        if not self.centers.hear(center):
            return []
        self._site_changed(center.realm)
        effects: list[Effect] = []
        seat = self.seats.get(center.realm)
        if seat is not None:
            effects += self._sat(now_ns, seat, seat.center_told(now_ns, center), house)
        for reign in self.reigns.values():
            if center.realm in reign.superiors.parents:
                effects += reign.superiors.center_told(now_ns, center.primary.node, center)
                effects += self._rebuild(now_ns, reign, house)
        self._soon(now_ns)
        return effects

    def _site_changed(self, realm: RealmId) -> None:
        if realm == self.site:
            self.changed = True

    # -- registration ---------------------------------------------------------------------------------------------------------

    def _register(self, now_ns: int, peer: NodeId, message: Register, house: House) -> list[Effect]:
        reign = self.reigns.get(message.parent)
        if reign is None or not self._reigns(now_ns, message.parent):
            known = self.centers.known.get(message.parent)
            center = known if known is not None and known.primary.node not in (self.me, peer) else None
            why = "this node is not its center"
            refused = RegisterRefused(parent=message.parent, child=message.child, why=why, center=center)
            return [Send(node=peer, message=refused)]
        effects = reign.children.registered(
            now_ns, peer, message, reign.center, refusal=self._objection(reign, peer, message)
        )
        child = reign.children.children.get(message.child)
        seat = self.seats.get(message.parent)
        if child is None or child.primary != peer or seat is None or reign.epoch.provisional:
            return effects
        record = seat.charter.children.get(message.child)
        if record is not None and record.council != message.council:
            command = ChildCouncil(realm=message.child, epoch=message.epoch, council=message.council)
            effects += self._sat(now_ns, seat, seat.propose(now_ns, 0, encode_command(command)), house)
        self.due_ns = min(self.due_ns, reign.children.due_ns)
        return effects

    def _objection(self, reign: Reign, peer: NodeId, message: Register) -> str:
        """Say why a realm may not register here, or nothing. An island knows of the children only who may speak for them."""
        seat = self.seats.get(reign.realm)
        if seat is None:
            return "" if peer == self.me or self.kin.has(peer) else "not known here"
        record = seat.charter.children.get(message.child)
        if record is None:
            return "it is no child of this realm"
        speakers = {contact.node for contact in record.council}
        return "" if peer == self.me or peer in speakers else "this node does not speak for it"

    def _registered(self, now_ns: int, peer: NodeId, message: Registered, house: House) -> list[Effect]:
        reign = self.reigns.get(message.child)
        center = message.center
        if reign is None or center.primary.node != peer or center.realm not in reign.superiors.parents:
            return []
        if self.centers.is_stale(center.realm, center.epoch):
            return []
        effects = reign.superiors.registered(now_ns, peer, message)
        if center.realm not in self.reigns:
            self.centers.hear(center)
        return [*effects, *self._rebuild(now_ns, reign, house)]

    def _register_refused(self, now_ns: int, peer: NodeId, message: RegisterRefused, house: House) -> list[Effect]:
        reign = self.reigns.get(message.child)
        if reign is None:
            return []
        effects: list[Effect] = []
        if not reign.epoch.provisional and rank(message.seen) > rank(reign.epoch):
            effects += self._outbid(now_ns, message.child, message.seen, house)
        effects += reign.superiors.refused(now_ns, peer, message)
        effects += self._rewelcome(now_ns, house)
        self._soon(now_ns)
        return effects

    def _summary_told(self, now_ns: int, peer: NodeId, message: SummaryTold) -> list[Effect]:
        for reign in self.reigns.values():
            if message.child in reign.children.children:
                return reign.children.summary_told(now_ns, peer, message)
        return []

    # -- bids -----------------------------------------------------------------------------------------------------------------

    @property
    def looks_further(self) -> bool:
        """Tell whether there is somebody to ask for more than this site has."""
        center = self.centers.known.get(self.site)
        return not self.off and center is not None and bool(center.parents)

    def look_further(self, now_ns: int, needs: tuple[Need, ...], house: House) -> tuple[int, list[Effect]]:
        """Ask for candidates of other sites; ``found`` has them later under this number. 0: nobody can be asked."""
        center = self.centers.known.get(self.site)
        me = house.contact_of(self.me)
        if center is None or me is None:
            return 0, []
        bid, sends = self.bids.start(now_ns, me, needs, needs[0].realm, center.primary.node, self.site)
        self._soon(now_ns)
        return bid, list(sends)

    def _bid_asked(self, now_ns: int, peer: NodeId, ask: BidAsk, house: House) -> list[Effect]:
        reign = self.reigns.get(ask.realm)
        if reign is None or not self._reigns(now_ns, ask.realm):
            why = "this node is not the center of that realm"
            answer = BidAnswer(bid=ask.bid, home=ask.home.node, realm=ask.realm, candidates=(), why=why, hops=ask.hops)
            return [Send(node=peer, message=answer)]
        here: tuple[Candidate, ...] | None = None
        effects: list[Effect] = []
        if ask.realm == self.site and ask.home.site != self.site:
            here = self._candidates(now_ns, ask, reign, house)
            effects += self._introduce(now_ns, ask.home, here, reign)
        results = self.bids.asked(now_ns, peer, ask, self._route(now_ns, reign), here)
        return effects + self._bid_results(now_ns, results, house)

    def _candidates(self, now_ns: int, ask: BidAsk, reign: Reign, house: House) -> tuple[Candidate, ...]:
        view = house.view(ask.bid)
        view = msgspec.structs.replace(view, account=ask.home.site, home=ask.home.node)
        return candidates(
            needs=ask.needs,
            offers=list(house.site_offers().values()),
            view=view,
            contact_of=house.contact_of,
            realm=reign.realm,
            epoch=reign.epoch,
        )

    def _introduce(self, now_ns: int, guest: Contact, found: tuple[Candidate, ...], reign: Reign) -> list[Effect]:
        """Let the nodes that were named know who may come."""
        effects: list[Effect] = []
        for candidate in found:
            node = candidate.contact.node
            told = GuestTold(guest=guest, realm=reign.realm, epoch=reign.epoch, ttl_ns=limits.GUEST_NS)
            if node == self.me:
                effects += self.kin.welcome(now_ns, guest, GUEST, now_ns + limits.GUEST_NS)
            else:
                effects.append(Send(node=node, message=told))
        return effects

    def _guest_told(self, now_ns: int, peer: NodeId, message: GuestTold, house: House) -> list[Effect]:
        """The center of this site sends a guest; an older center's word counts for nothing."""
        known = self.centers.known.get(self.site)
        if message.realm != self.site or known is None or known.primary.node != peer or not house.is_member(peer):
            return []
        if self.centers.is_stale(self.site, message.epoch):
            return [Notice(name="stale center", fields={"node": peer, "epoch": message.epoch.number})]
        until_ns = now_ns + min(message.ttl_ns, limits.GUEST_NS)
        return self.kin.welcome(now_ns, message.guest, GUEST, until_ns)

    def _route(self, now_ns: int, reign: Reign) -> Route:
        return Route(
            realm=reign.realm,
            path=reign.center.path,
            superior=reign.superiors.superior(),
            children=tuple(
                ChildRoute(
                    realm=child.realm,
                    node=child.primary,
                    path=f"{reign.center.path}/{child.name}",
                    summary=child.summary,
                    credibility=reign.children.credibility(now_ns, child.realm),
                )
                for child in reign.children.children.values()
            ),
        )

    def _bid_results(self, now_ns: int, results: list[BidResult], house: House) -> list[Effect]:
        effects: list[Effect] = []
        for result in results:
            if isinstance(result, Send):
                effects.append(result)
            elif isinstance(result, ChildDoubted):
                reign = self.reigns.get(result.realm)
                if reign is not None:
                    reign.children.failed(now_ns, result.child)
            else:
                for candidate in result.candidates:
                    if not house.is_member(candidate.contact.node):
                        until_ns = now_ns + limits.GUEST_NS
                        effects += self.kin.welcome(now_ns, candidate.contact, GUEST, until_ns)
                self.found.append(result)
        self.due_ns = min(self.due_ns, self.bids.due_ns)
        return effects

    # -- commands for charters ------------------------------------------------------------------------------------------------

    def petition(self, now_ns: int, petition: Petition, house: House) -> list[Effect]:
        """Put a command into a charter, here or where its primary is; who asked is answered later."""
        number = self.petitions.begin(petition)
        if not number:
            return []
        self._soon(now_ns)
        return self._submit(now_ns, number, house)

    def _submit(self, now_ns: int, number: int, house: House) -> list[Effect]:
        petition = self.petitions.table[number]
        seat = self.seats.get(petition.realm)
        if seat is not None and self._reigns(now_ns, petition.realm):
            self.petitions.sent(number, self.me)
            return self._sat(now_ns, seat, seat.propose(now_ns, number, petition.command), house)
        center = self.centers.known.get(petition.realm)
        node = center.primary.node if center is not None else None
        if node is None or node == self.me or not house.is_linked(node) or center is None or center.epoch.provisional:
            self.petitions.wait(now_ns, number)
            return []
        self.petitions.sent(number, node)
        return [Send(node=node, message=ProposeAsk(realm=petition.realm, number=number, command=petition.command))]

    def _petition_again(self, now_ns: int, house: House) -> list[Effect]:
        effects = self.petitions.tick(now_ns)
        for number in self.petitions.due(now_ns):
            effects += self._submit(now_ns, number, house)
        return effects

    def _is_asked(self, peer: NodeId, message: ProposeAnswer) -> bool:
        return self.petitions.is_with(message.number, peer)

    def _propose_asked(self, now_ns: int, peer: NodeId, message: ProposeAsk, house: House) -> list[Effect]:
        """A member of the site, or a seat of the council, wants a command in the charter; a child may only leave."""
        why = self._petition_objection(now_ns, peer, message, house)
        if why:
            return [Send(node=peer, message=ProposeAnswer(realm=message.realm, number=message.number, why=why))]
        until_ns = now_ns + limits.PETITION_NS
        petition = Petition(
            realm=message.realm, command=message.command, request=message.number, until_ns=until_ns, peer=peer
        )
        return self.petition(now_ns, petition, house)

    def _petition_objection(self, now_ns: int, peer: NodeId, message: ProposeAsk, house: House) -> str:
        seat = self.seats.get(message.realm)
        if seat is None or not self._reigns(now_ns, message.realm):
            return "this node is not the primary: try again"
        if house.is_member(peer) if message.realm == self.site else seat.charter.contact_of(peer) is not None:
            return ""
        try:
            command = decode_command(message.command)
        except PeerBroke as error:
            return str(error)
        if isinstance(command, ChildLeft):
            record = seat.charter.children.get(command.realm)
            if record is not None and any(contact.node == peer for contact in record.council):
                return ""
        return "only the council of a realm changes its charter"

    def end_client(self, client: ClientId) -> None:
        """A program ended."""
        self.petitions.end_client(client)


GUEST = "guest"


def ranked(nodes: list[NodeId], house: House) -> list[NodeId]:
    """Return nodes of the site, the fittest first, by what all of them know of each other alike."""
    offers = house.site_offers()
    return sorted(nodes, key=lambda node: (-fitness(offers[node]) if node in offers else 0, node))


class RealmsAtStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has of its realms when its node begins a life.

    ``founding``: this is the first and only device of its account, which never had a council. ``name``: what its site is called
    then.
    """

    name: str
    level: Level = Level.PERSONAL
    founding: bool = False


def begin_realms(
    *, me: NodeId, site: RealmId, boot: int, seed: int, now_ns: int, start: RealmsAtStart | None
) -> Realms:
    """Make the realms' tables at the start of a life."""
    return Realms(
        me=me,
        site=site,
        name=name_from(start.name) if start is not None else "",
        level=start.level if start is not None else Level.PERSONAL,
        seed=seed,
        centers=Centers(),
        kin=Kin(me=me),
        bids=Bids(node=me, boot=boot),
        petitions=Petitions(),
        island=Island(),
        off=start is None,
        founding=start is not None and start.founding,
    )
