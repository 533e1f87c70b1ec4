"""The dice against published numbers, and against their promises."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.dice import Dice


def test_the_first_numbers_of_seed_1234567_are_the_published_ones() -> None:
    # Rosetta Code, "Pseudo-random numbers/Splitmix64", computed there with Vigna's C code.
    dice = Dice(state=1234567)
    assert [dice.next_u64() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_below_stays_below(seed: int, n: int) -> None:
    assert 0 <= Dice(state=seed).below(n) < n


def test_each_side_of_a_die_comes_up_about_equally_often() -> None:
    dice = Dice(state=7)
    sides = [0] * 6
    for _ in range(6000):
        sides[dice.below(6)] += 1
    assert all(850 < side < 1150 for side in sides)  # five standard deviations


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(), max_size=20))
def test_a_shuffle_loses_and_doubles_nothing(seed: int, items: list[int]) -> None:
    assert sorted(Dice(state=seed).shuffled(items)) == sorted(items)


@given(st.integers(0, 2**64 - 1), st.integers(0, 12), st.integers(0, 12))
def test_a_sample_is_of_the_items_and_none_twice(seed: int, size: int, amount: int) -> None:
    sample = Dice(state=seed).sample(range(size), amount)
    assert len(sample) == len(set(sample)) == min(size, amount)
    assert set(sample) <= set(range(size))


def test_every_order_of_three_comes_up() -> None:
    dice = Dice(state=1)
    assert len({tuple(dice.shuffled("abc")) for _ in range(200)}) == 6


def test_dice_that_were_saved_roll_on_as_if_they_had_not_been() -> None:
    dice = Dice(state=2**64 - 1)
    dice.next_u64()
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(dice), type=Dice)
    assert [copy.below(1000) for _ in range(20)] == [dice.below(1000) for _ in range(20)]
