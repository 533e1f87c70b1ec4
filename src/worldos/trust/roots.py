"""Roots: a device's own certificate authority, as the key log holds it.

A root is self-signed by the device key and lives as long as the key (1970 to 9999, so that no clock finds it stale).
It is a pure function of the public key and one signature, so it is written here byte for byte (RFC 5280 in DER): an
entry is checked by comparing, no member can make the others trust a certificate of another shape, and a program that
only asks who is a member loads no X.509 library. A test holds these bytes against those that ``cryptography`` lays
out.
"""

from __future__ import annotations

from worldos.errors import PeerBroke
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, public_of

KEY_ID_BYTES = 20

_OUTER = bytes.fromhex("30820174")
_BEFORE_ISSUER = bytes.fromhex("30820126a003020102020101300506032b6570")  # version 3, serial 1, Ed25519
_NAME = bytes.fromhex("303f313d303b06035504030c34")  # CN = the node id
_VALIDITY = bytes.fromhex("3020") + b"\x17\x0d700101000000Z" + b"\x18\x0f99991231235959Z"
_BEFORE_KEY = bytes.fromhex("302a300506032b6570032100")
_EXTENSIONS = bytes.fromhex(
    "a3453043"
    "30120603551d130101ff040830060101ff020100"  # basicConstraints, critical: an authority for leaves only
    "300e0603551d0f0101ff040403020204"  # keyUsage, critical: signs certificates
    "301d0603551d0e04160414"  # subjectKeyIdentifier: the key's first bytes
)
_SIGNED_BY = bytes.fromhex("300506032b6570034100")


def root_certificate(key: DeviceKey) -> bytes:
    """Return the DER of the device's own root; the same key makes the same bytes."""
    tbs = _signed_part(key.node_id)
    return _OUTER + tbs + _SIGNED_BY + key.sign_certificate(tbs)


def check_root(node: str, root_cert: bytes) -> None:
    """Raise PeerBroke unless ``root_cert`` is in every byte but its signature the root of ``node``.

    The signature of an anchor carries no weight in X.509: that the device wants this root is said by its acceptance
    of the claim.
    """
    head = _OUTER + _signed_part(node) + _SIGNED_BY
    if len(root_cert) != len(head) + SIGNATURE_BYTES or not root_cert.startswith(head):
        raise PeerBroke("this is not the root certificate of that device")


def _signed_part(node: str) -> bytes:
    public, name = public_of(node), _NAME + node.encode("ascii")
    return b"".join([_BEFORE_ISSUER, name, _VALIDITY, name, _BEFORE_KEY, public, _EXTENSIONS, public[:KEY_ID_BYTES]])
