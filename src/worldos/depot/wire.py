"""The bytes between a program and a depot: frames over one Unix stream socket, or over a channel that ends in one.

A frame is ``head length (u32 LE) || payload length (u32 LE) || head || payload``. The head is msgpack, one of the types
below as an array with its tag first; the payload is the raw bytes of a share, or nothing. The first frame says ``Who``: only a
program on the depot's own machine writes it, or the agent there for a node far away, never the far program itself. Each
request bears a number of its own, and answers come in any order. Garbage gives PeerBroke here, and nothing above this
module ever sees it.

Source: docs/reference/formats/depot.md.
"""

from __future__ import annotations

import struct
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from worldos import errors
from worldos.depot.limits import (
    DIGESTS_BYTES_MAX,
    ENTRIES_BYTES_MAX,
    ENTRIES_PER_REQUEST_MAX,
    HEAD_BYTES_MAX,
    IDS_PER_REQUEST_MAX,
    LIST_LIMIT_MAX,
    NAME_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    TEXT_CHARS_MAX,
)
from worldos.errors import PeerBroke, Unreachable, WorldError
from worldos.store.entry import Entry

VERSION: Final = 1
HEADER: Final = struct.Struct("<II")
NUMBER_MAX: Final = (1 << 63) - 1

Id: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Ids: TypeAlias = Annotated[tuple[Id, ...], msgspec.Meta(max_length=IDS_PER_REQUEST_MAX)]
Mark: TypeAlias = Annotated[
    bytes, msgspec.Meta(max_length=32)
]  # where a list goes on: an id, or nothing for its beginning
Digests: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=DIGESTS_BYTES_MAX)]
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=LIST_LIMIT_MAX)]
Entries_: TypeAlias = Annotated[tuple[Entry, ...], msgspec.Meta(max_length=ENTRIES_PER_REQUEST_MAX)]
ShareKind = Literal["share", "cache"]
Rights = Literal["own", "guest"]


class Who(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="who"):
    """First frame of a connection: for whom it speaks. ``lease_bytes``: how much more a guest may put under its lease."""

    version: int = VERSION
    node: Name
    account: Name
    rights: Rights
    lease: Name = ""
    lease_bytes: Number = 0


class Request(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What every request has: the number that its answer bears."""

    id: Number


class PutShare(Request, frozen=True, kw_only=True, array_like=True, tag="put"):
    """Keep this share; its bytes are the payload. ``Done`` means that they are on the disk."""

    share: Id
    owner: Name
    kind: ShareKind
    digests: Digests


class GetShare(Request, frozen=True, kw_only=True, array_like=True, tag="get"):
    """Give me ``length`` bytes of a share from ``offset`` (-1: to its end), and the digests of its leaves if asked."""

    share: Id
    offset: Annotated[int, msgspec.Meta(ge=0, le=PAYLOAD_BYTES_MAX)] = 0
    length: Annotated[int, msgspec.Meta(ge=-1, le=PAYLOAD_BYTES_MAX)] = -1
    digests: bool = False


class Have(Request, frozen=True, kw_only=True, array_like=True, tag="have"):
    """Say which of these shares are here."""

    shares: Ids


class Drop(Request, frozen=True, kw_only=True, array_like=True, tag="drop"):
    """These shares are not needed any more."""

    shares: Ids


class Restore(Request, frozen=True, kw_only=True, array_like=True, tag="restore"):
    """They are needed after all."""

    shares: Ids


class Append(Request, frozen=True, kw_only=True, array_like=True, tag="append"):
    """Take in these entries; with ``durable``, ``Done`` means that they are on the disk."""

    entries: Entries_
    durable: bool = True


class ReadLog(Request, frozen=True, kw_only=True, array_like=True, tag="read"):
    """Give me the entries of a log from ``from_seq`` on, up to ``max_bytes`` of them, one at least."""

    log: Id
    from_seq: Number = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=ENTRIES_BYTES_MAX)] = ENTRIES_BYTES_MAX


class Last(Request, frozen=True, kw_only=True, array_like=True, tag="last"):
    """Give me the last entry of each of these logs that is here."""

    logs: Ids


class Heads(Request, frozen=True, kw_only=True, array_like=True, tag="heads"):
    """Which logs are here, and how far do they go? In the order of their ids, those after ``after``."""

    after: Mark = b""
    limit: Limit = LIST_LIMIT_MAX


class Care(Request, frozen=True, kw_only=True, array_like=True, tag="care"):
    """Look after what this locator's manifest names, with the right to verify it."""

    locator: Id
    verify: Id
    owner: Name


class Cares(Request, frozen=True, kw_only=True, array_like=True, tag="cares"):
    """What is looked after here? In the order of the locators, those after ``after``."""

    after: Mark = b""
    limit: Limit = LIST_LIMIT_MAX


class Forget(Request, frozen=True, kw_only=True, array_like=True, tag="forget"):
    """Look after this no more."""

    locator: Id


class Usage(Request, frozen=True, kw_only=True, array_like=True, tag="usage"):
    """Say what is kept here, and for whom."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What every answer has: the number of its request."""

    id: Number


class Done(Reply, frozen=True, kw_only=True, array_like=True, tag="done"):
    """It is done; ``count`` is how many of those that were named it was done to."""

    count: Number = 0


class Got(Reply, frozen=True, kw_only=True, array_like=True, tag="got"):
    """Here it is: its bytes are the payload."""

    digests: Digests = b""


class Held(Reply, frozen=True, kw_only=True, array_like=True, tag="held"):
    """The size of each share, -1 for those that are not here."""

    sizes: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=-1, le=PAYLOAD_BYTES_MAX)], ...],
        msgspec.Meta(max_length=IDS_PER_REQUEST_MAX),
    ]


class Entries(Reply, frozen=True, kw_only=True, array_like=True, tag="entries"):
    """Entries of a log, or the last ones of some."""

    entries: Entries_


class LogHead(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How far a log goes here. ``whole``: entries 1 to this are all here. Equal ``digest``: the same entries."""

    log: Id
    seq: Number
    whole: Number
    digest: Mark
    register: bool


class HeadList(Reply, frozen=True, kw_only=True, array_like=True, tag="headlist"):
    """Logs, and how far they go."""

    heads: Annotated[tuple[LogHead, ...], msgspec.Meta(max_length=LIST_LIMIT_MAX)]


class Cared(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Something that is looked after."""

    locator: Id
    verify: Id
    owner: Name


class CareList(Reply, frozen=True, kw_only=True, array_like=True, tag="carelist"):
    """What is looked after."""

    cares: Annotated[tuple[Cared, ...], msgspec.Meta(max_length=LIST_LIMIT_MAX)]


class Owned(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one account has here."""

    owner: Name
    kind: Name
    size_bytes: Number
    count: Number


class UsageTold(Reply, frozen=True, kw_only=True, array_like=True, tag="usagetold"):
    """What is kept here; a guest is told of its own account alone."""

    capacity_bytes: Number
    free_bytes: Number
    disk_bytes: Number
    trash_bytes: Number
    damaged: Number
    owned: tuple[Owned, ...]


class Refused(Reply, frozen=True, kw_only=True, array_like=True, tag="refused"):
    """No: the class of the error, what is wrong, and what to do. Number 0: to the connection as a whole, which ends."""

    error: Name
    message: Text
    hint: Text = ""


AnyRequest = (
    PutShare | GetShare | Have | Drop | Restore | Append | ReadLog | Last | Heads | Care | Cares | Forget | Usage
)
Said = Who | AnyRequest
AnyReply = Done | Got | Held | Entries | HeadList | CareList | UsageTold | Refused

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final = msgspec.msgpack.Decoder(Said)
_replies: Final = msgspec.msgpack.Decoder(AnyReply)


def frame_head(head: Said | AnyReply, payload_bytes: int = 0) -> bytes:
    """Return all of a frame that comes before its payload."""
    body = _encoder.encode(head)
    assert len(body) <= HEAD_BYTES_MAX
    return HEADER.pack(len(body), payload_bytes) + body


def read_lengths(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """Return how long the head and the payload of the next frame are."""
    head, payload = HEADER.unpack_from(data, offset)
    if not 0 < head <= HEAD_BYTES_MAX or payload > PAYLOAD_BYTES_MAX:
        raise PeerBroke(f"a frame with {head} + {payload} bytes is longer than any, or empty")
    return head, payload


def read_request(head: bytes | bytearray | memoryview) -> Said:
    """Check what a program asks of a depot."""
    try:
        request: Said = _requests.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke(f"that is no request: {cause}"[:TEXT_CHARS_MAX]) from None
    return request


def read_reply(head: bytes | bytearray | memoryview) -> AnyReply:
    """Check what a depot answers."""
    try:
        reply: AnyReply = _replies.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke(f"that is no answer: {cause}"[:TEXT_CHARS_MAX]) from None
    return reply


def refusal(number: int, error: WorldError) -> Refused:
    """Return an error as an answer."""
    return Refused(
        id=number,
        error=type(error).__name__,
        message=str(error)[:TEXT_CHARS_MAX],
        hint=error.hint[:TEXT_CHARS_MAX],
    )


def error_of(refused: Refused) -> WorldError:
    """Return what an answer refuses with as an error of ours, by the name of its class."""
    kind = getattr(errors, refused.error, None)
    if not (isinstance(kind, type) and issubclass(kind, WorldError)):
        kind = Unreachable
    error: WorldError = kind(refused.message, hint=refused.hint)
    return error
