"""Secrets of a file, each derived one way from the one above it.

    write W (32 random bytes) -> signing seed, salt -> read R -> verify V -> locator L, map key, share ids
                              -> append A                    -> contents key

Who holds one can make those to its right and none to its left. R is a hash of the public key that signs the file's
manifests and of a salt that only holders of R and W ever see: so a reader knows whose signature counts and cannot
make one, and nobody can make another key pair fit the same R. V finds and repairs a file and opens none of it; L is a
name and nothing else. The append secret A comes of W beside R: who appends does not read, who reads does not append.

All of it is BLAKE3 in its key derivation mode, one context a purpose, over length-prefixed parts, so that no two
lists of parts are one. Secrets, keys and ids have 32 bytes. Source: BLAKE3 section 6.2; M. Miller et al., "Capability
Myths Demolished"; Tahoe-LAFS, docs/specifications/mutable.rst (the chain of caps).
"""

from __future__ import annotations

from typing import Annotated

import blake3
import msgspec

from worldos.trust.keys import DeviceKey

SECRET_BYTES = 32
ID_BYTES = 32
SEGMENT_ID_BYTES = 16
_CONTEXT = "worldos 2026 store "

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
SegmentId = Annotated[bytes, msgspec.Meta(min_length=SEGMENT_ID_BYTES, max_length=SEGMENT_ID_BYTES)]


def derive(secret: bytes, purpose: str, *parts: bytes) -> bytes:
    """Derive the 32 bytes that ``secret`` and ``parts`` make for one purpose."""
    data = b"".join([len(part).to_bytes(4, "big") + part for part in (secret, *parts)])
    return blake3.blake3(data, derive_key_context=_CONTEXT + purpose).digest()


def signing_key(write: bytes) -> DeviceKey:
    """Return the key that signs the manifests of a file: the same for the same write secret."""
    return DeviceKey.from_seed(derive(write, "sign"))


def salt_of(write: bytes) -> bytes:
    """Return what hides from everybody else which public key a read secret is made of."""
    return derive(write, "salt")


def read_secret(public: bytes, salt: bytes) -> bytes:
    """Bind a file's public key and salt into its read secret R."""
    return derive(public, "read", salt)


def read_of(write: bytes) -> bytes:
    """Return R of a write secret W."""
    return read_secret(signing_key(write).public, salt_of(write))


def verify_of(read: bytes) -> bytes:
    """Return V of a read secret R."""
    return derive(read, "verify")


def locator_of(verify: bytes) -> bytes:
    """Return the id of the log that holds a file's manifest."""
    return derive(verify, "locator")


def contents_key(read: bytes) -> bytes:
    """Return the key of what readers see of a manifest."""
    return derive(read, "contents")


def map_key(verify: bytes) -> bytes:
    """Return the key of what carers see of a manifest."""
    return derive(verify, "map")


def share_id(verify: bytes, segment: bytes, index: int) -> bytes:
    """Return the id of one coded block: nobody without V can guess it, or see that two belong together."""
    return derive(verify, "share", segment, index.to_bytes(2, "big"))


def append_of(write: bytes) -> bytes:
    """Return A of a write secret W."""
    return derive(write, "append")


def drop_signer(append: bytes) -> DeviceKey:
    """Return the key that signs what is dropped: all who may drop have it."""
    return DeviceKey.from_seed(derive(append, "drop sign"))


def box_key(append: bytes) -> bytes:
    """Return the key of the register that says what to seal drops to."""
    return derive(append, "box seal")


def drop_log(append: bytes) -> bytes:
    """Return the log where holders of an append secret put things."""
    return derive(append, "drop")


def box_log(append: bytes) -> bytes:
    """Return the register where the owner wrote what to seal such things to."""
    return derive(append, "box")


def drop_seed(write: bytes) -> bytes:
    """Return the X25519 private key that opens what was dropped into the folder of a write secret."""
    return derive(write, "drop seed")
