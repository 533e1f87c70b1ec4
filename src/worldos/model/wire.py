"""What nodes say to each other. The type is the schema: one tagged union, encoded with msgpack, checked at one door.

A message never says who sent it: the link it came over does, and the link was authenticated by both device keys.
Bytes are frozen by tests/golden. Source: decision record 0003.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import BadRequest, PeerBroke
from worldos.model import where
from worldos.model.audit import AuditMessage
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.limits import MESSAGE_BYTES_MAX
from worldos.model.need import LeaseTerms, Need
from worldos.model.offer import Offer
from worldos.model.realm import BidAsk, Epoch, RealmMessage
from worldos.model.rights import GRANT_BYTES_MAX
from worldos.model.statements import StatementMessage
from worldos.model.swim import SwimMessage
from worldos.model.work_wire import TasksGiven, WorkMessage

LogEntry = tuple[bytes, bytes]
"""The body and the signature of an entry of a key log, as trust/entries.py reads them."""


class OfferTold(msgspec.Struct, frozen=True, kw_only=True, tag="offer"):
    """This is what I can give now."""

    offer: Offer


class LeaseAsk(msgspec.Struct, frozen=True, kw_only=True, tag="ask", omit_defaults=True):
    """Give me this. ``hold`` is the first phase of a gang: keep it for me, I confirm or release it soon."""

    ask: int
    use: UseId
    need: Need
    resources: tuple[ResourceId, ...]
    ttl_ns: int
    hold: bool
    realm: str = ""  # the center of this realm named you, in this epoch: if you know a newer one, refuse
    epoch: Epoch = Epoch()
    grant: Annotated[bytes, msgspec.Meta(max_length=GRANT_BYTES_MAX)] = b""  # by right of this; I am its holder


class LeaseGranted(msgspec.Struct, frozen=True, kw_only=True, tag="granted"):
    """You have it (or, for a hold: it is kept for you)."""

    ask: int
    terms: LeaseTerms


class LeaseRefused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """You do not get it; ``reason`` is a sentence, ``free`` what would have been free in base units."""

    ask: int
    reason: str
    free: int


class LeaseWaits(msgspec.Struct, frozen=True, kw_only=True, tag="waits"):
    """Others give it back for you: I answer within this time."""

    ask: int
    wait_ns: Annotated[int, msgspec.Meta(ge=0)]


class LeaseYield(msgspec.Struct, frozen=True, kw_only=True, tag="yield"):
    """Somebody needs what this lease holds more than you: end what you do on it, it is gone after this time."""

    lease: LeaseId
    grace_ns: Annotated[int, msgspec.Meta(ge=0)]


class LeaseYielding(msgspec.Struct, frozen=True, kw_only=True, tag="yielding"):
    """I have heard that you want it back: from now on I use it no longer than the grace."""

    lease: LeaseId


class LeaseConfirm(msgspec.Struct, frozen=True, kw_only=True, tag="confirm"):
    """All parts of my gang are held: make this one a lease."""

    lease: LeaseId


class LeaseConfirmed(msgspec.Struct, frozen=True, kw_only=True, tag="confirmed"):
    """It is a lease now."""

    lease: LeaseId


class LeaseRenew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """I still need it. ``number`` tells renewals apart."""

    lease: LeaseId
    number: int


class LeaseRenewed(msgspec.Struct, frozen=True, kw_only=True, tag="renewed"):
    """You keep it, for its ttl from when you asked with ``number``."""

    lease: LeaseId
    number: int


class LeaseRelease(msgspec.Struct, frozen=True, kw_only=True, tag="release"):
    """I do not need it any more (also: I give up this hold)."""

    lease: LeaseId


class LeaseGone(msgspec.Struct, frozen=True, kw_only=True, tag="gone"):
    """This lease does not exist (any more), and this is why."""

    lease: LeaseId
    why: str


class KeyLogHave(msgspec.Struct, frozen=True, kw_only=True, tag="have"):
    """These are the latest entries of our account's key log that I have; tell me what comes after them."""

    heads: tuple[str, ...]


class KeyLogTold(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Entries of our account's key log: body and signature of each."""

    entries: tuple[LogEntry, ...]


class PeersTold(msgspec.Struct, frozen=True, kw_only=True, tag="peers"):
    """These members were seen at these addresses: hints where to dial, proved only by the handshake."""

    peers: tuple[tuple[NodeId, tuple[str, ...]], ...]


LeaseMessage = (
    LeaseAsk
    | LeaseGranted
    | LeaseRefused
    | LeaseWaits
    | LeaseYield
    | LeaseYielding
    | LeaseConfirm
    | LeaseConfirmed
    | LeaseRenew
    | LeaseRenewed
    | LeaseRelease
    | LeaseGone
)
PeerMessage = (
    SwimMessage
    | OfferTold
    | LeaseMessage
    | KeyLogHave
    | KeyLogTold
    | PeersTold
    | RealmMessage
    | StatementMessage
    | AuditMessage
)

Message = PeerMessage | WorkMessage
"""All that comes over a link; the node hears the first, the work beside it the second."""

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the message's bytes."""
    return _encoder.encode(message)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """Check and read a message from another node: the one door for peers' bytes."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise PeerBroke(f"a message of {len(data)} bytes, at most {MESSAGE_BYTES_MAX} are allowed")
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:  # a tag may be no UTF-8
        raise PeerBroke("a message that is not one of ours") from cause
    if isinstance(message, LeaseAsk):
        _check_condition(message.need)
    elif isinstance(message, LeaseGranted):
        _check_condition(message.terms.need)
    elif isinstance(message, TasksGiven):
        _check_condition(message.spec.need)
    elif isinstance(message, BidAsk):
        for need in message.needs:
            _check_condition(need)
    return message


def _check_condition(need: Need) -> None:
    """Refuse a condition that nests deeper than what may be encoded again, or evaluated."""
    if need.where is None:
        return
    try:
        where.check(need.where)
    except BadRequest as cause:
        raise PeerBroke("a need with a condition that breaks its bounds") from cause
