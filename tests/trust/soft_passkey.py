"""A passkey of software for tests: what an authenticator and a browser would give, with every part open to a lie."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from worldos.trust.passkeys import HAS_KEY, Assertion, challenge_of, rp_id_of

ORIGIN = "http://localhost:7381"
PRESENT_AND_VERIFIED = 0x05


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SoftPasskey:
    """Equal seeds make equal keys (the signatures differ each time, as ECDSA's do)."""

    def __init__(self, rp: str = ORIGIN, seed: int = 1) -> None:
        self.rp = rp
        self._key = ec.derive_private_key(0x1234567 + seed, ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        self.public = bytes.fromhex("a5010203262001215820") + x + bytes.fromhex("225820") + y
        self.credential = hashlib.sha256(self.public).digest()[:16]

    def assertion(self, domain: str, message: bytes, **lies: Any) -> Assertion:
        """Sign ``message``. ``lies``: origin, type, challenge, flags, rp_id, counter, more (bytes), client (dict)."""
        client = {
            "type": lies.get("type", "webauthn.get"),
            "challenge": b64(lies.get("challenge", challenge_of(domain, message))),
            "origin": lies.get("origin", self.rp),
            "crossOrigin": False,
            **lies.get("client", {}),
        }
        return self.signed(
            hashlib.sha256(lies.get("rp_id", rp_id_of(self.rp)).encode()).digest()
            + bytes([lies.get("flags", PRESENT_AND_VERIFIED)])
            + lies.get("counter", 0).to_bytes(4, "big")
            + lies.get("more", b""),
            json.dumps(client, separators=(",", ":")).encode(),
        )

    def registration(self, challenge: bytes, **lies: Any) -> dict[str, Any]:
        """Be made, as a browser tells it: no attestation. ``lies``: origin, type, flags, rp_id."""
        client = {
            "type": lies.get("type", "webauthn.create"),
            "challenge": b64(challenge),
            "origin": lies.get("origin", self.rp),
            "crossOrigin": False,
        }
        said = (
            hashlib.sha256(lies.get("rp_id", rp_id_of(self.rp)).encode()).digest()
            + bytes([lies.get("flags", PRESENT_AND_VERIFIED | HAS_KEY)])
            + bytes(4 + 16)
            + len(self.credential).to_bytes(2, "big")
            + self.credential
            + self.public
        )
        made = bytes.fromhex("a363666d74646e6f6e656761747453746d74a068617574684461746158") + bytes([len(said)]) + said
        return {
            "id": b64(self.credential),
            "rawId": b64(self.credential),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": b64(json.dumps(client, separators=(",", ":")).encode()),
                "attestationObject": b64(made),
                "transports": ["internal"],
            },
        }

    def signed(self, authenticator: bytes, client: bytes) -> Assertion:
        """Sign whatever bytes these are."""
        data = authenticator + hashlib.sha256(client).digest()
        return Assertion(authenticator=authenticator, client=client, signature=self._key.sign(data, ec.ECDSA(SHA256())))
