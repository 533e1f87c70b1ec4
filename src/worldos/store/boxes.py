"""Sealed boxes: bytes that only the holder of one key can open, and that nobody signed.

``ephemeral public(32) AES-256-GCM(plaintext) tag(16)``. The key is derived from what the ephemeral key and that of the
receiver agree on, with both public keys and the purpose, and is used once, so its nonce is zero. The receiver is an
X25519 public key; a device or a recovery key is sealed to in its X25519 form (``trust.keys``). A box says nothing
about who made it: what it holds is checked by whoever opens it. Source: RFC 7748; libsodium's sealed boxes; RFC 9180.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worldos.errors import Damaged, PeerBroke
from worldos.store.keys import derive
from worldos.trust.keys import DeviceKey, exchange_public

PUBLIC_BYTES = 32
BOX_OVERHEAD_BYTES = PUBLIC_BYTES + 16
_NONCE = bytes(12)


def box_public(private: bytes) -> bytes:
    """Return the X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal_box(shown: bytes, plaintext: bytes, ephemeral: bytes, *, about: bytes = b"") -> bytes:
    """Seal to the X25519 key ``shown`` with 32 fresh random bytes; PeerBroke if that key is a degenerate one."""
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    own = private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(shown))
    except ValueError as cause:
        raise PeerBroke("a key for sealing is no key, or a degenerate one") from cause
    return own + AESGCM(_key(shared, own, shown, about)).encrypt(_NONCE, plaintext, None)


def open_box(private: bytes, box: bytes, *, about: bytes = b"") -> bytes:
    """Open a box with the X25519 private key; raise Damaged if it is not for this key and purpose, or was changed."""

    def agree(shown: bytes) -> bytes:
        try:
            return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(shown))
        except ValueError as cause:
            raise PeerBroke("a key for sealing is no key, or a degenerate one") from cause

    return _open(agree, box_public(private), box, about)


def seal_to_key(public: bytes, plaintext: bytes, ephemeral: bytes, *, about: bytes = b"") -> bytes:
    """Seal to an Ed25519 public key: a device's, or the recovery key's."""
    return seal_box(exchange_public(public), plaintext, ephemeral, about=about)


def open_with_key(key: DeviceKey, box: bytes, *, about: bytes = b"") -> bytes:
    """Open a box with the key of this device, or that of the 24 words; raise Damaged if it is not for it."""
    return _open(key.agree, exchange_public(key.public), box, about)


def _open(agree: Callable[[bytes], bytes], own: bytes, box: bytes, about: bytes) -> bytes:
    if len(box) < BOX_OVERHEAD_BYTES:
        raise Damaged("a sealed box is cut off")
    shown = box[:PUBLIC_BYTES]
    try:
        shared = agree(shown)
    except PeerBroke as cause:
        raise Damaged("a sealed box was made with a degenerate key") from cause
    try:
        return AESGCM(_key(shared, shown, own, about)).decrypt(_NONCE, box[PUBLIC_BYTES:], None)
    except InvalidTag as cause:
        raise Damaged("a sealed box does not open: it was changed, or is not for this key") from cause


def _key(shared: bytes, ephemeral: bytes, receiver: bytes, about: bytes) -> bytes:
    return derive(shared, "box", ephemeral, receiver, about)
