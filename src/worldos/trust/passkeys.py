r"""Passkeys: a person signs exact bytes with a finger on a phone or a key, and any node checks it without asking anyone.

A passkey (WebAuthn) signs over a *challenge*. Here the challenge is no random number but the hash of what is signed,
``SHA-256(b"worldos/" + domain + b"\0" + message)``: so an assertion is a signature over an entry or a command, good for
these bytes alone, and can be checked years later. Replaying it says the same thing again, which changes nothing.

*Where* it was made counts as much: the browser writes the origin of the page into what is signed, and a page of another
origin gets nothing that is taken here. All ports of ``localhost`` share one relying party id, so an account remembers the
whole origin (``rp``, such as ``http://localhost:7381``) of each passkey, and that one alone is right. The user must have
been *verified* (a finger, a face, a PIN), not only present.

Two encodings of one ECDSA signature exist (s and -s): count approvals by key, never by signature. Only ES256 over P-256,
which every authenticator speaks, in the one canonical encoding of its COSE key. Source: Web Authentication Level 3, 7.2;
RFC 9053, 2.1 and 7.1.1; checked against py_webauthn and real output of Chromium in tests/trust/test_passkeys.py.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.model.exact import read_exactly

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PUBLIC_BYTES = 77
CREDENTIAL_BYTES_MAX = 1023
ORIGIN_CHARS_MAX = 128
AUTHENTICATOR_BYTES_MIN, AUTHENTICATOR_BYTES_MAX = 37, 512
CLIENT_BYTES_MAX = 2048
SIGNATURE_BYTES_MIN, SIGNATURE_BYTES_MAX = 8, 72

USER_PRESENT, USER_VERIFIED, MAY_BACK_UP, BACKED_UP, HAS_KEY, HAS_MORE = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_RP_HASH_BYTES = 32
_UNKNOWN_FLAGS = 0x22
# {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}: canonical CBOR has no other way to write it.
_COSE = (bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820"))
_COORDINATE_BYTES = 32
# A host name by TLS, or this very machine. An address is no relying party: browsers give no passkey to one.
_ORIGIN = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(:[1-9][0-9]{0,4})?|http://localhost(:[1-9][0-9]{0,4})?")


class Assertion(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What a passkey gives for a challenge: what the authenticator says, what the browser says, and one signature."""

    authenticator: Annotated[
        bytes, msgspec.Meta(min_length=AUTHENTICATOR_BYTES_MIN, max_length=AUTHENTICATOR_BYTES_MAX)
    ]
    client: Annotated[bytes, msgspec.Meta(min_length=1, max_length=CLIENT_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES_MIN, max_length=SIGNATURE_BYTES_MAX)]


class _Client(msgspec.Struct, frozen=True, rename="camel"):
    """What the browser says: the one part of it that no page can choose."""

    type: str
    challenge: str
    origin: str
    cross_origin: bool = False
    top_origin: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Assertion).decode
_decode_client = msgspec.json.Decoder(_Client).decode


def challenge_of(domain: str, message: bytes) -> bytes:
    """Return the challenge by which a passkey signs ``message`` for the purpose ``domain``: 32 bytes."""
    assert "\0" not in domain, "the end of a domain must be its first zero byte"
    return hashlib.sha256(b"worldos/" + domain.encode("ascii") + b"\0" + message).digest()


def write_assertion(assertion: Assertion) -> bytes:
    """Write an assertion down, in the one way there is."""
    return _encode(assertion)


def read_assertion(data: bytes) -> Assertion:
    """Read what ``write_assertion`` wrote; PeerBroke for anything else."""
    assertion: Assertion = read_exactly(_decode, _encode, data, "a passkey's signature")
    return assertion


def verify_assertion(public: bytes, rp: str, assertion: Assertion, domain: str, message: bytes) -> None:
    """Return if the passkey ``public`` signed ``message`` at the origin ``rp``, its user verified; else BadSignature.

    ``public`` and ``rp`` are as ``check_passkey`` let them in.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 70 ms, and key logs are read at every start
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    _check_authenticator(assertion.authenticator, rp)
    _check_client(assertion.client, rp, challenge_of(domain, message))
    signed = assertion.authenticator + hashlib.sha256(assertion.client).digest()
    try:
        _point(public).verify(assertion.signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature as cause:
        raise BadSignature("the signature of this passkey does not fit") from cause
    except PeerBroke as cause:
        raise BadSignature("this passkey has no key that can be checked") from cause


def check_passkey(public: bytes, rp: str) -> None:
    """Raise PeerBroke unless this is the COSE key of a P-256 passkey, and ``rp`` an origin that can have one."""
    check_origin(rp)
    _point(public)


def check_origin(rp: str) -> None:
    """Raise PeerBroke unless ``rp`` is an origin that can have passkeys."""
    if len(rp) > ORIGIN_CHARS_MAX or not _ORIGIN.fullmatch(rp):
        raise PeerBroke("a passkey belongs to an origin: https://NAME, or http://localhost:PORT")


def rp_id_of(rp: str) -> str:
    """Return the relying party id of an origin: its host."""
    return rp.split("://", 1)[-1].split(":", 1)[0]


@functools.lru_cache(maxsize=256)
def _point(public: bytes) -> EllipticCurvePublicKey:
    """Read a COSE key; OpenSSL sees to it that the point is on the curve."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    head, between = _COSE
    x_at, y_at = len(head), len(head) + _COORDINATE_BYTES + len(between)
    x, y = public[x_at : x_at + _COORDINATE_BYTES], public[y_at:]
    if len(public) != PUBLIC_BYTES or public != head + x + between + y:
        raise PeerBroke("a passkey's key is a COSE key of ES256 over P-256, in canonical CBOR")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError as cause:
        raise PeerBroke("a passkey's key is no point of P-256") from cause


def _check_authenticator(said: bytes, rp: str) -> None:
    """Look at what the authenticator says: for whom, and that its user was there and verified."""
    if not AUTHENTICATOR_BYTES_MIN <= len(said) <= AUTHENTICATOR_BYTES_MAX:
        raise BadSignature("what the authenticator says has another size")
    if said[:_RP_HASH_BYTES] != hashlib.sha256(rp_id_of(rp).encode()).digest():
        raise BadSignature("this passkey was used for another site")
    flags = said[_RP_HASH_BYTES]
    if not flags & USER_PRESENT or not flags & USER_VERIFIED:
        raise BadSignature("whoever used this passkey was not verified (no finger, face or PIN)")
    if flags & (HAS_KEY | _UNKNOWN_FLAGS) or (flags & BACKED_UP and not flags & MAY_BACK_UP):
        raise BadSignature("what the authenticator says contradicts itself")
    if bool(flags & HAS_MORE) != (len(said) > AUTHENTICATOR_BYTES_MIN):
        raise BadSignature("what the authenticator says has another size")


def _check_client(said: bytes, rp: str, challenge: bytes) -> None:
    """Look at what the browser says: that it was asked to sign this, by a page of this origin and no frame in another."""
    if len(said) > CLIENT_BYTES_MAX:
        raise BadSignature("what the browser says has another size")
    try:
        client = _decode_client(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadSignature("what the browser says cannot be read") from cause
    if client.type != "webauthn.get":
        raise BadSignature("this was not made to sign in or to approve")
    if client.challenge != base64.urlsafe_b64encode(challenge).rstrip(b"=").decode():
        raise BadSignature("this passkey signed something else")
    if client.origin != rp or client.cross_origin or client.top_origin is not None:
        raise BadSignature(f"this was signed at another origin than {rp}")
