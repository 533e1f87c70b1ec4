import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadSignature, PeerBroke
from worldos.trust.keys import (
    DeviceKey,
    bytes_of,
    exchange_public,
    id_of,
    node_id_of,
    public_of,
    verify,
    verify_certificate,
)

KEY = DeviceKey.from_seed(bytes(range(32)))
P = 2**255 - 19
# The points whose order divides 8 (RFC 8032 curve), and the second encodings of those that have one.
LOW_ORDER = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
]
LOW_ORDER += [point[:31] + bytes([point[31] | 0x80]) for point in LOW_ORDER]


@given(st.binary(min_size=32, max_size=32))
def test_a_node_id_is_the_public_key_and_reads_back(public: bytes) -> None:
    node = node_id_of(public)
    assert len(node) == 52
    assert node == node.lower()
    assert public_of(node) == public


@given(st.text(max_size=60))
def test_garbage_is_never_a_node_id(text: str) -> None:
    with pytest.raises(PeerBroke):
        public_of(text)


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda i: i[:-1], lambda i: i + "a", lambda i: i[:-1] + "b", lambda i: "1" + i[1:]]
)
def test_an_id_has_one_spelling(spoil) -> None:
    with pytest.raises(PeerBroke):
        bytes_of(spoil(KEY.node_id))


def test_a_signature_holds_for_its_key_domain_and_message_only() -> None:
    signature = KEY.sign("offer", b"two cores")
    verify(KEY.public, "offer", b"two cores", signature)
    other = DeviceKey.from_seed(bytes(32))
    for public, domain, message in [
        (other.public, "offer", b"two cores"),
        (KEY.public, "lease", b"two cores"),
        (KEY.public, "offer", b"two cores "),
    ]:
        with pytest.raises(BadSignature):
            verify(public, domain, message, signature)


def test_the_end_of_a_domain_cannot_be_moved_into_the_message() -> None:
    with pytest.raises(AssertionError, match="first zero byte"):
        KEY.sign("a\0b", b"c")


def test_a_signature_of_a_domain_is_not_one_of_a_certificate() -> None:
    with pytest.raises(ValueError, match="SEQUENCE"):
        KEY.sign_certificate(b"worldos/offer\0two cores")
    with pytest.raises(BadSignature):
        verify_certificate(KEY.public, b"worldos/offer\0two cores", KEY.sign("offer", b"two cores"))


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_keys_and_signatures_of_any_length_are_refused_not_a_crash(public: bytes, signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(public, "offer", b"", signature)


@pytest.mark.parametrize("public", LOW_ORDER, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_no_low_order_key_signs_anything(public: bytes) -> None:
    for first in LOW_ORDER:
        for message in (b"a", b"b", b"c"):
            with pytest.raises(BadSignature):
                verify(public, "offer", message, first + bytes(32))


def test_the_lax_verifier_does_take_such_a_forgery() -> None:
    """The reason for the one strict verifier: if OpenSSL ever refuses this, the text above may be shortened."""
    identity = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"anything")


def test_the_second_encoding_of_a_signature_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign("offer", b"x")
    scalar = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadSignature):
        verify(KEY.public, "offer", b"x", signature[:32] + scalar.to_bytes(32, "little"))


def test_a_key_never_prints_its_seed() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    assert KEY.node_id in repr(KEY)


def test_a_seed_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DeviceKey.from_seed(b"short")


@given(st.binary(min_size=32, max_size=32))
def test_ids_are_plain_base32(digest: bytes) -> None:
    assert id_of(digest) == base64.b32encode(digest).decode().rstrip("=").lower()


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_device_and_whoever_seals_to_it_agree_on_one_secret(seed: bytes, ephemeral: bytes) -> None:
    key = DeviceKey.from_seed(seed)
    other = X25519PrivateKey.from_private_bytes(ephemeral)
    shared = other.exchange(X25519PublicKey.from_public_bytes(exchange_public(key.public)))
    assert key.agree(other.public_key().public_bytes_raw()) == shared


@pytest.mark.parametrize("shown", [*LOW_ORDER, b"", bytes(31), bytes(33)])
def test_a_degenerate_key_is_agreed_with_by_nobody(shown: bytes) -> None:
    with pytest.raises(PeerBroke):
        exchange_public(shown)
    if len(shown) != 32 or shown in {bytes(32), (1).to_bytes(32, "little")}:
        with pytest.raises(PeerBroke):
            KEY.agree(shown)
