"""Epochs: the key that the devices of an account share, and a new one whenever one of them is put out.

An epoch is 32 random bytes, sealed to each device by itself, and told with a number. Its id is the hash of number and
key, so nobody can tell one number for two keys, and whoever opens a wrap sees whether it is what it says. It is known
to those who told of it and those it was sealed to: its *knowers*. An epoch with a knower that is no device of the
account any more is *over*: what was written under it stays readable, and nothing new is written under it. So what a
device does not read after its removal follows from the set of what was told, in whatever order it came in.

Two devices that begin an epoch at one time make two; each of all devices writes under the greatest (number, id) that
it can open, and so they meet in one. Whoever has it seals it to devices that lack it.

``seal_under`` is the seal of everything that is written under an epoch: AES-256-GCM by a key of the purpose, over a
padded text, so that a reader of sizes learns little. Source: RFC 5869 (the idea of expanding by purpose), RFC 9420
(epochs of a group); docs/reference/formats/epochs.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worldos.errors import Damaged, PeerBroke
from worldos.model.exact import read_exactly
from worldos.trust.hybrid import BOX_OVERHEAD_BYTES, HybridKey, seal_hybrid
from worldos.trust.keys import PUBLIC_BYTES, public_of

KEY_BYTES = 32
NONCE_BYTES = 12
NUMBER_MAX = 1 << 53
WRAPS_MAX = 12  # in one statement: so many fit
BODY_BYTES_MAX = 16 * 1024
PAD_BYTES = 64
SEALED_BYTES_MAX = 15 * 1024
_WRAP_BYTES = BOX_OVERHEAD_BYTES + KEY_BYTES

Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Wrap(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The key of an epoch, sealed to one device (its public key)."""

    to: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_BYTES, max_length=PUBLIC_BYTES)]
    box: Annotated[bytes, msgspec.Meta(min_length=_WRAP_BYTES, max_length=_WRAP_BYTES)]


class EpochTold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one device tells of an epoch: its number, its id, and the key sealed to some devices, in their order."""

    number: Annotated[int, msgspec.Meta(ge=1, lt=NUMBER_MAX)]
    id: Id
    wraps: Annotated[tuple[Wrap, ...], msgspec.Meta(min_length=1, max_length=WRAPS_MAX)]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EpochTold).decode


def epoch_id(number: int, key: bytes) -> bytes:
    """Name an epoch: the name shows nothing of the key, and fits no other."""
    return hashlib.sha256(b"worldos/epoch id\0" + number.to_bytes(8, "big") + key).digest()


def tell_epoch(number: int, key: bytes, devices: Iterable[tuple[str, bytes]]) -> tuple[bytes, ...]:
    """Seal an epoch's key to devices (node id, hybrid public key); return the bodies of the statements that say so."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of an epoch has {KEY_BYTES} bytes, not {len(key)}")
    name = epoch_id(number, key)
    sealed_to = sorted((public_of(node), public) for node, public in devices)
    wraps = [Wrap(to=device, box=seal_hybrid(public, key, about=name)) for device, public in sealed_to]
    parts = [tuple(wraps[first : first + WRAPS_MAX]) for first in range(0, len(wraps), WRAPS_MAX)]
    return tuple(_encode(EpochTold(number=number, id=name, wraps=part)) for part in parts)


def read_epoch(body: bytes) -> EpochTold:
    """Read what a device tells of an epoch; raise PeerBroke unless it is in the one right form."""
    if len(body) > BODY_BYTES_MAX:
        raise PeerBroke("what is told of an epoch is too long")
    told: EpochTold = read_exactly(_decode, _encode, body, "what is told of an epoch")
    names = [wrap.to for wrap in told.wraps]
    if names != sorted(set(names)):
        raise PeerBroke("what is told of an epoch names its devices out of order")
    return told


def open_epoch(told: EpochTold, device: bytes, key: HybridKey) -> bytes | None:
    """Return the key of an epoch if it was sealed to this device (its public key); raise Damaged if the wrap lies."""
    for wrap in told.wraps:
        if wrap.to == device:
            opened = key.open(wrap.box, about=told.id)
            if epoch_id(told.number, opened) != told.id:
                raise Damaged("the wrap of an epoch holds another key than it says")
            return opened
    return None


def seal_under(key: bytes, purpose: bytes, plaintext: bytes, nonce: bytes, *, about: bytes = b"") -> bytes:
    """Seal something under an epoch for one purpose; ``nonce`` is 12 fresh random bytes, ``about`` is bound to it."""
    padded = plaintext + b"\x80"
    padded += bytes(-len(padded) % PAD_BYTES)
    return nonce + AESGCM(_subkey(key, purpose)).encrypt(nonce, padded, about)


def open_under(key: bytes, purpose: bytes, sealed: bytes, *, about: bytes = b"") -> bytes:
    """Open what was sealed so; raise Damaged for another key, purpose or ``about``, and for what was changed."""
    if len(sealed) < NONCE_BYTES + 16:
        raise Damaged("something sealed under an epoch is cut off")
    try:
        padded = AESGCM(_subkey(key, purpose)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except InvalidTag as cause:
        raise Damaged("what is sealed under an epoch does not open: it was changed, or the key is another") from cause
    plaintext, end, _ = padded.rpartition(b"\x80")
    if not end:
        raise Damaged("what is sealed under an epoch has no end")
    return plaintext


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"worldos/epoch\0" + purpose, "sha256")
