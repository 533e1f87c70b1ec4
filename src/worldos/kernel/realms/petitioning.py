"""Petitioning: commands of persons and other nodes on their way into a charter."""

from __future__ import annotations

from worldos.errors import PeerBroke
from worldos.kernel.charter import ChildLeft, decode_command
from worldos.kernel.effects import Effect, Send
from worldos.kernel.house import House
from worldos.kernel.petitions import Petition
from worldos.kernel.realms import seating
from worldos.kernel.realms.table import Table
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    ProposeAnswer,
    ProposeAsk,
)


def begin(table: Table, now_ns: int, petition: Petition, house: House) -> list[Effect]:
    """Put a command into a charter, here or where its primary is; who asked is answered later."""
    number = table.petitions.begin(petition)
    if not number:
        return []
    table.soon(now_ns)
    return _submit(table, now_ns, number, house)


def _submit(table: Table, now_ns: int, number: int, house: House) -> list[Effect]:
    petition = table.petitions.table[number]
    seat = table.seats.get(petition.realm)
    if seat is not None and seat.is_primary(now_ns) and table.may_act(now_ns, petition.realm):
        table.petitions.sent(number, table.me)
        return seating.sat(table, now_ns, seat, seat.propose(now_ns, number, petition.command), house)
    center = table.centers.known.get(petition.realm)
    node = center.primary.node if center is not None else None
    if node is None or node == table.me or not house.is_linked(node) or center is None or center.epoch.provisional:
        table.petitions.wait(now_ns, number)
        return []
    table.petitions.sent(number, node)
    return [Send(node=node, message=ProposeAsk(realm=petition.realm, number=number, command=petition.command))]


def again(table: Table, now_ns: int, house: House) -> list[Effect]:
    """Try again what no primary could have before."""
    effects = table.petitions.tick(now_ns)
    for number in table.petitions.due(now_ns):
        effects += _submit(table, now_ns, number, house)
    return effects


def asked(table: Table, now_ns: int, peer: NodeId, message: ProposeAsk, house: House) -> list[Effect]:
    """A member of the site, or a seat of the council, wants a command in the charter; a child may only leave."""
    why = _objection(table, now_ns, peer, message, house)
    if why:
        return [Send(node=peer, message=ProposeAnswer(realm=message.realm, number=message.number, why=why))]
    until_ns = now_ns + limits.PETITION_NS
    petition = Petition(
        realm=message.realm, command=message.command, request=message.number, until_ns=until_ns, peer=peer
    )
    return begin(table, now_ns, petition, house)


def _objection(table: Table, now_ns: int, peer: NodeId, message: ProposeAsk, house: House) -> str:
    seat = table.seats.get(message.realm)
    if seat is None or not table.may_act(now_ns, message.realm):
        return "this node is not the primary: try again"
    if house.is_member(peer) if message.realm == table.site else seat.charter.contact_of(peer) is not None:
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
