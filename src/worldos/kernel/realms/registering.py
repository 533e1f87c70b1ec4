"""Registering: realms below that come, and realms above that answer."""

from __future__ import annotations

from worldos.kernel.charter import ChildCouncil, encode_command
from worldos.kernel.effects import Effect, Send
from worldos.kernel.house import House
from worldos.kernel.realms import links, reigns, seating, told
from worldos.kernel.realms.table import Table
from worldos.kernel.reign import Reign
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Center,
    GuestTold,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
    rank,
)


def register(table: Table, now_ns: int, peer: NodeId, message: Register, house: House) -> list[Effect]:
    """A realm wants to be registered below one of this node's."""
    reign = table.reigns.get(message.parent)
    if reign is None or not table.may_act(now_ns, message.parent):
        known = table.centers.known.get(message.parent)
        center = known if known is not None and known.primary.node not in (table.me, peer) else None
        why = "this node is not its center"
        refused = RegisterRefused(parent=message.parent, child=message.child, why=why, center=center)
        return [*_introduce(table, peer, message, center), Send(node=peer, message=refused)]
    known_before = message.child in reign.children.children
    effects = reign.children.registered(
        now_ns, peer, message, reign.center, refusal=_objection(table, reign, peer, message)
    )
    child = reign.children.children.get(message.child)
    if child is not None and not known_before:  # what it has free is news above, too
        reign.look_ns = now_ns
        table.soon(now_ns)
    seat = table.seats.get(message.parent)
    if child is None or child.primary != peer or seat is None or reign.epoch.provisional:
        return effects
    record = seat.charter.children.get(message.child)
    if record is not None and record.council != message.council:
        command = ChildCouncil(realm=message.child, epoch=message.epoch, council=message.council)
        effects += seating.sat(table, now_ns, seat, seat.propose(now_ns, 0, encode_command(command)), house)
    table.due_ns = min(table.due_ns, reign.children.due_ns)
    return effects


def _introduce(table: Table, peer: NodeId, message: Register, center: Center | None) -> list[Effect]:
    """Tell who stands in for a realm that one comes who may speak for a child of it: an heir knows no children but its own."""
    seat = table.seats.get(message.parent)
    record = seat.charter.children.get(message.child) if seat is not None else None
    if center is None or not center.epoch.provisional or record is None:
        return []
    told = [
        GuestTold(guest=speaker, realm=center.realm, epoch=center.epoch, ttl_ns=limits.GUEST_NS)
        for speaker in record.council
        if speaker.node == peer
    ]
    return [Send(node=center.primary.node, message=each) for each in told]


def _objection(table: Table, reign: Reign, peer: NodeId, message: Register) -> str:
    """Say why a realm may not register here, or nothing. An island knows of the children only who may speak for them."""
    seat = table.seats.get(reign.realm)
    if seat is None:
        return "" if peer == table.me or table.kin.has(peer) else "not known here"
    record = seat.charter.children.get(message.child)
    if record is None:
        return "it is no child of this realm"
    speakers = {contact.node for contact in record.council}
    return "" if peer == table.me or peer in speakers else "this node does not speak for it"


def registered(table: Table, now_ns: int, peer: NodeId, message: Registered, house: House) -> list[Effect]:
    """A superior has a realm of this node's."""
    reign = table.reigns.get(message.child)
    center = message.center
    if reign is None or center.primary.node != peer or center.realm not in reign.superiors.parents:
        return []
    if table.centers.is_stale(center.realm, center.epoch):
        return []
    effects = reign.superiors.registered(now_ns, peer, message)
    if center.realm not in table.reigns:
        table.centers.hear(center)
    elif peer != table.me:  # this node stood in for it, and another reigns
        effects += told.center_told(table, now_ns, peer, center, house)
    return [*effects, *reigns.rebuild(table, now_ns, reign, house)]


def refused(table: Table, now_ns: int, peer: NodeId, message: RegisterRefused, house: House) -> list[Effect]:
    """It has not; a newer epoch of our realm, that it has seen, is outbid."""
    reign = table.reigns.get(message.child)
    if reign is None:
        return []
    effects: list[Effect] = []
    if not reign.epoch.provisional and rank(message.seen) > rank(reign.epoch):
        effects += seating.outbid(table, now_ns, message.child, message.seen, house)
    effects += reign.superiors.refused(now_ns, peer, message)
    effects += links.rewelcome(table, now_ns, house)
    table.soon(now_ns)
    return effects


def summary_told(table: Table, now_ns: int, peer: NodeId, message: SummaryTold) -> list[Effect]:
    """A child says what it has free."""
    for reign in table.reigns.values():
        if message.child in reign.children.children:
            return reign.children.summary_told(now_ns, peer, message)
    return []
