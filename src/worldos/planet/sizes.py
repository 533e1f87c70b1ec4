"""How many bytes the real messages have: each kind is made as the kernel makes it, encoded as it is sent, and counted.

*Payload* is what ``model.wire`` encodes, the unit of the simulator. *On the wire* adds what the fabric and TCP put
around it: the frame's header, the TLS 1.3 record, IPv4 and TCP with time stamps. A message that nothing answers costs
an acknowledgement of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from worldos.fabric import frame
from worldos.model import wire
from worldos.model.swim import Ack, Ping, Rumor, Status, first_incarnation
from worldos.planet import said

TLS_RECORD_BYTES: Final = 22  # RFC 8446: header 5, content type 1, AES-GCM tag 16
TCP_IP_BYTES: Final = 52  # IPv4 20, TCP 20, time stamps 12
AROUND_BYTES: Final = frame.HEADER_BYTES + TLS_RECORD_BYTES + TCP_IP_BYTES
LINK_PING_BYTES: Final = AROUND_BYTES + 16  # fabric/link.py: the moment and the highest number sent ride along
LINK_ASKED_BYTES: Final = (
    2 * LINK_PING_BYTES + TCP_IP_BYTES
)  # asked and answered, and TCP's acknowledgement of the answer
ACK_FRAME_BYTES: Final = (
    AROUND_BYTES + TCP_IP_BYTES
)  # an acknowledgement that found nothing to ride on, and TCP's of it
NUMBER_OF_A_PING: Final = (1 << 28) + 100_000  # a few hours into the first life
SOME: Final = 9
LEVEL: Final = 2  # paths and lineages differ by some bytes a level
CONTACTS_OF_A_CENTER: Final = 1 + 5 + said.HEIRS + said.JOINED_BY


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Payload bytes of each kind; ``rumor``, ``suspicion``, ``address``, ``seat`` (a contact), ``line``: what one more adds."""

    ping: int
    ack: int
    rumor: int
    suspicion: int
    have: int
    offer: int
    address: int
    peers: int
    heartbeat: int
    heartbeat_answer: int
    center: int  # without contacts
    register: int  # without contacts and lines
    seat: int
    line: int
    summary_told: int
    bid_ask: int
    bid_answer: int
    guest_told: int
    lines: int  # of a usual summary
    joined_by: int  # contacts of a parent that its child remembers


def on_wire(payload_bytes: float) -> float:
    """Return what a message of so many bytes costs on a line, headers of every layer included."""
    return payload_bytes + AROUND_BYTES


@lru_cache(maxsize=2)
def sizes(*, simulated: bool = False) -> Sizes:
    """Make one of each, and count; ``simulated``: with the small offers of the simulator's machines."""
    me, peer = said.node_id(1), said.node_id(2)
    rumor = Rumor(node=peer, status=Status.ALIVE, incarnation=first_incarnation(1), boot=1)
    doubt = Rumor(node=peer, status=Status.SUSPECT, incarnation=first_incarnation(1), boot=1, accusers=(me,))
    ping = Ping(number=NUMBER_OF_A_PING, target=peer)
    addresses = ("10.0.0.7:1",) if simulated else said.ADDRESSES
    young = {"index": 200, "term": 2} if simulated else {}
    offer = said.offer(me, 2 if simulated else len(said.RESOURCES), addresses=addresses)
    one = _bytes(wire.PeersTold(peers=((me, addresses),)))
    return Sizes(
        ping=_bytes(ping),
        ack=_bytes(Ack(number=NUMBER_OF_A_PING)),
        rumor=_added(ping, rumor),
        suspicion=_added(ping, doubt),
        have=_bytes(wire.KeyLogHave(heads=("b" * 52,))),
        offer=_bytes(wire.OfferTold(offer=offer)),
        address=_bytes(wire.PeersTold(peers=((me, addresses), (peer, addresses)))) - one,
        peers=one,
        heartbeat=_bytes(said.heartbeat(**young)),
        heartbeat_answer=_bytes(said.heartbeat_answer(**young)),
        center=_bytes(said.center_told(LEVEL)) - CONTACTS_OF_A_CENTER * _seat(simulated=False),
        register=_bytes(said.register(LEVEL, lines=0)) - said.SPEAKERS * _seat(simulated=False),
        seat=_seat(simulated=simulated),
        line=(_bytes(said.summary_told(SOME)) - _bytes(said.summary_told(0))) // SOME,
        summary_told=_bytes(said.summary_told()),
        bid_ask=_bytes(said.bid_ask()),
        bid_answer=_bytes(said.bid_answer()),
        guest_told=_bytes(said.guest_told()),
        lines=4 if simulated else 12,
        joined_by=1 if simulated else said.JOINED_BY,
    )


def _seat(*, simulated: bool) -> int:
    return len(msgspec.msgpack.encode(said.contact(3, simulated=simulated)))


def _bytes(message: wire.PeerMessage) -> int:
    return len(wire.encode(message))


def _added(ping: Ping, rumor: Rumor) -> int:
    """Return what one rumor adds to a message where some ride along."""
    full = msgspec.structs.replace(ping, rumors=(rumor,) * SOME)
    return round((_bytes(full) - _bytes(ping)) / SOME)
