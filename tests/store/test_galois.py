"""Arithmetic of the field, against multiplication by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.store import galois

number = st.integers(0, 255)


def by_hand(first: int, second: int) -> int:
    """Multiply two polynomials over GF(2) and take the remainder, as the definition says."""
    total = 0
    for bit in range(8):
        if second >> bit & 1:
            total ^= first << bit
    for bit in range(14, 7, -1):
        if total >> bit & 1:
            total ^= galois.POLYNOMIAL << (bit - 8)
    return total


def test_products_are_those_of_the_definition() -> None:
    for first in range(256):
        assert galois.times(first) == bytes(by_hand(first, second) for second in range(256))


def test_every_number_but_zero_has_one_inverse() -> None:
    assert sorted(galois.inverse(one) for one in range(1, 256)) == list(range(1, 256))
    assert all(galois.product(one, galois.inverse(one)) == 1 for one in range(1, 256))
    with pytest.raises(ZeroDivisionError):
        galois.inverse(0)


@given(st.binary(min_size=1, max_size=40), number, number)
def test_rows_are_scaled_and_added_as_numbers_are(row: bytes, first: int, second: int) -> None:
    both = galois.added(galois.scaled(row, first), galois.scaled(row, second))
    assert both == galois.scaled(row, first ^ second)
    assert galois.combined(bytes([first, second]), [row, row]) == both


@given(
    st.integers(1, 8).flatmap(
        lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=size, max_size=size)
    )
)
def test_a_matrix_times_its_inverse_changes_nothing(matrix: list[bytes]) -> None:
    try:
        back = galois.inverted(matrix)
    except ValueError:
        return
    assert tuple(galois.combined(row, matrix) for row in back) == galois.unit_rows(len(matrix))


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="singular"):
        galois.inverted([b"\x01\x02", b"\x02\x04"])
