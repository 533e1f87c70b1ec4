"""Leaves: any range of a share is checked alone, and no changed byte passes."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged
from worldos.store import leaves
from worldos.store.limits import LEAF_BYTES

SHARE = bytes((place * 31 + (place >> 8)) % 256 for place in range(3 * LEAF_BYTES + 100))
LIST = leaves.leaf_digests(SHARE)
ROOT = leaves.root_of(LIST, len(SHARE))


def test_a_share_is_checked_by_its_root() -> None:
    assert len(LIST) == 4 * 32
    leaves.check_digests(LIST, len(SHARE), ROOT)
    assert leaves.bad_leaves(LIST, SHARE) == []
    for number in range(4):
        leaves.check_leaf(LIST, number, SHARE[number * LEAF_BYTES : (number + 1) * LEAF_BYTES])


def test_the_digests_are_those_of_the_day_they_were_frozen() -> None:
    assert ROOT.hex() == "56dea951905f6bc3568711078e306751993a30a0f11cade157ddae6d06cff2b5"
    assert LIST[32:64] == blake3(SHARE[LEAF_BYTES : 2 * LEAF_BYTES], key=bytes(31) + b"\x01").digest()


@given(st.integers(0, len(SHARE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_found_in_its_leaf(place: int, change: int) -> None:
    data = bytearray(SHARE)
    data[place] ^= change
    assert leaves.bad_leaves(LIST, data) == [place // LEAF_BYTES]
    with pytest.raises(Damaged):
        leaves.check_range(LIST, 0, data)


@given(st.integers(0, len(SHARE) - 1), st.integers(1, len(SHARE)))
def test_a_range_is_checked_without_the_rest(offset: int, length: int) -> None:
    length = min(length, len(SHARE) - offset)
    start, size = leaves.leaves_around(offset, length, len(SHARE))
    assert start <= offset
    assert offset + length <= start + size <= len(SHARE)
    leaves.check_range(LIST, start, SHARE[start : start + size])


@pytest.mark.parametrize(
    "data",
    [SHARE[:-1], SHARE + b"\0", SHARE[LEAF_BYTES:], SHARE[:100], SHARE + bytes(LEAF_BYTES)],
    ids=["shorter", "longer", "another leaf", "part of a leaf", "a leaf more"],
)
def test_another_length_or_place_is_refused(data: bytes) -> None:
    with pytest.raises(Damaged):
        leaves.check_range(LIST, 0, data)


def test_a_leaf_at_another_place_is_refused() -> None:
    with pytest.raises(Damaged):
        leaves.check_leaf(LIST, 1, SHARE[:LEAF_BYTES])
    for number in (-1, 4, 99):
        with pytest.raises(Damaged):
            leaves.check_leaf(LIST, number, SHARE[:LEAF_BYTES])


@given(st.binary(max_size=200))
def test_a_list_that_does_not_give_the_root_is_refused(digests: bytes) -> None:
    with pytest.raises(Damaged):
        leaves.check_digests(digests, len(SHARE), ROOT)


def test_a_list_fits_one_length_only() -> None:
    for size in (len(SHARE) - 1, len(SHARE) + 1, 0):
        with pytest.raises(Damaged):
            leaves.check_digests(LIST, size, ROOT)


def test_a_range_that_begins_inside_a_leaf_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="where a leaf begins"):
        leaves.check_range(LIST, 5, SHARE[5:])
