"""Codes by the device set, exact chances, and how many losses a segment stands, against counting every case."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.store.durability import (
    PPM,
    Profile,
    acknowledged_at,
    availability_ppm,
    below_policy,
    choose_code,
    survives,
)
from worldos.store.erasure import Code


def devices(count: int, online_ppm: int = PPM, *, stranger: bool = False) -> list[Profile]:
    return [Profile(node=f"n{number}", online_ppm=online_ppm, stranger=stranger) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "code"),
    [
        (1, (1, 4)), (3, (1, 4)), (4, (1, 4)), (5, (2, 5)), (6, (3, 6)), (8, (3, 6)), (9, (3, 9)), (11, (3, 9)),
        (12, (4, 12)), (15, (4, 12)), (16, (10, 16)), (100, (10, 16)),
    ],
)  # fmt: skip
def test_the_code_follows_the_number_of_devices(count: int, code: tuple[int, int]) -> None:
    assert choose_code(devices(count)) == Code(*code)


@pytest.mark.parametrize(("count", "code"), [(16, (4, 12)), (30, (8, 24)), (90, (29, 80))])
def test_flaky_devices_get_a_wide_code(count: int, code: tuple[int, int]) -> None:
    assert choose_code(devices(count, 500_000)) == Code(*code)
    assert choose_code(devices(count, stranger=True)) == Code(*code), "a stranger's word is not believed"


@given(st.integers(0, 120), st.integers(0, PPM))
def test_every_code_stands_three_losses_and_fits_its_devices(count: int, online_ppm: int) -> None:
    code = choose_code(devices(count, online_ppm))
    assert code.n - code.k >= 3
    assert code.n <= max(4, count)


def test_the_chances_are_those_of_the_research() -> None:
    half = PPM // 2
    assert availability_ppm([half] * 6, 3) == 656_250
    assert availability_ppm([half] * 16, 10) == 227_249
    assert availability_ppm([900_000] * 6, 3) == 998_730
    home = [990_000, 600_000, 600_000, 400_000, 400_000, 800_000]
    assert availability_ppm(home, 3) == 889_712, "0.890"


@given(st.lists(st.integers(0, PPM), min_size=1, max_size=7), st.integers(0, 7))
def test_a_chance_is_the_sum_over_all_cases(online_ppm: list[int], k: int) -> None:
    whole = 0
    for count in range(k, len(online_ppm) + 1):
        for on_line in combinations(range(len(online_ppm)), count):
            ways = 1
            for device, ppm in enumerate(online_ppm):
                ways *= ppm if device in on_line else PPM - ppm
            whole += ways
    assert availability_ppm(online_ppm, k) == whole * PPM // PPM ** len(online_ppm)


def by_counting(holders: dict[int, set[str]], k: int) -> int:
    """Try all sets of devices that may be lost."""
    nodes = sorted(set().union(*holders.values())) if holders else []
    if sum(bool(held) for held in holders.values()) < k:
        return -1
    for losses in range(1, len(nodes) + 1):
        for gone in combinations(nodes, losses):
            if sum(bool(held - set(gone)) for held in holders.values()) < k:
                return losses - 1
    return len(nodes)


@given(st.dictionaries(st.integers(0, 5), st.integers(0, 2), max_size=6), st.integers(1, 3))
def test_with_one_share_on_each_device_the_losses_are_exact(copies: dict[int, int], k: int) -> None:
    holders = {index: {f"{index}.{copy}" for copy in range(count)} for index, count in copies.items()}
    assert survives(holders, Code(k, 6)) == by_counting(holders, k)


@given(
    st.dictionaries(st.integers(0, 5), st.sets(st.sampled_from("abcdef"), max_size=3), max_size=6), st.integers(1, 3)
)
def test_with_several_shares_on_a_device_the_losses_are_exact_too(holders: dict[int, set[str]], k: int) -> None:
    assert survives(holders, Code(k, 6)) == by_counting(holders, k)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_on_many_devices_that_hold_several_shares_the_losses_are_never_too_many(seed: int, k: int) -> None:
    dice = Random(seed)
    nodes = [f"n{number}" for number in range(14)]
    holders = {index: set(dice.sample(nodes, dice.randint(1, 2))) for index in range(7)}
    assert survives(holders, Code(k, 7)) <= by_counting(holders, k)


def test_a_home_is_lost_as_one() -> None:
    holders = {index: (f"n{index}",) for index in range(6)}
    homes = {f"n{index}": "home" if index < 3 else "office" for index in range(6)}
    assert survives(holders, Code(3, 6)) == 3
    assert survives(holders, Code(3, 6), homes) == 1


def test_a_write_is_acknowledged_at_one_device_more_than_needed_or_at_all_there_are() -> None:
    assert acknowledged_at(Code(3, 6), 9) == 4
    assert acknowledged_at(Code(3, 6), 2) == 2
    assert acknowledged_at(Code(1, 4), 1) == 1


def test_two_losses_are_below_policy() -> None:
    assert below_policy(2)
    assert not below_policy(3)
