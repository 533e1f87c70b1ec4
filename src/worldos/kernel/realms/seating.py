"""Seats: what comes of this node's part in councils."""

from __future__ import annotations

from typing import assert_never

from worldos.kernel.charter import ChildLeft, encode_command
from worldos.kernel.council import Sitter
from worldos.kernel.effects import Effect, Notice, Send, Unseat
from worldos.kernel.fitness import fitness
from worldos.kernel.house import House
from worldos.kernel.raft.pace import LAN, WAN, Pace
from worldos.kernel.realms import links, reigns
from worldos.kernel.realms.table import Table
from worldos.kernel.reign import Reign, center_by
from worldos.kernel.seat import CharterChanged, Outcome, PrimaryBegan, PrimaryEnded, Proposed, Seat, Unseated
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    CenterTold,
    Epoch,
    Level,
    ProposeAsk,
    RaftSaid,
    RealmId,
)


def found(table: Table, now_ns: int, realm: RealmId, name: str, level: Level, house: House) -> list[Effect]:
    """Begin a realm with this node as its whole council."""
    me = house.contact_of(table.me)
    if me is None or realm in table.seats or len(table.seats) >= limits.SEATS_MAX:
        return [Notice(name="realm not founded", fields={"realm": realm})]
    seat, outcome = Seat.found(realm, me, name, level, table.seed, now_ns, _pace(table, level))
    table.seats[realm] = seat
    return sat(table, now_ns, seat, outcome, house)


def sat(table: Table, now_ns: int, seat: Seat, outcome: Outcome, house: House) -> list[Effect]:
    """Carry out what came of a seat."""
    effects = list(outcome.effects)
    for happening in outcome.happenings:
        match happening:
            case PrimaryBegan():
                effects += reign_by(table, now_ns, seat, happening.epoch, house)
            case PrimaryEnded():
                reign = table.reigns.get(seat.realm)
                if reign is not None and not reign.epoch.provisional:
                    effects += reigns.end(table, now_ns, seat.realm, house)
            case CharterChanged():
                effects += _charter_changed(table, now_ns, seat, house)
            case Proposed():
                effects += table.petitions.end(happening.number, happening.why)
            case Unseated():
                effects += give_up(table, now_ns, seat.realm, house)
            case _:
                assert_never(happening)
    table.due_ns = min(table.due_ns, seat.due_ns)
    return effects


def give_up(table: Table, now_ns: int, realm: RealmId, house: House) -> list[Effect]:
    """Have no seat in a council any more."""
    if table.seats.pop(realm, None) is None:
        return []
    return [Unseat(realm=realm), *links.rewelcome(table, now_ns, house)]


def reign_by(table: Table, now_ns: int, seat: Seat, epoch: Epoch, house: House) -> list[Effect]:
    """Begin the reign that a charter gives this node; where an island was seen meanwhile, first in an epoch above it."""
    if table.centers.is_stale(seat.realm, epoch):
        return outbid(table, now_ns, seat.realm, table.centers.seen[seat.realm], house)
    me = house.contact_of(table.me)
    if me is None:
        return []
    center = center_by(seat.charter, me, epoch, table.centers.known.get(seat.realm))
    return reigns.begin(table, now_ns, seat.realm, center, house)


def _charter_changed(table: Table, now_ns: int, seat: Seat, house: House) -> list[Effect]:
    reign = table.reigns.get(seat.realm)
    effects: list[Effect] = []
    if reign is not None:  # before links are cut: who is no child and no parent any more has no reason to be linked
        for child in sorted(reign.children.children.keys() - seat.charter.children.keys()):
            reign.children.leave(child)
        effects += _good_bye(reign, seat, house)
    effects += links.rewelcome(table, now_ns, house)
    if reign is not None:
        effects += reigns.rebuild(table, now_ns, reign, house)
        table.soon(now_ns)
    return effects


def _good_bye(reign: Reign, seat: Seat, house: House) -> list[Effect]:
    """Tell parents that the charter has left; nobody waits for an answer, and one that is out of reach learns it by silence."""
    effects: list[Effect] = []
    for realm in sorted(reign.superiors.parents.keys() - seat.charter.parents.keys()):
        center = reign.superiors.parents[realm].center
        if center is not None and house.is_linked(center.primary.node):
            command = encode_command(ChildLeft(realm=seat.realm))
            effects.append(Send(node=center.primary.node, message=ProposeAsk(realm=realm, number=0, command=command)))
    return effects


def raft_said(table: Table, now_ns: int, peer: NodeId, message: RaftSaid, house: House) -> list[Effect]:
    """A member of a council says something to another, or gives this node a seat."""
    seat = table.seats.get(message.realm)
    if seat is None:
        seat = _invited(table, now_ns, peer, message.realm, house)
    if seat is None or not _may_sit(table, peer, message.realm, house):
        return []
    effects = sat(table, now_ns, seat, seat.heard(now_ns, peer, message.message), house)
    reign = table.reigns.get(message.realm)
    if reign is not None and not reign.epoch.provisional and seat.charter.contact_of(peer) is None:
        effects.append(Send(node=peer, message=CenterTold(center=reign.center)))  # its seat was given away meanwhile
    return effects


def _may_sit(table: Table, peer: NodeId, realm: RealmId, house: House) -> bool:
    return house.is_member(peer) if realm == table.site else table.kin.has(peer) or house.is_member(peer)


def _invited(table: Table, now_ns: int, peer: NodeId, realm: RealmId, house: House) -> Seat | None:
    """Take a seat that a council gives this node: of its own site, or of a realm that its own is allowed below."""
    asks = house.is_member(peer) if realm == table.site else table.is_above(realm, peer)
    if table.off or not asks or len(table.seats) >= limits.SEATS_MAX:
        return None
    me = house.contact_of(table.me)
    if me is None:
        return None
    seat = Seat.invited(realm, me, table.seed, now_ns, LAN if realm == table.site else WAN)
    table.seats[realm] = seat
    return seat


def seatable(table: Table, reign: Reign, house: House) -> tuple[Sitter, ...]:
    """Return who could sit in a realm's council, as this node sees them: members of a site, or primaries of children."""
    if reign.realm == table.site:
        offers, alive = house.site_offers(), set(house.alive())
        contacts = {node: contact for node in offers if (contact := house.contact_of(node)) is not None}
        fit = {node: fitness(offers[node]) for node in contacts}
    else:
        contacts = {child.primary: child.council[0] for child in reign.children.children.values()}
        fit = {child.primary: child.fitness for child in reign.children.children.values()}
        me = house.contact_of(table.me)
        if me is not None:
            contacts[table.me], fit[table.me] = me, reigns.own_fitness(table, house)
        alive = {node for node in contacts if house.is_linked(node)}
    for contact in table.seats[reign.realm].charter.seats:
        contacts.setdefault(contact.node, contact)
        if reign.realm != table.site and house.is_linked(contact.node):
            alive.add(contact.node)
    return tuple(
        Sitter(contact=contacts[node], fitness=fit.get(node, 0), alive=node in alive) for node in sorted(contacts)
    )


def outbid(table: Table, now_ns: int, realm: RealmId, seen: Epoch, house: House) -> list[Effect]:
    """A legitimate primary takes an epoch above that of an island that it met."""
    seat = table.seats.get(realm)
    known = table.centers.seen.get(realm, Epoch())
    if seat is None or seen.number > known.number + limits.EPOCH_LEAP_MAX:
        return []
    return sat(table, now_ns, seat, seat.raise_epoch(now_ns, seen), house)


def _pace(table: Table, level: Level) -> Pace:
    """Return how quick a council is: those of nations and planets sit far from each other."""
    return LAN if level < Level.NATION else WAN
