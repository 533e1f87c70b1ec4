"""CBOR by one door: one way to write each value, and nothing else is read. cbor2 is the oracle."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.trust import cbor
from worldos.trust.limits import CBOR_ITEMS_MAX

WHOLE = st.integers(-(1 << 64), (1 << 64) - 1)
TEXT = st.text(st.characters(codec="ascii"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.binary(max_size=40) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(-9, 9), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_was_written_is_read_again(value: cbor.Value) -> None:
    assert cbor.decode(cbor.encode(value), depth_max=9) == value


@given(VALUES)
def test_any_other_reader_reads_the_same(value: cbor.Value) -> None:
    assert cbor2.loads(cbor.encode(value)) == value


@given(st.recursive(WHOLE | TEXT, lambda inner: st.dictionaries(TEXT, inner, max_size=5), max_leaves=20))
def test_it_is_written_as_cbor2_writes_it_canonically(value: cbor.Value) -> None:
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)


@given(st.data())
@settings(max_examples=300)
def test_bytes_that_pass_are_the_only_way_to_write_their_value(data: st.DataObject) -> None:
    wire = bytearray(cbor.encode(data.draw(VALUES)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(wire) - 1))
        wire[place] = data.draw(st.integers(0, 255))
    try:
        value = cbor.decode(bytes(wire), depth_max=9)
    except PeerBroke:
        return
    assert cbor.encode(value) == bytes(wire)


@pytest.mark.parametrize(
    ("what", "wire"),
    [
        ("nothing", ""),
        ("a tag: a date", "c074323031332d30332d32315432303a30343a30305a"),
        ("a tag: a decimal", "c48221196ab3"),
        ("a bignum", "c249010000000000000000"),
        ("a float", "fb3ff0000000000000"),
        ("half a float", "f93c00"),
        ("undefined", "f7"),
        ("a simple value", "f820"),
        ("an array without end", "9f01ff"),
        ("a text without end", "7f6161ff"),
        ("a number in a longer head", "1801"),
        ("a length in a longer head", "590001ff"),
        ("a map out of order", "a2616201616101"),
        ("a key twice", "a2616101616102"),
        ("a key of bytes", "a1416101"),
        ("a key that is an array", "a18001"),
        ("a key that is true", "a1f501"),
        ("a key that is nothing", "a1f601"),
        ("something after the end", "0101"),
        ("text that is no UTF-8", "61ff"),
        ("half of a surrogate pair", "63eda080"),
        ("text that is not in NFC", "6365cc81"),
        ("an array of 2^64", "9bffffffffffffffff"),
        ("bytes of 2^63", "5b7fffffffffffffff"),
        ("too deep", "81" * 40 + "01"),
        ("an end in the middle", "8201"),
        ("reserved lengths", "1c"),
    ],
)
def test_what_has_another_meaning_elsewhere_is_refused(what: str, wire: str) -> None:
    with pytest.raises(PeerBroke):
        cbor.decode(bytes.fromhex(wire))


def test_too_many_values_are_refused_whatever_their_shape() -> None:
    assert cbor.decode(cbor.encode([0] * CBOR_ITEMS_MAX))
    for value in ([0] * (CBOR_ITEMS_MAX + 1), [[0] * 200] * 3, dict.fromkeys(range(300), 0)):
        with pytest.raises(PeerBroke):
            cbor.decode(cbor.encode(value))


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(PeerBroke):
        cbor.decode(cbor.encode(bytes(100)), size_max=50)


def test_a_number_of_more_than_64_bits_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        cbor.encode(1 << 64)


def test_a_key_of_cose_is_read() -> None:
    key = {1: 2, 3: -7, -1: 1, -2: b"x" * 32, -3: b"y" * 32}
    wire = bytes.fromhex("a5010203262001215820") + b"x" * 32 + bytes.fromhex("225820") + b"y" * 32
    assert cbor.decode(wire) == key
    assert cbor.encode(key) == wire
