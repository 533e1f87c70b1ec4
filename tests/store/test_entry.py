"""Entries: signed once, the same everywhere, padded, and closed to garbage."""

from __future__ import annotations

import itertools

import msgspec
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, CorruptFile, Damaged, PeerBroke
from worldos.store import entry as entry_module
from worldos.store.entry import (
    ENTRY_HEAD_BYTES,
    Entry,
    check_entry,
    decode_entry,
    encode_entry,
    open_body,
    seal_body,
    sealed_bytes,
    sign_entry,
    supersedes,
)
from worldos.store.limits import BODY_PLAIN_BYTES_MAX, ENTRY_BODY_BYTES_MAX, ENTRY_SEQ_MAX
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(b"k" * 32)
LOG = bytes(range(32))
SEAL = b"s" * 32
NONCE = b"n" * 12


def test_the_bytes_of_an_entry_are_those_of_the_specification() -> None:
    entry = sign_entry(KEY, LOG, 7, b"body", register=True)
    assert encode_entry(entry).hex() == (
        "0101000000040000000000000007"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "8320a51977d8c38ca8a4927c670df5821e449761945e15e9efb26a1509d230ea"
        "6f9cc97e22dc24555f2859787fe2bfacd20db2b44cf4c3b679072cc0ef946fb9"
        "7d54ab07e0245173fb84d5251434e6dca60a58da5705c2faa257b70e7b033500"
        "626f6479"
    )


def test_the_bytes_of_a_sealed_body_are_those_of_the_specification() -> None:
    sealed = seal_body(SEAL, b"a file", NONCE, about=b"name")
    assert len(sealed) == 256
    assert (
        sealed.hex()[:96]
        == "016e6e6e6e6e6e6e6e6e6e6e6efac024898422a2425fe07cd63e29d052d30e11f553fdb3efe9e1697a30286f8ee77a38"
    )


@given(st.binary(max_size=600), st.integers(1, ENTRY_SEQ_MAX), st.booleans())
def test_what_is_signed_is_accepted_and_comes_back_from_its_bytes(body: bytes, seq: int, register: bool) -> None:
    entry = sign_entry(KEY, LOG, seq, body, register=register)
    check_entry(entry)
    assert decode_entry(encode_entry(entry)) == entry
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry) == entry


@given(st.data())
def test_one_changed_bit_is_never_accepted(data: st.DataObject) -> None:
    good = encode_entry(sign_entry(KEY, LOG, 7, b"the body", register=True))
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    with pytest.raises((CorruptFile, PeerBroke, BadSignature)):
        check_entry(decode_entry(bytes(bad)))


@given(st.binary(max_size=400))
def test_garbage_is_no_entry(data: bytes) -> None:
    with pytest.raises((CorruptFile, PeerBroke, BadSignature)):
        check_entry(decode_entry(data))


def test_a_cut_entry_is_refused_at_every_length() -> None:
    good = encode_entry(sign_entry(KEY, LOG, 1, b"body"))
    for size in range(len(good)):
        with pytest.raises(CorruptFile):
            decode_entry(good[:size])
    with pytest.raises(CorruptFile):
        decode_entry(good + b"x")


def test_each_part_of_an_entry_is_under_its_signature() -> None:
    entry = sign_entry(KEY, LOG, 7, b"body")
    other = DeviceKey.from_seed(b"o" * 32)
    changes = [{"log": bytes(32)}, {"seq": 8}, {"register": True}, {"body": b"bodY"}, {"public": other.public}]
    for change in changes:
        with pytest.raises(BadSignature):
            check_entry(msgspec.structs.replace(entry, **change))


@pytest.mark.parametrize(
    "change",
    [{"seq": 0}, {"seq": ENTRY_SEQ_MAX + 1}, {"log": b"short"}, {"body": bytes(ENTRY_BODY_BYTES_MAX + 1)}],
)
def test_a_form_that_no_entry_has_is_refused_before_the_signature(change: dict[str, object]) -> None:
    with pytest.raises(PeerBroke):
        check_entry(msgspec.structs.replace(sign_entry(KEY, LOG, 7, b"body"), **change))


def test_only_what_an_entry_can_hold_is_signed() -> None:
    for log, seq, body in ((LOG, 0, b""), (b"", 1, b""), (LOG, 1, bytes(ENTRY_BODY_BYTES_MAX + 1))):
        with pytest.raises(ValueError, match="entry"):
            sign_entry(KEY, log, seq, body)


def test_in_a_register_all_stores_keep_the_same_entry_in_whatever_order_they_came() -> None:
    entries = [sign_entry(KEY, LOG, seq, body, register=True) for seq in (1, 2) for body in (b"a", b"b", b"c")]
    winners = set()
    for order in itertools.permutations(entries):
        kept = order[0]
        for entry in order[1:]:
            kept = entry if supersedes(entry, kept) else kept
        winners.add(encode_entry(kept))
    assert len(winners) == 1
    assert decode_entry(winners.pop()).seq == 2
    assert not supersedes(entries[0], entries[0])


# -- sealed bodies --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=3000), st.integers(1, 200), st.binary(max_size=8))
@settings(max_examples=50)
def test_what_was_sealed_opens(data: bytes, times: int, about: bytes) -> None:
    sealed = seal_body(SEAL, data * times, NONCE, about=about)
    assert open_body(SEAL, sealed, about=about) == data * times


@given(st.data())
def test_one_changed_bit_of_a_sealed_body_is_never_opened(data: st.DataObject) -> None:
    good = seal_body(SEAL, b"secret", NONCE)
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    with pytest.raises((Damaged, BadRequest)):
        open_body(SEAL, bytes(bad))


@given(st.binary(max_size=600))
def test_garbage_is_no_sealed_body(data: bytes) -> None:
    with pytest.raises((Damaged, BadRequest)):
        open_body(SEAL, data)


def test_a_sealed_body_opens_with_its_key_and_its_context_only() -> None:
    sealed = seal_body(SEAL, b"secret", NONCE, about=b"here")
    for key, about in ((b"x" * 32, b"here"), (SEAL, b"there"), (SEAL, b"")):
        with pytest.raises(Damaged, match="does not open"):
            open_body(key, sealed, about=about)
    with pytest.raises(Damaged):
        open_body(SEAL, sealed[:255], about=b"here")


def test_a_sealed_body_of_a_later_format_says_so() -> None:
    sealed = bytearray(seal_body(SEAL, b"secret", NONCE))
    sealed[0] += 1
    with pytest.raises(BadRequest, match="newer World OS") as caught:
        open_body(SEAL, bytes(sealed))
    assert "update" in caught.value.hint
    sealed[0] = 0
    with pytest.raises(Damaged, match="no known format"):
        open_body(SEAL, bytes(sealed))


def test_the_size_of_a_sealed_body_tells_little() -> None:
    assert {sealed_bytes(size) for size in range(200)} == {256}
    assert {sealed_bytes(size) for size in range(300, 5000)} == {512, 1024, 2048, 4096, 8192}
    assert len({sealed_bytes(size) for size in range(1 << 19, 1 << 20, 997)}) == 8
    assert all(size < sealed_bytes(size) <= 1.13 * size + 8192 for size in range(1 << 17, 1 << 22, 9973))
    assert len({len(seal_body(SEAL, b"x" * size, NONCE)) for size in range(150)}) == 1


def test_what_shrinks_is_packed_and_what_does_not_is_left() -> None:
    assert len(seal_body(SEAL, bytes(1 << 20), NONCE)) <= 1024
    noise = AESGCM(SEAL).encrypt(NONCE, bytes(1 << 17), None)
    assert len(seal_body(SEAL, noise, NONCE)) == sealed_bytes(len(noise))


def test_what_does_not_fit_is_refused_with_its_size() -> None:
    noise = AESGCM(SEAL).encrypt(NONCE, bytes(ENTRY_BODY_BYTES_MAX), None)
    for data in (noise, bytes(BODY_PLAIN_BYTES_MAX + 1)):
        with pytest.raises(BadRequest, match=r"at most|the most"):
            seal_body(SEAL, data, NONCE)


def _sealed_inner(inner: bytes) -> bytes:
    """Seal what only a faulty or hostile holder of the key would."""
    inner += bytes(256 - 29 - len(inner))
    return b"\1" + NONCE + AESGCM(SEAL).encrypt(NONCE, inner, b"worldos body\1")


def _bomb() -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(bytes(BODY_PLAIN_BYTES_MAX + 1))[:200]


@pytest.mark.parametrize(
    "inner",
    [
        b"\2\0\0\0\1x",  # packed in an unknown way
        b"\0\0\0\xff\xff",  # longer than there is
        b"\0\0\0\0\1xy",  # something in the padding
        b"\1\0\0\0\4junk",  # not zstd
        b"\1\0\0\0\x0a" + zstandard.ZstdCompressor(write_content_size=False).compress(b"")[:10].ljust(10, b"\0"),
        b"\1" + len(_bomb()).to_bytes(4, "big") + _bomb(),  # unpacks to too much
    ],
)
def test_even_under_the_right_key_only_the_one_layout_is_read(inner: bytes) -> None:
    with pytest.raises(PeerBroke):
        open_body(SEAL, _sealed_inner(inner))


def test_the_head_of_an_entry_has_the_length_that_the_specification_says() -> None:
    assert ENTRY_HEAD_BYTES == 142
    assert entry_module.VERSION == 1
