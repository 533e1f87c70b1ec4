"""Records: a decision as the log keeps it, in bytes that two machines write alike.

The offers that a choice was made from are kept apart, each under the hash of its bytes: most do not change from one choice to
the next. A record names them by that, in the order in which they were seen, with what the chooser knew of each node. So a
record vouches for everything that it was made from, and stays small. Maps and sets, whose order is nobody's word, are not in it.
What commits to a record is the hash of a salt and its bytes: once the salt is gone, nobody can tell what it was, and the leaf
that was counted stays what it is.

    leaf = version u8 | kind u8 | 6 zero bytes | moment u64 (seconds) | commitment 32      (big-endian, 48 bytes)
    commitment = SHA-256("worldos/decision" 0 salt payload)

Source: docs/reference/formats/decision.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from hashlib import sha256
from typing import Annotated, Final, NamedTuple

import msgspec

from worldos.errors import Damaged
from worldos.kernel.blind import OURS
from worldos.kernel.decisions import Acted, Answered, Chosen, Ended, Made
from worldos.kernel.match import Choice, Refusal
from worldos.kernel.question import View
from worldos.kernel.score import RTT_US_DEFAULT
from worldos.model.ids import NodeId, UseId
from worldos.model.need import Need
from worldos.model.offer import Offer

VERSION: Final = 1
LEAF: Final = struct.Struct(">BB6xQ32s")
LEAF_BYTES: Final = 48
SALT_BYTES: Final = 16
PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024
_DOMAIN: Final = b"worldos/decision\0"

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class RecordKind(IntEnum):
    """What a leaf says of its decision without the payload: which kind it was."""

    CHOSEN = 1
    ANSWERED = 2
    ENDED = 3
    ACTED = 4
    COMMITTED = 5
    REVEALED = 6


class Seat(msgspec.Struct, frozen=True, array_like=True):
    """One offer as the chooser saw it, and what it knew of that node."""

    offer: Hash
    rtt_us: int
    flaps: int
    doubted: bool
    gone: bool
    passed_over: bool


class ChosenRecord(msgspec.Struct, frozen=True, kw_only=True, tag="chosen"):
    """A choice, with its offers by their hashes."""

    number: int
    use: UseId
    home: NodeId
    nonce: bytes
    needs: tuple[Need, ...]
    splits: bool
    seats: tuple[Seat, ...]
    parts: tuple[Need, ...]
    answer: tuple[Choice, ...] | Refusal


class Committed(msgspec.Struct, frozen=True, kw_only=True, tag="committed"):
    """The nonces of the choices of a round come from a secret with this hash, and from a beacon that nobody knows yet."""

    round: int
    commitment: Hash


class Revealed(msgspec.Struct, frozen=True, kw_only=True, tag="revealed"):
    """The round is over: this was its secret and its beacon, and so many choices were drawn for."""

    round: int
    secret: Hash
    beacon: Hash
    draws: int  # -1: the machine stopped before it counted
    note: bytes = b""  # the cosigned checkpoint that the beacon is the hash of


Record = ChosenRecord | Answered | Ended | Acted | Committed | Revealed


class Leaf(NamedTuple):
    """A leaf, read."""

    kind: RecordKind
    at_s: int
    commitment: bytes


_KINDS: Final[dict[type[Record], RecordKind]] = {
    ChosenRecord: RecordKind.CHOSEN,
    Answered: RecordKind.ANSWERED,
    Ended: RecordKind.ENDED,
    Acted: RecordKind.ACTED,
    Committed: RecordKind.COMMITTED,
    Revealed: RecordKind.REVEALED,
}
_NUMBERS: Final = frozenset(RecordKind)
_encode = msgspec.msgpack.Encoder().encode
_records: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_offers = msgspec.msgpack.Decoder(Offer)


def record_of(made: Made | Committed | Revealed, keep: Callable[[Offer], bytes]) -> Record:
    """Return the record of a decision; ``keep`` keeps an offer and returns its hash."""
    if not isinstance(made, Chosen):
        return made
    view = made.view
    return ChosenRecord(
        number=made.number,
        use=made.use,
        home=view.home,
        nonce=view.nonce,
        needs=made.needs,
        splits=made.splits,
        seats=tuple(
            [
                Seat(
                    keep(offer),
                    view.rtt_us.get(offer.node, 0 if offer.node == view.home else RTT_US_DEFAULT),
                    view.flaps.get(offer.node, 0),
                    offer.node in view.doubted,
                    offer.node in view.gone,
                    offer.node in view.passed_over,
                )
                for offer in made.offers
            ]
        ),
        parts=made.parts,
        answer=made.answer,
    )


def read_offer(hashed: bytes, data: bytes) -> Offer:
    """Read an offer that was kept under this hash; raise Damaged where it is another."""
    if sha256(data).digest() != hashed:
        raise Damaged("an offer is not the one that the choice was made from")
    try:
        return _offers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise Damaged("an offer that cannot be read") from cause


def chosen_of(record: ChosenRecord, offer_of: Callable[[bytes], Offer]) -> Chosen:
    """Return a choice with its offers, each found by its hash."""
    offers = [offer_of(seat.offer) for seat in record.seats]
    both = list(zip(offers, record.seats, strict=True))
    view = View(
        home=record.home,
        account=OURS,
        nonce=record.nonce,
        rtt_us={offer.node: seat.rtt_us for offer, seat in both},
        flaps={offer.node: seat.flaps for offer, seat in both if seat.flaps},
        doubted=frozenset(offer.node for offer, seat in both if seat.doubted),
        gone=frozenset(offer.node for offer, seat in both if seat.gone),
        passed_over=frozenset(offer.node for offer, seat in both if seat.passed_over),
    )
    return Chosen(
        number=record.number,
        use=record.use,
        needs=record.needs,
        splits=record.splits,
        offers=tuple(offers),
        view=view,
        parts=record.parts,
        answer=record.answer,
    )


def write_offer(offer: Offer) -> bytes:
    """Return the bytes under whose hash an offer is kept."""
    return _encode(offer)


def write_record(record: Record) -> bytes:
    """Return the payload of a record."""
    return _encode(record)


def read_record(payload: bytes) -> Record:
    """Read a payload; raise Damaged for what is none."""
    try:
        return _records.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise Damaged("a record of a decision that cannot be read") from cause


def commitment_of(salt: bytes, payload: bytes) -> bytes:
    """Return what a leaf says of a payload."""
    return sha256(_DOMAIN + salt + payload).digest()


def write_leaf(record: Record, at_s: int, salt: bytes, payload: bytes) -> bytes:
    """Return the leaf of a record."""
    return LEAF.pack(VERSION, _KINDS[type(record)], at_s, commitment_of(salt, payload))


def read_leaf(data: bytes) -> Leaf:
    """Read a leaf of anybody's log; raise Damaged for what is none."""
    if len(data) != LEAF_BYTES:
        raise Damaged(f"a leaf has {LEAF_BYTES} bytes")
    version, kind, at_s, commitment = LEAF.unpack(data)
    if version != VERSION or any(data[2:8]) or kind not in _NUMBERS:
        raise Damaged("a leaf of another version, or of no kind that there is")
    return Leaf(RecordKind(kind), at_s, commitment)


def check_payload(leaf: Leaf, salt: bytes, payload: bytes) -> Record:
    """Return the record that a leaf was counted for; raise Damaged where this is another."""
    if commitment_of(salt, payload) != leaf.commitment:
        raise Damaged("this is not what was decided then")
    record = read_record(payload)
    if _KINDS[type(record)] != leaf.kind:
        raise Damaged("the decision is of another kind than its leaf says")
    return record
