"""Frames of a pack: how shares and entries lie in the append-only files of a depot.

A pack is an opening of 64 bytes, then frames. A frame is ``header (64) || meta || body || trailer (16) || zeros``; the next one
begins at a multiple of 64 bytes. Header: ``magic 4 | version 1 | kind 1 | meta length 2 | body length 4 | order 8 | id 32 |
check 12``, little-endian. The check is a BLAKE3 under the depot's own key, over the header, the pack's number, the offset and the
meta: a frame is valid in its own place only, and nobody who gives us shares to keep can put a frame inside one. So a reader may
look for the next good frame after a damaged one. The trailer is a plain BLAKE3 over id and body: it moves with the body.

``order`` counts all frames of a depot and never comes twice: of two frames about one id the one with the higher order tells how
it is, wherever they lie; frames may thus be copied to another pack. Sizes in bytes. Source: docs/reference/formats/pack.md.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Annotated, Final, TypeAlias, TypeVar

import blake3
import msgspec

from worldos.errors import CorruptFile
from worldos.store.limits import PACK_BODY_BYTES_MAX, PACK_IDS_MAX, PACK_META_BYTES_MAX, PACK_NUMBER_MAX

Buffer: TypeAlias = bytes | bytearray | memoryview

VERSION: Final = 1
MAGIC: Final = b"\xf7WoS"
OPENING_MAGIC: Final = b"\x89WOSPAK\n"
KEY_BYTES: Final = 32
ID_BYTES: Final = 32
CHECK_BYTES: Final = 12
TRAILER_BYTES: Final = 16
HEADER_BYTES: Final = 64
ALIGN_BYTES: Final = 64
PAGE_BYTES: Final = 4096
PAGED_FROM_BYTES: Final = 64 * 1024  # a body longer than this begins its frame at a page
ORDER_MAX: Final = (1 << 63) - 1

_HEADER: Final = struct.Struct("<4sBBHIQ32s")
_PLACE: Final = struct.Struct("<IQ")
_OPENING: Final = struct.Struct("<8sBxxxI32s")
_ZEROS: Final = bytes(PAGE_BYTES)
assert _HEADER.size + CHECK_BYTES == HEADER_BYTES
assert _OPENING.size + TRAILER_BYTES == HEADER_BYTES

Id = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Nat = Annotated[int, msgspec.Meta(ge=0, le=ORDER_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=128)]


class Kind(IntEnum):
    """What a frame says."""

    SHARE = 1
    ENTRY = 2
    DROP = 3
    RESTORE = 4
    BAD = 5
    CARE = 6
    FORGET = 7


class ShareMeta(msgspec.Struct, frozen=True, array_like=True):
    """Before a share: the body is ``size_bytes`` of data, then the digests of its leaves."""

    owner: Name
    kind: Annotated[str, msgspec.Meta(max_length=16)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=PACK_BODY_BYTES_MAX)]


class EntryMeta(msgspec.Struct, frozen=True, array_like=True):
    """Before an entry of a log, whose id is the frame's."""

    seq: Nat


class IdsMeta(msgspec.Struct, frozen=True, array_like=True):
    """Before the ids that are dropped, restored or bad: the body is those ids, one after the other."""

    at_ns: Nat


class CareMeta(msgspec.Struct, frozen=True, array_like=True):
    """Before a care, whose locator is the frame's id: the body is the verify secret, or nothing where it is forgotten."""

    owner: Name


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of a frame says, and where the frame lies."""

    kind: Kind
    order: int
    id: bytes
    meta_bytes: int
    body_bytes: int
    offset: int

    @property
    def body_at(self) -> int:
        """Return where in the pack the body begins."""
        return self.offset + HEADER_BYTES + self.meta_bytes

    @property
    def end(self) -> int:
        """Return where the frame ends, without the zeros after it."""
        return self.body_at + self.body_bytes + TRAILER_BYTES


def trailer_of(frame_id: bytes, *body: Buffer) -> bytes:
    """Return the 16 bytes that follow a body, given in one or more parts."""
    digest = blake3.blake3(frame_id)
    for part in body:
        digest.update(part)
    return digest.digest(TRAILER_BYTES)


def frame_head(key: bytes, pack: int, header: Header, meta: bytes) -> bytes:
    """Return the header and the meta of a frame that will lie at ``header.offset`` of this pack."""
    assert len(meta) == header.meta_bytes <= PACK_META_BYTES_MAX
    assert header.body_bytes <= PACK_BODY_BYTES_MAX
    head = _HEADER.pack(MAGIC, VERSION, header.kind, header.meta_bytes, header.body_bytes, header.order, header.id)
    return head + _check(key, pack, header.offset, head, meta) + meta


def read_header(data: Buffer, offset: int) -> Header:
    """Read a header that lies at ``offset``; say CorruptFile if it can be none. Its check comes with ``check_header``."""
    head = memoryview(data)[:HEADER_BYTES]
    if len(head) < HEADER_BYTES:
        raise CorruptFile("a pack ends inside of a header")
    magic, version, kind, meta_bytes, body_bytes, order, frame_id = _HEADER.unpack_from(head)
    if magic != MAGIC:
        raise CorruptFile("no frame begins here")
    if version != VERSION:
        raise CorruptFile(f"a frame of version {version}, and this World OS reads {VERSION}")
    if meta_bytes > PACK_META_BYTES_MAX or body_bytes > PACK_BODY_BYTES_MAX or order > ORDER_MAX:
        raise CorruptFile("a frame longer than any")
    try:
        known = Kind(kind)
    except ValueError:
        raise CorruptFile(f"a frame of an unknown kind {kind}") from None
    return Header(kind=known, order=order, id=frame_id, meta_bytes=meta_bytes, body_bytes=body_bytes, offset=offset)


def check_header(key: bytes, pack: int, header: Header, head: Buffer) -> memoryview:
    """Check ``head``, the frame's first bytes up to its body, against its check; return the meta."""
    view = memoryview(head)[: HEADER_BYTES + header.meta_bytes]
    if len(view) < HEADER_BYTES + header.meta_bytes:
        raise CorruptFile("a pack ends inside of a frame")
    meta = view[HEADER_BYTES:]
    if view[_HEADER.size : HEADER_BYTES] != _check(key, pack, header.offset, view[: _HEADER.size], meta):
        raise CorruptFile("the header of a frame is damaged, or was written for another place")
    return meta


def _check(key: bytes, pack: int, offset: int, head: Buffer, meta: Buffer) -> bytes:
    digest = blake3.blake3(_PLACE.pack(pack, offset), key=key)
    digest.update(head)
    digest.update(meta)
    return digest.digest(CHECK_BYTES)


Meta = TypeVar("Meta", ShareMeta, EntryMeta, IdsMeta, CareMeta)
_encode = msgspec.msgpack.Encoder().encode


def encode_meta(meta: ShareMeta | EntryMeta | IdsMeta | CareMeta) -> bytes:
    """Return the bytes of a meta."""
    return _encode(meta)


def read_meta(data: Buffer, kind: type[Meta]) -> Meta:
    """Read a meta."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise CorruptFile(f"the meta of a frame cannot be read: {cause}") from None


def read_share_meta(data: Buffer, header: Header) -> ShareMeta:
    """Read the meta of a share; its data must lie inside of the body."""
    meta = read_meta(data, ShareMeta)
    if meta.size_bytes > header.body_bytes:
        raise CorruptFile("a share is longer than its frame")
    return meta


def split_ids(body: Buffer) -> tuple[bytes, ...]:
    """Read the ids of a frame that is about many."""
    data = bytes(body)
    if len(data) % ID_BYTES or len(data) > PACK_IDS_MAX * ID_BYTES:
        raise CorruptFile("a list of ids is cut")
    return tuple(data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES))


def start_of(end: int, body_bytes: int) -> int:
    """Return where the next frame begins, after a frame that ends at ``end``."""
    align = PAGE_BYTES if body_bytes > PAGED_FROM_BYTES else ALIGN_BYTES
    return -(-end // align) * align


def zeros(count: int) -> bytes:
    """Return the zeros between two frames."""
    assert 0 <= count < PAGE_BYTES
    return _ZEROS[:count]


def opening_of(key: bytes, pack: int) -> bytes:
    """Return the first 64 bytes of a pack: they carry the depot's key, so that any pack can bring it back."""
    assert len(key) == KEY_BYTES
    assert 0 <= pack <= PACK_NUMBER_MAX
    opening = _OPENING.pack(OPENING_MAGIC, VERSION, pack, key)
    return opening + blake3.blake3(opening).digest(TRAILER_BYTES)


def read_opening(data: Buffer) -> tuple[bytes, int]:
    """Return the key and the number that the first 64 bytes of a pack say."""
    view = memoryview(data)[:HEADER_BYTES]
    if len(view) < HEADER_BYTES or blake3.blake3(view[: _OPENING.size]).digest(TRAILER_BYTES) != view[_OPENING.size :]:
        raise CorruptFile("the opening of a pack is damaged")
    magic, version, pack, key = _OPENING.unpack_from(view)
    if magic != OPENING_MAGIC or version != VERSION:
        raise CorruptFile(f"this is no pack of version {VERSION}")
    return key, pack
