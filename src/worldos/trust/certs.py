"""Certificates: how a device key becomes a name that TLS can check.

Each device is its own authority: a *root* (``roots``), self-signed by the device key and written in the account's key
log; and *leaves* (P-256, because not every TLS stack takes Ed25519 leaves), signed by the same key and good for a
day. A node takes the roots of its account's members as trust anchors, so OpenSSL's handshake already refuses
strangers and stale leaves. It does not know which device may speak for which name, and its Ed25519 check is lax, so
after each handshake ``node_of_certificate`` asks again: the name in the leaf is a key, and that key has signed the
leaf, by PyNaCl.

A leaf is valid from a day before ``now_s`` to a day after: renewed at half its life to come, it lets two clocks be up
to 12 hours apart. Times are in unix seconds. ``cryptography`` lays out the bytes; it never signs or verifies with a
device key.

For whoever makes the TLS contexts: set ``num_tickets = 0`` (a resumed session accepts an expired certificate);
anchors may be added to a live context with ``load_verify_locations(cadata=der)`` but never taken away, so revocation
needs a new context and a look at live links. Source: RFC 5280, RFC 8410.
"""

from __future__ import annotations

import datetime  # values that the certificate builder asks for; no clock is read

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from worldos.errors import BadSignature, PeerBroke
from worldos.model.ids import NodeId
from worldos.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, DeviceKey, public_of, verify_certificate
from worldos.trust.roots import KEY_ID_BYTES, check_root, root_certificate

__all__ = [
    "root_certificate",
    "check_root",
    "leaf_certificate",
    "fresh_leaf",
    "node_of_certificate",
    "read_leaf",
    "Leaf",
]

DAY_S = 24 * 3600
BACKDATED_S = DAY_S
LEAF_LIFE_S = DAY_S
RENEW_AFTER_S = LEAF_LIFE_S // 2
CERTIFICATE_BYTES_MAX = 4096
URI_PREFIX = "wos://node/"

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# The builder insists on signing; what it signs with is thrown away with the signature.
_SCAFFOLD_SEED = bytes(32)


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """What a checked leaf says: whose it is, and when it is valid (unix seconds)."""

    node: NodeId
    not_before_s: int
    not_after_s: int


def leaf_certificate(
    key: DeviceKey, leaf_public: ec.EllipticCurvePublicKey, not_before_s: int, not_after_s: int, serial: int
) -> bytes:
    """Return the PEM of a leaf for a P-256 key, signed by the device key and valid between two moments."""
    name = _name(key.node_id)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(leaf_public)
        .serial_number(serial)
        .not_valid_before(datetime.datetime.fromtimestamp(not_before_s, tz=datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(not_after_s, tz=datetime.UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URI_PREFIX + key.node_id)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(_authority(key.public), critical=False)
    )
    scaffold = builder.sign(Ed25519PrivateKey.from_private_bytes(_SCAFFOLD_SEED), None)
    head = scaffold.public_bytes(Encoding.DER)[:-SIGNATURE_BYTES]
    der = head + key.sign_certificate(scaffold.tbs_certificate_bytes)
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def fresh_leaf(key: DeviceKey, now_s: int, seed: bytes) -> tuple[bytes, bytes]:
    """Make a leaf and its private key from 32 fresh random bytes: ``(chain_pem, key_pem)``, both PEM.

    The chain is the leaf alone, since the other side has the root from the key log. Renew after RENEW_AFTER_S.
    """
    if len(seed) != 32:
        raise ValueError(f"a leaf is made of 32 random bytes, not {len(seed)}")
    # 40 bytes for a 32-byte order: reduced modulo the order, the bias is below 2^-64.
    material = HKDF(algorithm=SHA256(), length=40 + 16, salt=None, info=b"worldos/leaf/1").derive(seed)
    scalar = int.from_bytes(material[:40], "big") % (_P256_ORDER - 1) + 1
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    serial = int.from_bytes(b"\x40" + material[40:55], "big")
    chain = leaf_certificate(key, private.public_key(), now_s - BACKDATED_S, now_s + LEAF_LIFE_S, serial)
    return chain, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def node_of_certificate(leaf_der: bytes) -> NodeId:
    """Return the node that a peer's leaf (DER) speaks for; raise PeerBroke unless that node's key signed it."""
    return read_leaf(leaf_der).node


def read_leaf(leaf_der: bytes) -> Leaf:
    """Check a peer's leaf (DER): name, shape, signature; raise PeerBroke. Its time is the handshake's to check."""
    if len(leaf_der) > CERTIFICATE_BYTES_MAX:
        raise PeerBroke("the peer's certificate is too large")
    try:
        return _read_leaf(x509.load_der_x509_certificate(leaf_der))
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.ExtensionNotFound) as cause:
        raise PeerBroke("the peer's certificate cannot be read") from cause
    except (x509.InvalidVersion, x509.UnsupportedGeneralNameType) as cause:
        raise PeerBroke("the peer's certificate cannot be read") from cause
    except BadSignature as cause:
        raise PeerBroke("the peer's certificate is not signed by the node that it names") from cause


def _read_leaf(leaf: x509.Certificate) -> Leaf:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(names) != 1 or len(uris) != 1 or not uris[0].startswith(URI_PREFIX):
        raise PeerBroke("the peer's certificate does not name one node")
    node = NodeId(uris[0][len(URI_PREFIX) :])
    public = public_of(node)
    if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise PeerBroke("the peer shows a root where a leaf belongs")
    if leaf.issuer != _name(node) or leaf.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        raise PeerBroke("the peer's certificate was not issued by the node that it names")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PeerBroke("the peer's certificate is not for a P-256 key")
    verify_certificate(public, leaf.tbs_certificate_bytes, leaf.signature)
    return Leaf(
        node=node,
        not_before_s=int(leaf.not_valid_before_utc.timestamp()),
        not_after_s=int(leaf.not_valid_after_utc.timestamp()),
    )


def _name(node: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])


def _authority(public: bytes) -> x509.AuthorityKeyIdentifier:
    assert len(public) == PUBLIC_BYTES
    return x509.AuthorityKeyIdentifier(public[:KEY_ID_BYTES], None, None)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
