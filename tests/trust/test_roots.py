"""The bytes of a root, held against those that a certificate builder lays out."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import check_root, root_certificate

ALICE = DeviceKey.from_seed(b"a" * 32)
BOB = DeviceKey.from_seed(b"b" * 32)


def built(seed: bytes) -> bytes:
    """Lay out the same root with the library, and let OpenSSL sign it."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DeviceKey.from_seed(seed).node_id)])
    usage = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"], False
    ) | dict.fromkeys(["crl_sign", "encipher_only", "decipher_only"], False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(public[:20]), critical=False)
        .sign(key, None)
        .public_bytes(Encoding.DER)
    )


@given(st.binary(min_size=32, max_size=32))
def test_our_bytes_are_those_of_the_library_for_any_key(seed: bytes) -> None:
    assert root_certificate(DeviceKey.from_seed(seed)) == built(seed)


def test_the_same_key_makes_the_same_root_byte_for_byte() -> None:
    root = root_certificate(ALICE)
    assert root == root_certificate(DeviceKey.from_seed(b"a" * 32))
    read = x509.load_der_x509_certificate(root)
    read.verify_directly_issued_by(read)
    assert read.public_key().public_bytes_raw() == ALICE.public
    check_root(ALICE.node_id, root)


@given(st.integers(0, 400), st.integers(1, 255))
@settings(max_examples=60)
def test_a_root_is_compared_in_every_byte(place: int, flip: int) -> None:
    root = bytearray(root_certificate(ALICE))
    place %= len(root) - 64
    root[place] ^= flip
    with pytest.raises(PeerBroke):
        check_root(ALICE.node_id, bytes(root))


def test_a_root_of_another_or_with_a_tail_is_refused() -> None:
    for wrong in (root_certificate(BOB), root_certificate(ALICE) + b"x", b"", root_certificate(ALICE)[:-1]):
        with pytest.raises(PeerBroke):
            check_root(ALICE.node_id, wrong)
