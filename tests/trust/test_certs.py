"""The certificates are put before OpenSSL itself: two stdlib contexts, joined by memory."""

import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.trust import certs
from worldos.trust.certs import (
    fresh_leaf,
    leaf_certificate,
    node_of_certificate,
    read_leaf,
    root_certificate,
)
from worldos.trust.keys import DeviceKey

ALICE = DeviceKey.from_seed(b"a" * 32)
BOB = DeviceKey.from_seed(b"b" * 32)
STRANGER = DeviceKey.from_seed(b"s" * 32)
MEMBERS = (ALICE, BOB)
HOUR_S = 3600


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def context(tmp_path, chain_pem: bytes, key_pem: bytes, members=MEMBERS, server=True) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    # What newer Pythons ask for by default: certificates that follow RFC 5280 to the letter.
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    if server:
        made.num_tickets = 0
    made.load_verify_locations(cadata=b"".join(root_certificate(member) for member in members))
    pem = tmp_path / "leaf.pem"
    pem.write_bytes(chain_pem + key_pem)
    made.load_cert_chain(pem)
    return made


def handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> tuple[bytes, bytes]:
    """Shake hands in memory; return the leaf each side was shown: (client's, server's)."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(up, down, server_side=True)
    client = client_side.wrap_bio(down, up)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    # In TLS 1.3 the client is done before it is judged: data must pass both ways.
    server.write(b"hello")
    assert client.read(5) == b"hello"
    assert server.version() == "TLSv1.3"
    return server.getpeercert(binary_form=True), client.getpeercert(binary_form=True)


def now_s() -> int:
    return int(time.time())


def leaf_of(key: DeviceKey, at_s: int | None = None, seed: bytes = b"1" * 32) -> tuple[bytes, bytes]:
    return fresh_leaf(key, now_s() if at_s is None else at_s, seed)


def test_two_members_shake_hands_and_know_each_other(tmp_path) -> None:
    shown = handshake(context(tmp_path, *leaf_of(ALICE)), context(tmp_path, *leaf_of(BOB), server=False))
    assert [node_of_certificate(leaf) for leaf in shown] == [BOB.node_id, ALICE.node_id]


@pytest.mark.parametrize("hours", [-23, -1, 1, 23])
def test_a_member_whose_clock_is_off_is_still_let_in(tmp_path, hours: int) -> None:
    skewed = leaf_of(BOB, now_s() + hours * HOUR_S)
    handshake(context(tmp_path, *leaf_of(ALICE)), context(tmp_path, *skewed, server=False))


@pytest.mark.parametrize("hours", [-25, 25])
def test_a_leaf_out_of_its_day_is_refused(tmp_path, hours: int) -> None:
    stale = leaf_of(BOB, now_s() + hours * HOUR_S)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        handshake(context(tmp_path, *leaf_of(ALICE)), context(tmp_path, *stale, server=False))


def test_a_stranger_is_refused_as_client_and_as_server(tmp_path) -> None:
    strange = leaf_of(STRANGER)
    alice = context(tmp_path, *leaf_of(ALICE))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(alice, context(tmp_path, *strange, server=False))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            context(tmp_path, *strange, members=(*MEMBERS, STRANGER)), context(tmp_path, *leaf_of(BOB), server=False)
        )


def test_a_client_without_a_certificate_is_refused(tmp_path) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(cadata=root_certificate(ALICE))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(context(tmp_path, *leaf_of(ALICE)), bare)


def test_a_leaf_cannot_act_as_an_authority(tmp_path) -> None:
    """Whoever steals a leaf key has it for a day, and cannot make more of it."""
    chain, key_pem = leaf_of(BOB)
    stolen = load_pem_private_key(key_pem, None)
    forged = x509.load_pem_x509_certificate(leaf_of(BOB, seed=b"2" * 32)[0])
    mine = ec.derive_private_key(7, ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=forged.issuer,
        subject_name=forged.subject,
        public_key=mine.public_key(),
        serial_number=9,
        not_valid_before=forged.not_valid_before_utc,
        not_valid_after=forged.not_valid_after_utc,
        extensions=list(forged.extensions),
    )
    child = builder.sign(stolen, certs.SHA256())
    key = mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(PeerBroke):
        node_of_certificate(child.public_bytes(Encoding.DER))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            context(tmp_path, *leaf_of(ALICE)),
            context(tmp_path, child.public_bytes(Encoding.PEM) + chain, key, server=False),
        )


def test_a_member_that_takes_the_name_of_another_passes_openssl_and_not_us(tmp_path) -> None:
    forged = leaf_with_name(BOB, ALICE.node_id)
    key_pem = leaf_of(BOB)[1]
    shown, _ = handshake(context(tmp_path, *leaf_of(ALICE)), context(tmp_path, forged, key_pem, server=False))
    with pytest.raises(PeerBroke, match="not issued by"):
        node_of_certificate(shown)


def leaf_with_name(signer: DeviceKey, node: str, issuer: str | None = None) -> bytes:
    """Make a leaf that is right in every way but that ``signer`` writes the name of another node."""
    right = x509.load_pem_x509_certificate(leaf_of(signer)[0])
    san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("wos://node/" + node)])
    builder = x509.CertificateBuilder(
        issuer_name=certs._name(issuer or signer.node_id),
        subject_name=certs._name(node),
        public_key=right.public_key(),
        serial_number=5,
        not_valid_before=right.not_valid_before_utc,
        not_valid_after=right.not_valid_after_utc,
        extensions=[e if e.oid != san.oid else x509.Extension(san.oid, False, san) for e in right.extensions],
    )
    scaffold = builder.sign(certs.Ed25519PrivateKey.from_private_bytes(bytes(32)), None)
    signature = signer.sign_certificate(scaffold.tbs_certificate_bytes)
    made = scaffold.public_bytes(Encoding.DER)[:-64] + signature
    return ssl.DER_cert_to_PEM_cert(made).encode()


def test_naming_the_other_as_issuer_too_fails_the_signature() -> None:
    with pytest.raises(PeerBroke, match="not signed by the node that it names"):
        node_of_certificate(der(leaf_with_name(BOB, ALICE.node_id, issuer=ALICE.node_id)))


def test_a_removed_member_is_refused_by_the_next_context(tmp_path) -> None:
    bob = context(tmp_path, *leaf_of(BOB), server=False)
    handshake(context(tmp_path, *leaf_of(ALICE)), bob)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(tmp_path, *leaf_of(ALICE), members=(ALICE,)), bob)


def test_an_anchor_can_be_added_to_a_living_context(tmp_path) -> None:
    alice = context(tmp_path, *leaf_of(ALICE), members=(ALICE,))
    alice.load_verify_locations(cadata=root_certificate(BOB))
    handshake(alice, context(tmp_path, *leaf_of(BOB), server=False))


def test_a_root_is_not_a_leaf() -> None:
    with pytest.raises(PeerBroke):
        node_of_certificate(root_certificate(ALICE))


@given(st.binary(max_size=200))
def test_random_bytes_are_not_a_certificate(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        node_of_certificate(data)


LEAF_DER = der(leaf_of(ALICE, 1_800_000_000)[0])


@given(st.integers(0, len(LEAF_DER) - 1), st.integers(1, 255))
@settings(max_examples=150)
def test_a_leaf_with_any_byte_changed_is_refused(place: int, flip: int) -> None:
    spoilt = bytearray(LEAF_DER)
    spoilt[place] ^= flip
    with pytest.raises(PeerBroke):
        node_of_certificate(bytes(spoilt))


def test_a_leaf_says_when_it_is_valid() -> None:
    leaf = read_leaf(LEAF_DER)
    assert leaf.node == ALICE.node_id
    assert (leaf.not_before_s, leaf.not_after_s) == (1_800_000_000 - certs.DAY_S, 1_800_000_000 + certs.DAY_S)


def test_fresh_chance_makes_a_fresh_key_and_the_same_chance_the_same() -> None:
    one, again, other = (leaf_of(ALICE, 0, seed) for seed in (b"1" * 32, b"1" * 32, b"2" * 32))
    assert one[1] == again[1] != other[1]
    serials = {x509.load_pem_x509_certificate(pem).serial_number for pem, _ in (one, other)}
    assert len(serials) == 2


def test_a_leaf_for_a_key_on_another_curve_is_refused() -> None:
    wide = ec.derive_private_key(7, ec.SECP384R1()).public_key()
    pem = leaf_certificate(ALICE, wide, 0, 100, 3)
    with pytest.raises(PeerBroke, match="P-256"):
        node_of_certificate(der(pem))
