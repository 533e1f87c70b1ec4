"""The manifest: how a file is rebuilt, in two sealed parts for two kinds of eyes.

A carer, who holds V, opens the *map*: which segments there are, how they are coded, and the root of each share, so that
it can find, check and repair them. A reader, who holds R, opens the *contents* as well: the keys of the segments,
where each piece of the file lies, what the whole is. Contents begin with the public key and the salt that R is a hash
of: so a reader knows whose signature over the manifest counts, and no other reader can make one it would believe.

A manifest is the body of a register at the locator: ``version(1) kind(1) length of the map(4, big-endian) map
contents``, each part sealed as ``entry.seal_body`` does, bound to version, kind and its place. Sizes in bytes, times
in ns. What comes in here was written by somebody who may be hostile: every number is checked against the others before
anything is allocated by it. Source: Tahoe-LAFS, docs/specifications/mutable.rst; docs/reference/formats/manifest.md.
"""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import Annotated, TypeVar

import msgspec

from worldos.errors import BadRequest, BadSignature, Damaged, NotThere, PeerBroke
from worldos.store import keys
from worldos.store.entry import Entry, check_entry, open_body, seal_body, sign_entry
from worldos.store.keys import Bytes32, SegmentId
from worldos.store.limits import (
    BODY_BYTES_MIN,
    ENTRY_BODY_BYTES_MAX,
    FILE_BYTES_MAX,
    FILE_INLINE_BYTES_MAX,
    MEDIA_BYTES_MAX,
    NAME_PART_BYTES_MAX,
    PIECES_MAX,
    SEGMENT_BYTES,
    SEGMENT_BYTES_MAX,
    SEGMENTS_MAX,
    SHARES_MAX,
)

VERSION = 1
FILE, FOLDER, WITHDRAWN = 1, 2, 3
_HEAD = struct.Struct(">BBI")
_MODE_MAX = 0o7777

Size = Annotated[int, msgspec.Meta(ge=0, le=FILE_BYTES_MAX)]
InSegment = Annotated[int, msgspec.Meta(ge=0, le=SEGMENT_BYTES_MAX)]
Maybe32 = Annotated[bytes, msgspec.Meta(max_length=32)]  # 32 bytes or none


class Segment(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One sealed segment: any ``k`` of its ``n`` shares give its ``size_bytes`` (a class) back.

    ``secret`` is what its share ids come of where that is not V of this file: a segment that several files use.
    """

    id: SegmentId
    k: Annotated[int, msgspec.Meta(ge=1, le=SHARES_MAX)]
    n: Annotated[int, msgspec.Meta(ge=1, le=SHARES_MAX)]
    size_bytes: Annotated[int, msgspec.Meta(ge=SEGMENT_BYTES[0], le=SEGMENT_BYTES_MAX)]
    roots: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=SHARES_MAX)]
    secret: Maybe32 = b""


class Map(msgspec.Struct, frozen=True, kw_only=True):
    """What a carer sees. ``version`` counts the file's manifests."""

    segments: Annotated[tuple[Segment, ...], msgspec.Meta(max_length=SEGMENTS_MAX)]
    version: Annotated[int, msgspec.Meta(ge=1)] = 1


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """One chunk of the file: where in which segment it lies sealed, and what it is when open."""

    segment: Annotated[int, msgspec.Meta(ge=0, lt=SEGMENTS_MAX)]
    number: Annotated[int, msgspec.Meta(ge=0, lt=PIECES_MAX)]
    offset: InSegment
    sealed_bytes: InSegment
    plain_bytes: Annotated[int, msgspec.Meta(ge=1, le=SEGMENT_BYTES_MAX)]
    packed: bool


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader sees: the whole file, and how it is put together. Either pieces or ``inline``.

    ``name`` is what the file is called where it was given away; its owner's own manifests bear none.
    """

    public: Bytes32
    salt: Bytes32
    size_bytes: Size
    modified_ns: int = 0
    mode: Annotated[int, msgspec.Meta(ge=0, le=_MODE_MAX)] = 0o644
    media: Annotated[str, msgspec.Meta(max_length=MEDIA_BYTES_MAX)] = ""
    digest: Bytes32
    pieces: Annotated[tuple[Piece, ...], msgspec.Meta(max_length=PIECES_MAX)] = ()
    keys: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=SEGMENTS_MAX)] = ()
    inline: Annotated[bytes, msgspec.Meta(max_length=FILE_INLINE_BYTES_MAX)] = b""
    name: Annotated[str, msgspec.Meta(max_length=NAME_PART_BYTES_MAX)] = ""


Part = TypeVar("Part")

_encode = msgspec.msgpack.Encoder().encode
_read_map = msgspec.msgpack.Decoder(Map)
_read_contents = msgspec.msgpack.Decoder(Contents)


def share_ids(segment: Segment, verify: bytes) -> tuple[bytes, ...]:
    """Name the shares of a segment, in the order of the code."""
    secret = segment.secret or verify
    return tuple([keys.share_id(secret, segment.id, index) for index in range(segment.n)])


def encode_manifest(made: Map, contents: Contents, read: bytes, nonces: tuple[bytes, bytes]) -> bytes:
    """Write the body of a manifest; two fresh random nonces. Raise BadRequest for a file that is too large for one."""
    check_map(made)
    check_contents(made, contents, read)
    return seal_parts(FILE, _encode(made), _encode(contents), read, nonces)


def open_map(body: bytes, verify: bytes) -> Map:
    """Open what a carer may see; raise Damaged, PeerBroke, or BadRequest for one of the future."""
    kind, sealed, _ = split(body)
    made = decode_part(_read_map, open_body(keys.map_key(verify), sealed, about=_about(kind, "map")))
    check_map(made)
    return made


def open_contents(body: bytes, read: bytes) -> tuple[Map, Contents]:
    """Open all of a file's manifest; errors as ``open_map``, and BadSignature if R is of another public key."""
    made = open_map(body, keys.verify_of(read))
    contents = decode_part(_read_contents, open_second(body, FILE, read))
    check_contents(made, contents, read)
    return made, contents


def sign_manifest(write: bytes, seq: int, made: Map, contents: Contents, nonces: tuple[bytes, bytes]) -> Entry:
    """Make number ``seq`` of a file's manifest, as the holder of its write secret."""
    read = keys.read_of(write)
    body = encode_manifest(made, contents, read, nonces)
    return sign_entry(keys.signing_key(write), keys.locator_of(keys.verify_of(read)), seq, body, register=True)


def read_manifest(entry: Entry, read: bytes) -> tuple[Map, Contents]:
    """Open a manifest out of its entry and see that the file's own key signed it; else BadSignature."""
    made, contents = open_contents(entry.body, read)
    check_signer(entry, contents.public, read)
    return made, contents


def check_signer(entry: Entry, public: bytes, read: bytes) -> None:
    """Raise BadSignature unless ``entry`` is signed by ``public``, as the register of R."""
    if entry.public != public or entry.log != keys.locator_of(keys.verify_of(read)) or not entry.register:
        raise BadSignature("a manifest was not signed by the file's own key")
    check_entry(entry)


def sign_withdrawal(write: bytes, seq: int, nonces: tuple[bytes, bytes]) -> Entry:
    """Take the place of all manifests of a write secret before ``seq``: there is nothing here any more."""
    key, salt = keys.signing_key(write), keys.salt_of(write)
    read = keys.read_secret(key.public, salt)
    body = seal_parts(WITHDRAWN, _encode(Map(segments=(), version=seq)), key.public + salt, read, nonces)
    return sign_entry(key, keys.locator_of(keys.verify_of(read)), seq, body, register=True)


def is_withdrawal(entry: Entry, read: bytes) -> bool:
    """Whether the owner took back what R leads to: signed by the key that R is of, or it is not believed."""
    kind, _, sealed = split(entry.body)
    if kind != WITHDRAWN:
        return False
    plain = open_body(keys.contents_key(read), sealed, about=_about(kind, "contents"))
    public, salt = plain[: keys.SECRET_BYTES], plain[keys.SECRET_BYTES :]
    if keys.read_secret(public, salt) != read:
        raise BadSignature("a withdrawal names another key than the one that its code was made of")
    check_signer(entry, public, read)
    return True


# -- the frame ------------------------------------------------------------------------------------------------------------


def seal_parts(kind: int, first: bytes, second: bytes, read: bytes, nonces: tuple[bytes, bytes]) -> bytes:
    """Seal the part for carers and that for readers, and frame them."""
    if nonces[0] == nonces[1]:
        raise ValueError("the two parts of a manifest take two nonces")
    map_key = keys.map_key(keys.verify_of(read))
    sealed = seal_body(map_key, first, nonces[0], about=_about(kind, "map"))
    body = _HEAD.pack(VERSION, kind, len(sealed)) + sealed
    body += seal_body(keys.contents_key(read), second, nonces[1], about=_about(kind, "contents"))
    if len(body) > ENTRY_BODY_BYTES_MAX:
        raise BadRequest(
            f"this file has too many parts for one manifest: {len(body)} bytes, and {ENTRY_BODY_BYTES_MAX} fit",
            hint="put it in parts: a manifest describes some 70 GB on a wide code, and 200 GB on a narrow one",
        )
    return body


def split(body: bytes) -> tuple[int, bytes, bytes]:
    """Return the kind of a manifest and its two sealed parts."""
    if not body:
        raise Damaged("a manifest is empty")
    if body[0] > VERSION:
        raise BadRequest("this was made by a newer World OS", hint="update World OS on this device")
    if not _HEAD.size + 2 * BODY_BYTES_MIN <= len(body) <= ENTRY_BODY_BYTES_MAX:
        raise Damaged("a manifest has a length that none has")
    version, kind, size = _HEAD.unpack_from(body)
    if version != VERSION or kind not in {FILE, FOLDER, WITHDRAWN} or size > len(body) - _HEAD.size - BODY_BYTES_MIN:
        raise Damaged("a manifest is not laid out as it must be")
    return kind, body[_HEAD.size : _HEAD.size + size], body[_HEAD.size + size :]


def open_second(body: bytes, kind: int, read: bytes) -> bytes:
    """Open the part for readers of a manifest that must be of one kind."""
    found, _, sealed = split(body)
    if found == WITHDRAWN:
        raise NotThere("what this code led to was withdrawn by its owner", hint="ask the owner for another code")
    if found != kind:
        raise BadRequest("this code says file and leads to a folder, or the other way round")
    return open_body(keys.contents_key(read), sealed, about=_about(kind, "contents"))


def decode_part(decoder: msgspec.msgpack.Decoder[Part], plain: bytes) -> Part:
    """Decode one opened part; PeerBroke for what is not of its type."""
    try:
        return decoder.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a manifest says what no manifest says") from cause


def _about(kind: int, part: str) -> bytes:
    return b"manifest" + bytes([VERSION, kind]) + part.encode("ascii")


# -- what must hold -------------------------------------------------------------------------------------------------------


def check_map(made: Map) -> None:
    """Raise PeerBroke unless each segment can be: a class of size, k <= n, one root a share, one id each."""
    for segment in made.segments:
        if segment.k > segment.n or len(segment.roots) != segment.n or len(segment.secret) not in {0, 32}:
            raise PeerBroke("a manifest has a segment with another number of shares than it says")
        if segment.size_bytes not in SEGMENT_BYTES:
            raise PeerBroke("a manifest has a segment of a size that none has")
    if len({segment.id for segment in made.segments}) != len(made.segments):
        raise PeerBroke("a manifest names one segment twice")


def check_contents(made: Map, contents: Contents, read: bytes) -> None:
    """Raise BadSignature unless R is of this key and salt; PeerBroke unless the pieces lie in the segments and add up."""
    if keys.read_secret(contents.public, contents.salt) != read:
        raise BadSignature("a manifest names another key than the one that its code was made of")
    if len(contents.keys) != len(made.segments):
        raise PeerBroke("a manifest has not one key for each of its segments")
    if contents.inline:
        whole = not contents.pieces and not made.segments and len(contents.inline) == contents.size_bytes
        if not whole:
            raise PeerBroke("a manifest holds a file and says that it lies elsewhere as well")
        return
    sizes = [segment.size_bytes for segment in made.segments]
    try:
        fits = all(piece.offset + piece.sealed_bytes <= sizes[piece.segment] for piece in contents.pieces)
    except IndexError:
        fits = False
    if not fits or sum([piece.plain_bytes for piece in contents.pieces]) != contents.size_bytes:
        raise PeerBroke("the pieces of a manifest lie outside its segments, or do not add up to the file")


def starts_of(contents: Contents) -> list[int]:
    """Return where in the file each piece begins, and last where the file ends: for a search by ``bisect``."""
    return list(accumulate([piece.plain_bytes for piece in contents.pieces], initial=0))
