"""Hybrid keys: what is sealed to a device stays sealed when one of two kinds of mathematics falls.

A device's sealing key is a pair of ML-KEM-768 and X25519 behind one HPKE suite: who wants in must break both. It is
made of 32 bytes of its own, never of the device key: a stolen signature key opens nothing, and the pair can be made
anew. A box is ``enc(1120) ciphertext tag(16)``; its purpose goes in as HPKE's *info*, so what was sealed for one
purpose opens for no other. A box says nothing about who made it.

HPKE takes its chance from the library itself: an encapsulation that repeats would show the secret, so nobody may hand
it in. Nothing that decides depends on the bytes of a box. Source: RFC 9180; draft-ietf-hpke-pq, MLKEM768-X25519.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from worldos.errors import Damaged, PeerBroke

SEED_BYTES = 32
LATTICE_BYTES = 1184
PUBLIC_BYTES = LATTICE_BYTES + 32
BOX_OVERHEAD_BYTES = 1120 + 16
_LATTICE_SEED_BYTES = 64
_DOMAIN = b"worldos/hybrid\0"

_suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class HybridKey:
    """A device's pair for sealed things. It shows its public half alone."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        """Make the pair of a 32-byte seed; equal seeds make equal pairs."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        grown = hashlib.shake_256(_DOMAIN + seed).digest(_LATTICE_SEED_BYTES + 32)
        lattice = MLKEM768PrivateKey.from_seed_bytes(grown[:_LATTICE_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(grown[_LATTICE_SEED_BYTES:])
        self._private = MLKEM768X25519PrivateKey(lattice, curve)
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def open(self, box: bytes, *, about: bytes) -> bytes:
        """Open what was sealed to this key for this purpose; raise Damaged for anything else."""
        if len(box) < BOX_OVERHEAD_BYTES:
            raise Damaged("a sealed box is cut off")
        try:
            return _suite.decrypt(box, self._private, _DOMAIN + about)
        except (InvalidTag, ValueError) as cause:
            raise Damaged("a sealed box does not open: it was changed, or is not for this key") from cause

    def __repr__(self) -> str:
        """Show no secret."""
        return f"HybridKey({self.public[-4:].hex()})"


def check_public(public: bytes) -> None:
    """Raise PeerBroke unless one can seal to this."""
    _read_public(public)


def seal_hybrid(public: bytes, plaintext: bytes, *, about: bytes) -> bytes:
    """Seal to a device's hybrid key (1216 bytes) for one purpose; PeerBroke for what is no such key."""
    try:
        return _suite.encrypt(plaintext, _read_public(public), _DOMAIN + about)
    except ValueError as cause:  # X25519 agrees on nothing with a degenerate key
        raise PeerBroke("a hybrid key is a degenerate one") from cause


def _read_public(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_BYTES:
        raise PeerBroke(f"a hybrid key has {PUBLIC_BYTES} bytes, not {len(public)}")
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public[:LATTICE_BYTES])
        curve = X25519PublicKey.from_public_bytes(public[LATTICE_BYTES:])
    except ValueError as cause:
        raise PeerBroke("these bytes are no hybrid key") from cause
    return MLKEM768X25519PublicKey(lattice, curve)
