"""Sealed boxes open for one key and one purpose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged, PeerBroke
from worldos.store.boxes import BOX_OVERHEAD_BYTES, box_public, open_box, open_with_key, seal_box, seal_to_key
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(b"k" * 32)
PRIVATE = b"p" * 32
FRESH = b"e" * 32


def test_the_bytes_of_a_box_are_those_of_the_specification() -> None:
    assert seal_box(box_public(PRIVATE), b"gift", FRESH, about=b"root").hex() == (
        "fb41b1fcf75c1227fa08876056a5ed07ac44fe0c116ec2de80b8e523959d7824117c7ece0037f0f517f07d80b1add7cdaab101d3"
    )


@given(st.binary(max_size=80), st.binary(min_size=32, max_size=32), st.binary(max_size=8))
def test_what_was_sealed_opens_for_its_receiver(plain: bytes, fresh: bytes, about: bytes) -> None:
    box = seal_to_key(KEY.public, plain, fresh, about=about)
    assert len(box) == len(plain) + BOX_OVERHEAD_BYTES
    assert open_with_key(KEY, box, about=about) == plain
    assert open_box(PRIVATE, seal_box(box_public(PRIVATE), plain, fresh, about=about), about=about) == plain


@given(st.data())
def test_one_changed_bit_is_never_opened(data: st.DataObject) -> None:
    good = seal_to_key(KEY.public, b"secret", FRESH)
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    with pytest.raises(Damaged):
        open_with_key(KEY, bytes(bad))


@given(st.binary(max_size=100))
def test_garbage_is_no_box(data: bytes) -> None:
    for garbage in (data, bytes(32) + data, (1).to_bytes(32, "little") + data):
        with pytest.raises(Damaged):
            open_with_key(KEY, garbage)
        with pytest.raises(Damaged):
            open_box(PRIVATE, garbage)


def test_a_box_opens_for_no_other_key_and_no_other_purpose() -> None:
    box = seal_to_key(KEY.public, b"secret", FRESH, about=b"one")
    for key, about in ((DeviceKey.from_seed(b"o" * 32), b"one"), (KEY, b"two")):
        with pytest.raises(Damaged):
            open_with_key(key, box, about=about)


@pytest.mark.parametrize("shown", [bytes(32), (1).to_bytes(32, "little"), b"short"])
def test_nothing_is_sealed_to_a_degenerate_key(shown: bytes) -> None:
    for seal in (seal_box, seal_to_key):
        with pytest.raises(PeerBroke):
            seal(shown, b"secret", FRESH)
