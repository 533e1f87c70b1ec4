r"""Keys: who signs, and the one strict check of a signature.

A node's id *is* its Ed25519 public key: 52 characters of lower-case base32, so a name cannot be held by another key.
A signature is made over ``b"worldos/" + domain + b"\0" + message``: what was signed for one purpose can never be
shown for another. Certificates are an exception, since X.509 says which bytes are signed; those start with a DER
SEQUENCE (0x30) and so can never be mistaken for the others. Notes of logs (trust/note.py) are the other: text, and so without
the zero byte. The verifier is libsodium: it refuses low-order keys and
second encodings of one signature, where OpenSSL accepts one forged signature for every message.

A secret can be sealed *to* a key as well: its X25519 form, which anybody makes of the public key, agrees on one with
an ephemeral key. One key pair for both is safe (E. Thormarker, "On using the same key pair for Ed25519 and an X25519
based KEM", 2021), and what is agreed on is always hashed with its purpose. Source: RFC 8032, RFC 7748.
"""

from __future__ import annotations

import functools

from nacl.bindings import (
    crypto_scalarmult,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError, CryptoError

from worldos.errors import BadSignature, PeerBroke
from worldos.model.ids import NodeId

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
ID_CHARS = 52
_DER_SEQUENCE = 0x30

# Base32 (RFC 4648) by our own hand: ids are read for every entry and certificate, and base64.b32decode takes 24 us.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LETTERS = frozenset(_ALPHABET)
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SPARE_BITS = ID_CHARS * 5 - 256
_PAIR_SHIFTS = range(ID_CHARS * 5 - 10, -1, -10)
_TO_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


class DeviceKey:
    """An Ed25519 key pair that never shows its seed. The recovery key of an account is one as well."""

    __slots__ = ("_secret", "node_id", "public")

    def __init__(self, public: bytes, secret: bytes) -> None:
        self.public = public
        self.node_id = node_id_of(public)
        self._secret = secret

    @classmethod
    def from_seed(cls, seed: bytes) -> DeviceKey:
        """Make the key of a 32-byte seed; equal seeds make equal keys."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a key seed has {SEED_BYTES} bytes, not {len(seed)}")
        return cls(*crypto_sign_seed_keypair(seed))

    def sign(self, domain: str, message: bytes) -> bytes:
        """Sign ``message`` for the purpose ``domain``; 64 bytes, the same for the same message."""
        return self._sign(_framed(domain, message))

    def sign_certificate(self, tbs: bytes) -> bytes:
        """Sign the to-be-signed part of an X.509 certificate, which has no room for a domain."""
        if not tbs or tbs[0] != _DER_SEQUENCE:
            raise ValueError("the to-be-signed part of a certificate is a DER SEQUENCE")
        return self._sign(tbs)

    def sign_note(self, text: bytes) -> bytes:
        """Sign a note, whose format has no room for a domain: text, and so without the zero byte that ends a domain."""
        if not text or 0 in text or text[0] == _DER_SEQUENCE:
            raise ValueError("a note is text that is not empty and has no zero byte")
        return self._sign(text)

    def agree(self, shown: bytes) -> bytes:
        """Return the 32 bytes shared with who holds the X25519 key ``shown``; PeerBroke if that is a degenerate one."""
        if len(shown) != PUBLIC_BYTES:  # libsodium's wrapper would read past the end
            raise PeerBroke(f"a key for sealing has {PUBLIC_BYTES} bytes, not {len(shown)}")
        try:
            secret: bytes = crypto_scalarmult(crypto_sign_ed25519_sk_to_curve25519(self._secret), shown)
        except (CryptoError, RuntimeError) as cause:
            raise PeerBroke("a key for sealing is no key, or a degenerate one") from cause
        return secret

    def _sign(self, message: bytes) -> bytes:
        signed: bytes = crypto_sign(message, self._secret)
        return signed[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        """Show the id only: a key in a log or a traceback must not leak."""
        return f"DeviceKey({self.node_id})"


def exchange_public(public: bytes) -> bytes:
    """Return the X25519 form of an Ed25519 public key: what to seal to. PeerBroke for what is not such a key."""
    if len(public) != PUBLIC_BYTES:
        raise PeerBroke(f"a public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    try:
        shown: bytes = crypto_sign_ed25519_pk_to_curve25519(public)
    except (CryptoError, RuntimeError) as cause:
        raise PeerBroke("a key to seal to is no key, or a degenerate one") from cause
    return shown


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> None:
    """Return if ``signature`` is that of ``public`` over ``message`` in ``domain``; raise BadSignature otherwise."""
    _verify(public, _framed(domain, message), signature)


def verify_certificate(public: bytes, tbs: bytes, signature: bytes) -> None:
    """Return if ``signature`` is that of ``public`` over these bytes of a certificate; raise BadSignature if not."""
    if tbs[:1] != bytes([_DER_SEQUENCE]):
        raise BadSignature("these are not the signed bytes of a certificate")
    _verify(public, tbs, signature)


def verify_note(public: bytes, text: bytes, signature: bytes) -> None:
    """Return if ``signature`` is that of ``public`` over this text of a note; raise BadSignature if not."""
    if not text or 0 in text or text[0] == _DER_SEQUENCE:
        raise BadSignature("this is not the text of a note")
    _verify(public, text, signature)


def id_of(digest: bytes) -> str:
    """Write 32 bytes as an id: 52 characters of lower-case base32 without padding."""
    assert len(digest) == 32
    number = int.from_bytes(digest, "big") << _SPARE_BITS
    return "".join([_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS])


@functools.lru_cache(maxsize=4096)
def bytes_of(identifier: str) -> bytes:
    """Read an id back to its 32 bytes; raise PeerBroke unless it is spelt in the one right way."""
    if len(identifier) != ID_CHARS or not _LETTERS.issuperset(identifier):
        raise PeerBroke(f"an id has {ID_CHARS} characters of base32: a to z and 2 to 7")
    number = int(identifier.translate(_TO_DIGITS), 32)
    if number & ((1 << _SPARE_BITS) - 1):
        raise PeerBroke("an id does not end so: bits are set that no key has")
    return (number >> _SPARE_BITS).to_bytes(32, "big")


def node_id_of(public: bytes) -> NodeId:
    """Name the node of a 32-byte public key."""
    if len(public) != PUBLIC_BYTES:
        raise PeerBroke(f"a public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return NodeId(id_of(public))


def public_of(node_id: str) -> bytes:
    """Return the public key that a node id is; raise PeerBroke on anything else."""
    return bytes_of(node_id)


def _framed(domain: str, message: bytes) -> bytes:
    assert "\0" not in domain, "the end of a domain must be its first zero byte"
    return b"worldos/" + domain.encode("ascii") + b"\0" + message


def _verify(public: bytes, message: bytes, signature: bytes) -> None:
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        raise BadSignature("a public key has 32 bytes and a signature 64")
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError as cause:
        raise BadSignature from cause
