r"""One entry of a log: signed by whoever the log belongs to, its body sealed, its size telling little.

A log is named by 32 bytes that cannot be guessed. The first public key seen at a name is the one whose entries are
taken there. In a *register* only one entry counts: that with the highest number and, of two with one number, the one
whose body has the smaller BLAKE3 hash; so any two stores that have seen the same entries keep the same one, in
whatever order they came. What is signed is ``log || seq(8) || register(1) || BLAKE3(body)``, domain "entry".

On disk and wherever bytes are wanted, big-endian: ``version(1) flags(1) body length(4) seq(8) log(32) public(32)
signature(64) body``. A sealed body is ``format(1) nonce(12) AES-256-GCM(packed(1) length(4) payload zeros) tag(16)``,
and its whole length is a power of two from 256 bytes on, above 64 KiB an eighth of one. The payload is zstd where
that makes the sealed body smaller. Source: NIST SP 800-38D; docs/reference/formats/entry.md.
"""

from __future__ import annotations

import struct
from typing import Annotated

import blake3
import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worldos.errors import BadRequest, BadSignature, CorruptFile, Damaged, PeerBroke
from worldos.store.keys import Bytes32
from worldos.store.limits import (
    BODY_BYTES_MIN,
    BODY_PLAIN_BYTES_MAX,
    BODY_STEPS_FROM_BYTES,
    ENTRY_BODY_BYTES_MAX,
    ENTRY_SEQ_MAX,
)
from worldos.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, DeviceKey, verify

NONCE_BYTES = 12
TAG_BYTES = 16
VERSION = 1
_DOMAIN = "entry"
_REGISTER = 1
_HEAD = struct.Struct(">BBIQ32s32s64s")
ENTRY_HEAD_BYTES = _HEAD.size
_PREFIX = struct.Struct(">BI")
_SEALING_BYTES = 1 + NONCE_BYTES + _PREFIX.size + TAG_BYTES
_PLAIN, _ZSTD = 0, 1
_ZSTD_LEVEL = 3
_ABOUT = b"worldos body"


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Number ``seq`` of a log, as its owner signed it."""

    log: Bytes32
    seq: Annotated[int, msgspec.Meta(ge=1, le=ENTRY_SEQ_MAX)]
    public: Bytes32
    register: bool = False
    body: Annotated[bytes, msgspec.Meta(max_length=ENTRY_BODY_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


def sign_entry(key: DeviceKey, log: bytes, seq: int, body: bytes, *, register: bool = False) -> Entry:
    """Write number ``seq`` of a log, or what a register says from now on."""
    if not 1 <= seq <= ENTRY_SEQ_MAX or len(log) != 32:
        raise ValueError(f"an entry has a number from 1 to {ENTRY_SEQ_MAX} and a log of 32 bytes")
    if len(body) > ENTRY_BODY_BYTES_MAX:
        raise ValueError(f"the body of an entry has {len(body)} bytes, and at most {ENTRY_BODY_BYTES_MAX} fit")
    signature = key.sign(_DOMAIN, _signed_part(log, seq, body, register=register))
    return Entry(log=log, seq=seq, public=key.public, register=register, body=body, signature=signature)


def check_entry(entry: Entry) -> None:
    """Return if the owner of the log signed this entry; raise PeerBroke for its form, BadSignature for the rest."""
    if not 1 <= entry.seq <= ENTRY_SEQ_MAX or len(entry.log) != 32:
        raise PeerBroke("an entry has another number, or a log of another length, than any entry may have")
    if len(entry.body) > ENTRY_BODY_BYTES_MAX:
        raise PeerBroke(f"the body of an entry has more than {ENTRY_BODY_BYTES_MAX} bytes")
    if len(entry.public) != PUBLIC_BYTES:
        raise BadSignature("the public key of an entry has 32 bytes")
    signed = _signed_part(entry.log, entry.seq, entry.body, register=entry.register)
    verify(entry.public, _DOMAIN, signed, entry.signature)


def supersedes(new: Entry, old: Entry) -> bool:
    """Whether ``new`` takes the place of ``old`` in a register: a total order, so that stores agree by union."""
    return (-new.seq, *_tie(new)) < (-old.seq, *_tie(old))


def encode_entry(entry: Entry) -> bytes:
    """Write an entry as bytes, in the one way."""
    flags = _REGISTER if entry.register else 0
    head = _HEAD.pack(VERSION, flags, len(entry.body), entry.seq, entry.log, entry.public, entry.signature)
    return head + entry.body


def decode_entry(data: bytes | bytearray | memoryview) -> Entry:
    """Read what ``encode_entry`` wrote, all of it; raise CorruptFile. Its signature is still to be checked."""
    if len(data) < ENTRY_HEAD_BYTES:
        raise CorruptFile("an entry ends before its head does")
    version, flags, size, seq, log, public, signature = _HEAD.unpack_from(data)
    if version != VERSION or flags & ~_REGISTER:
        raise CorruptFile("an entry is of a version that this World OS does not read")
    if size > ENTRY_BODY_BYTES_MAX or len(data) != ENTRY_HEAD_BYTES + size or not 1 <= seq <= ENTRY_SEQ_MAX:
        raise CorruptFile("an entry has another size or number than it may have")
    body = bytes(data[ENTRY_HEAD_BYTES:])
    return Entry(log=log, seq=seq, public=public, register=flags == _REGISTER, body=body, signature=signature)


def sealed_bytes(payload_bytes: int) -> int:
    """Return the length of the sealed body for a payload: the padding steps, which are all that a store sees."""
    size = max(payload_bytes + _SEALING_BYTES, BODY_BYTES_MIN)
    power = 1 << (size - 1).bit_length()
    if power <= BODY_STEPS_FROM_BYTES:
        return power
    step = power // 16  # an eighth of the power of two below
    return -(-size // step) * step


def seal_body(key: bytes, plaintext: bytes, nonce: bytes, *, about: bytes = b"") -> bytes:
    """Seal a body under a 32-byte key and a nonce that was never used with it: 12 random bytes of the caller.

    ``about`` is bound to it and must be said again to open it. Raise BadRequest for what does not fit in an entry.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    if len(plaintext) > BODY_PLAIN_BYTES_MAX:
        raise BadRequest(f"this has {len(plaintext)} bytes, and an entry describes {BODY_PLAIN_BYTES_MAX} at most")
    packed, payload = _PLAIN, plaintext
    if sealed_bytes(len(plaintext)) > BODY_BYTES_MIN:
        smaller = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True).compress(plaintext)
        if sealed_bytes(len(smaller)) < sealed_bytes(len(plaintext)):
            packed, payload = _ZSTD, smaller
    size = sealed_bytes(len(payload))
    if size > ENTRY_BODY_BYTES_MAX:
        raise BadRequest(f"an entry of {size} bytes was to be written, and {ENTRY_BODY_BYTES_MAX} are the most")
    inner = b"".join(
        (_PREFIX.pack(packed, len(payload)), payload, bytes(size - len(payload) - _SEALING_BYTES))  # padded with zeros
    )
    return bytes([VERSION]) + nonce + AESGCM(key).encrypt(nonce, inner, _about(about))


def open_body(key: bytes, sealed: bytes, *, about: bytes = b"") -> bytes:
    """Open what ``seal_body`` sealed; raise Damaged for another key or a change, BadRequest for a later format."""
    if not BODY_BYTES_MIN <= len(sealed) <= ENTRY_BODY_BYTES_MAX:
        raise Damaged("a sealed entry has a length that none has")
    if sealed[0] > VERSION:
        raise BadRequest("an entry was made by a newer World OS", hint="update World OS on this device")
    try:
        inner = AESGCM(key).decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], _about(about))
    except InvalidTag as cause:
        raise Damaged("a sealed entry does not open: it was changed, or is not for this key") from cause
    if sealed[0] != VERSION:
        raise Damaged("a sealed entry is in no known format")
    return _unpadded(inner)


def _unpadded(inner: bytes) -> bytes:
    packed, size = _PREFIX.unpack_from(inner)
    payload = inner[_PREFIX.size : _PREFIX.size + size]
    if len(payload) != size or packed not in {_PLAIN, _ZSTD} or inner[_PREFIX.size + size :].strip(b"\0"):
        raise PeerBroke("a sealed entry is not laid out as it must be")
    if packed == _PLAIN:
        return payload
    try:
        if not 0 <= zstandard.frame_content_size(payload) <= BODY_PLAIN_BYTES_MAX:
            raise PeerBroke(f"a sealed entry would unpack to more than {BODY_PLAIN_BYTES_MAX} bytes")
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as cause:
        raise PeerBroke("what is packed in a sealed entry cannot be unpacked") from cause


def _about(about: bytes) -> bytes:
    return _ABOUT + bytes([VERSION]) + about


def _signed_part(log: bytes, seq: int, body: bytes, *, register: bool) -> bytes:
    return log + seq.to_bytes(8, "big") + bytes([register]) + blake3.blake3(body).digest()


def _tie(entry: Entry) -> tuple[bytes, bytes]:
    return blake3.blake3(entry.body).digest(), entry.signature
