"""The channel of a pairing: frames, a handshake from a shared secret, and sealed messages after it.

Three open frames, each with a MAC from the ticket's secret over all that came before, so that without the ticket
nothing can be said:

- joiner to inviter, ``1 || commitment(32)``: the hash of the joiner's share, which is not shown yet;
- inviter to joiner, ``2 || share``, or ``15 || why`` once the ticket is spent;
- joiner to inviter, ``3 || share``: what it had committed to. A share is an X25519 public key and a nonce, 64 bytes.

The keys and the short code come of both shares and the whole transcript. Who stole the ticket and sits in the middle
must choose its share towards each side before it sees the share that would tell it which one to choose, so it gets
one guess of a million, and a person sees it miss. After that each message is AES-256-GCM under a key of its direction
and a counter. Frames are a 4-byte big-endian length and so many bytes; the first byte on the wire is always 0, which
no TLS ClientHello begins with (0x16). Source: P. Zimmermann et al., ZRTP, RFC 6189 section 4.4.1.1 (why the
commitment); Bluetooth numeric comparison; Noise psk0.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worldos.errors import PeerBroke

SHARE_BYTES = 64
OPEN_FRAME_BYTES_MAX = 128
MAC_BYTES = 32
_LENGTH_BYTES = 4
COMMIT, ANSWER, REVEAL, SPENT = 1, 2, 3, 15


class Frames:
    """Cuts a stream of bytes into frames, none longer than ``size_max``."""

    def __init__(self) -> None:
        self.size_max = OPEN_FRAME_BYTES_MAX
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Hold bytes until whole frames are taken."""
        self._held += data

    def next(self) -> bytes | None:
        """Return the next whole frame; raise PeerBroke as soon as its length is known to be too much."""
        if len(self._held) < _LENGTH_BYTES:
            return None
        size = int.from_bytes(self._held[:_LENGTH_BYTES], "big")
        if size > self.size_max:
            raise PeerBroke(f"a frame of {size} bytes came where at most {self.size_max} may")
        if len(self._held) < _LENGTH_BYTES + size:
            return None
        frame = bytes(self._held[_LENGTH_BYTES : _LENGTH_BYTES + size])
        del self._held[: _LENGTH_BYTES + size]
        return frame


def framed(payload: bytes) -> bytes:
    """Put the length before a payload."""
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


class Share:
    """One side's part of the handshake, made of 32 fresh random bytes."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"a share is made of 32 random bytes, not {len(seed)}")
        material = derive(seed, b"share", 64)
        self._private = X25519PrivateKey.from_private_bytes(material[:32])
        self.shown = self._private.public_key().public_bytes_raw() + material[32:]

    @property
    def commitment(self) -> bytes:
        """What can be said of the share before it is shown."""
        return commitment_of(self.shown)

    def agree(self, other_shown: bytes) -> bytes:
        """Return the secret both sides have; PeerBroke if the other's key is a degenerate one."""
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(other_shown[:32]))
        except ValueError as cause:
            raise PeerBroke("the other side's key exchange is a degenerate one") from cause


class Transcript:
    """All open frames in order, each closed with a MAC by those who have the ticket."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._mac_key = derive(secret, b"mac", 32)
        self._said = b""

    def say(self, kind: int, body: bytes) -> bytes:
        """Return the payload of the next open frame."""
        open_part = bytes([kind]) + body
        payload = open_part + self._mac(open_part)
        self._said += framed(payload)
        return payload

    def hear(self, payload: bytes) -> tuple[int, bytes] | None:
        """Take in an open frame: its kind and body, or nothing if whoever sent it has not this ticket."""
        open_part, mac = payload[:-MAC_BYTES], payload[-MAC_BYTES:]
        if not open_part or not hmac.compare_digest(mac, self._mac(open_part)):
            return None
        self._said += framed(payload)
        return open_part[0], open_part[1:]

    @property
    def digest(self) -> bytes:
        """The hash of all that was said in the open."""
        return hashlib.sha256(b"worldos/pairing\0" + self._said).digest()

    def keys(self, shared: bytes) -> tuple[bytes, bytes, str]:
        """Return the joiner's key, the inviter's key, and the six digits that people compare."""
        material = derive(shared + self._secret, b"keys", 72, salt=self.digest)
        return material[:32], material[32:64], f"{int.from_bytes(material[64:], 'big') % 1_000_000:06d}"

    def _mac(self, open_part: bytes) -> bytes:
        return hmac.digest(self._mac_key, self._said + framed(open_part), "sha256")


class Keys(NamedTuple):
    """What both sides have once both shares are shown: a key a direction, and the six digits that people compare."""

    joiner: bytes
    inviter: bytes
    code: str


def hear_share(transcript: Transcript, share: Share, commitment: bytes, payload: bytes) -> Keys:
    """Take in the share that the joiner had committed to; PeerBroke if it is another."""
    heard = transcript.hear(payload)
    if heard is None or heard[0] != REVEAL or commitment_of(heard[1]) != commitment:
        raise PeerBroke("the joiner did not show the share that it had committed to")
    if len(heard[1]) != SHARE_BYTES:
        raise PeerBroke("the joiner's share has another size")
    return Keys(*transcript.keys(share.agree(heard[1])))


def hear_answer(
    transcript: Transcript, share: Share, payload: bytes, spent: Collection[str]
) -> tuple[bytes, Keys] | str:
    """Take in the inviter's share: the payload that shows ours, and the keys; or which of ``spent`` the ticket is."""
    heard = transcript.hear(payload)
    if heard is None:
        raise PeerBroke("the machine that answered does not have this ticket")
    kind, body = heard
    if kind == SPENT and (why := body.decode("ascii", "replace")) in spent:
        return why
    if kind != ANSWER or len(body) != SHARE_BYTES:
        raise PeerBroke("the inviter's answer is none")
    shown = transcript.say(REVEAL, share.shown)
    return shown, Keys(*transcript.keys(share.agree(body)))


class Sealed:
    """One direction of the channel: messages in order, none lost, none twice."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._count = 0

    def seal(self, message: bytes) -> bytes:
        """Encrypt the next message."""
        return self._cipher.encrypt(self._nonce(), message, None)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt the next message; PeerBroke if it is not the one that was sent."""
        try:
            return self._cipher.decrypt(self._nonce(), sealed, None)
        except InvalidTag as cause:
            raise PeerBroke("a sealed message was changed on its way") from cause

    def _nonce(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(12, "big")


def commitment_of(shown: bytes) -> bytes:
    """Return the commitment to a share."""
    return hashlib.sha256(b"worldos/pairing/commitment\0" + shown).digest()


def derive(secret: bytes, purpose: bytes, size: int, *, salt: bytes | None = None) -> bytes:
    """Derive ``size`` bytes for one purpose (HKDF-SHA256)."""
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=b"worldos/pairing/" + purpose).derive(secret)
