"""Secrets of one use of an engine: a certificate that is its own authority, and passwords. They live as long as the lease.

Whoever has the key is let in, nobody else: both ends show the same certificate, and trust no other. It names nobody.
"""

from __future__ import annotations

import datetime
import secrets
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_BEGIN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # it ends with the lease; no clock of a node matters
_END = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)


class Certificate(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


def certificate(name: str) -> Certificate:
    """Make a certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    return Certificate(
        made.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def password() -> str:
    """Make a password that may stand in a URL."""
    return secrets.token_urlsafe(24)
