"""The logarithm in whole thousandths."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.behaviour.millibits import millibits


@given(st.integers(1, 1 << 60))
def test_it_is_the_binary_logarithm_to_a_thousandth(number: int) -> None:
    assert abs(millibits(number) - 1000 * math.log2(number)) <= 1.5


@given(st.integers(1, 1 << 60))
def test_more_is_never_less(number: int) -> None:
    assert millibits(number) <= millibits(number + 1)


def test_twice_as_much_is_a_thousand_more() -> None:
    assert [millibits(1 << bit) for bit in range(5)] == [0, 1000, 2000, 3000, 4000]


@pytest.mark.parametrize("number", [0, -1])
def test_nothing_has_no_logarithm(number: int) -> None:
    with pytest.raises(ValueError, match="no logarithm"):
        millibits(number)
