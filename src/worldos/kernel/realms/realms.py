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

from worldos.kernel.bids import Bids
from worldos.kernel.centers import Centers
from worldos.kernel.charter import name_from
from worldos.kernel.effects import Effect, Send
from worldos.kernel.house import House
from worldos.kernel.island import Island
from worldos.kernel.kin import Kin
from worldos.kernel.petitions import Petition, Petitions
from worldos.kernel.raft.pace import LAN, WAN
from worldos.kernel.realms import bidding, links, petitioning, registering, reigns, seating, tending, told
from worldos.kernel.realms.table import Table
from worldos.kernel.seat import Seat
from worldos.kernel.stored import Recovered
from worldos.model import limits
from worldos.model.ids import ClientId, NodeId
from worldos.model.need import Need
from worldos.model.realm import (
    BidAnswer,
    BidAsk,
    CenterTold,
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
)


class Realms(Table, kw_only=True):
    """All realms around one node, by what happens to it."""

    def tick(self, now_ns: int, house: House) -> list[Effect]:
        """Do what is due."""
        if self.off:
            self.due_ns = limits.NEVER_NS
            return []
        effects = self._found_site(now_ns, house)
        for seat in list(self.seats.values()):
            if seat.due_ns <= now_ns:
                effects += seating.sat(self, now_ns, seat, seat.tick(now_ns), house)
            reign = self.reigns.get(seat.realm)
            if (reign is None or reign.epoch.provisional) and seat.is_primary(now_ns):  # it had no address at first
                effects += seating.reign_by(self, now_ns, seat, seat.epoch, house)
        if self.look_ns <= now_ns or self.island.due_ns <= now_ns:
            effects += reigns.look_for_center(self, now_ns, house)
        for reign in list(self.reigns.values()):
            effects += tending.tend(self, now_ns, reign, house)
        if self.bids.due_ns <= now_ns:
            effects += bidding.came(self, now_ns, self.bids.tick(now_ns), house)
        if self.kin.due_ns <= now_ns:
            effects += links.part_with_guests(self, now_ns, house)
        effects += petitioning.again(self, now_ns, house)
        self.due_ns = self.next_ns()
        return effects

    def recover(self, now_ns: int, realm: RealmId, recovered: Recovered) -> list[Effect]:
        """Take a seat again with what the disk has of it. The shell calls this before the node takes in anything."""
        if self.founding and realm == self.site and not (recovered.entries or recovered.snapshot):
            return []  # the only device there ever was, and nothing of its council is left: it founds one
        self.founding = False
        pace = LAN if realm == self.site else WAN
        seat, outcome = Seat.recover(realm, self.me, recovered, self.seed, now_ns, pace)
        self.seats[realm] = seat
        self.due_ns = now_ns
        return outcome.effects

    def persisted(self, now_ns: int, realm: RealmId, number: int, house: House) -> list[Effect]:
        """What a seat wanted stored is on disk."""
        seat = self.seats.get(realm)
        return [] if seat is None else seating.sat(self, now_ns, seat, seat.persisted(now_ns, number), house)

    def linked(self, now_ns: int, peer: NodeId, house: House) -> list[Effect]:
        """There is a way to a node: tell it whom this node is the primary of."""
        self.soon(now_ns)
        for reign in self.reigns.values():
            reign.superiors.linked(now_ns, peer)
        return [
            Send(node=peer, message=CenterTold(center=reign.center))
            for reign in self.reigns.values()
            if peer in reigns.audience(self, reign, house)
        ]

    def unlinked(self, now_ns: int, peer: NodeId, house: House) -> list[Effect]:
        """There is no way to a node any more: a hint for everybody who waits for it."""
        effects: list[Effect] = []
        for seat in list(self.seats.values()):
            effects += seating.sat(self, now_ns, seat, seat.unlinked(now_ns, peer), house)
        for reign in self.reigns.values():
            reign.children.unlinked(now_ns, peer)
            reign.superiors.unlinked(now_ns, peer)
        effects += bidding.came(self, now_ns, self.bids.unlinked(now_ns, peer), house)
        self.member_changed(now_ns)
        return effects

    def member_changed(self, now_ns: int) -> None:
        """A member of the site is in doubt, gone or back: look for the center at the next moment."""
        if not self.off:
            self.look_ns = now_ns
            self.soon(now_ns)

    def path_measured(self, now_ns: int, node: NodeId, rtt_us: int) -> None:
        """The way to a node was measured."""
        for reign in self.reigns.values():
            reign.children.path_measured(node, rtt_us)
            reign.superiors.path_measured(now_ns, node, rtt_us)
            self.due_ns = min(self.due_ns, reign.superiors.due_ns)

    def heard(self, now_ns: int, peer: NodeId, message: RealmMessage, house: House) -> list[Effect]:
        """Take in a message about realms from a member or kin."""
        if self.off:
            return []
        match message:
            case RaftSaid():
                return seating.raft_said(self, now_ns, peer, message, house)
            case CenterTold():
                return told.center_told(self, now_ns, peer, message.center, house)
            case Register():
                return registering.register(self, now_ns, peer, message, house)
            case Registered():
                return registering.registered(self, now_ns, peer, message, house)
            case RegisterRefused():
                return registering.refused(self, now_ns, peer, message, house)
            case SummaryTold():
                return registering.summary_told(self, now_ns, peer, message)
            case BidAsk():
                return bidding.asked(self, now_ns, peer, message, house)
            case BidAnswer():
                return bidding.came(self, now_ns, self.bids.answered(now_ns, peer, message), house)
            case GuestTold():
                return bidding.guest_told(self, now_ns, peer, message, house)
            case ProposeAsk():
                return petitioning.asked(self, now_ns, peer, message, house)
            case ProposeAnswer():
                return (
                    self.petitions.end(message.number, message.why)
                    if self.petitions.is_with(message.number, peer)
                    else []
                )
            case _:
                assert_never(message)

    def end_client(self, client: ClientId) -> None:
        """A program ended."""
        self.petitions.end_client(client)

    def _found_site(self, now_ns: int, house: House) -> list[Effect]:
        """Begin the council of a site that never had one, on its first device."""
        me = house.contact_of(self.me) if self.founding else None
        if me is None:
            return []
        self.founding = False
        return seating.found(self, now_ns, self.site, self.name, self.level, house)

    def found_realm(self, now_ns: int, realm: RealmId, name: str, level: Level, house: House) -> list[Effect]:
        """Begin a realm with this node as its whole council."""
        return seating.found(self, now_ns, realm, name, level, house)

    def look_further(self, now_ns: int, needs: tuple[Need, ...], house: House) -> tuple[int, list[Effect]]:
        """Ask for candidates of other sites; ``found`` has them later under this number. 0: nobody can be asked."""
        return bidding.look_further(self, now_ns, needs, house)

    def petition(self, now_ns: int, petition: Petition, house: House) -> list[Effect]:
        """Put a command into a charter, here or where its primary is; who asked is answered later."""
        return petitioning.begin(self, now_ns, petition, house)


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
