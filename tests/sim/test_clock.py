"""Clocks: never back, never further apart than leases allow."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from worldos.model.limits import SECOND
from worldos.sim.clock import RATE_MAX, RATE_MIN, RATE_ONE, Clock, rate_by_chance

RATES = st.integers(RATE_MIN, RATE_MAX)
MOMENTS = st.integers(0, 10**15)


@given(RATES, MOMENTS, MOMENTS)
def test_a_steady_clock_never_goes_back(rate: int, one: int, other: int) -> None:
    clock = Clock(local_ns=77, rate=rate)
    assert clock.read(min(one, other)) <= clock.read(max(one, other))


@given(RATES, MOMENTS)
def test_a_machine_is_woken_at_the_first_moment_that_its_clock_shows_the_deadline(rate: int, local_ns: int) -> None:
    clock = Clock(true_ns=5, local_ns=3, rate=rate)
    moment_ns = clock.moment_of(local_ns)
    assert clock.read(moment_ns) >= local_ns
    assert clock.read(moment_ns - 1) < local_ns


def test_a_clock_goes_on_from_where_it_is_when_its_rate_changes() -> None:
    clock = Clock(rate=RATE_MAX)
    before_ns = clock.read(10 * SECOND)
    clock.set_rate(10 * SECOND, RATE_MIN)
    assert clock.read(10 * SECOND) == before_ns
    assert clock.read(11 * SECOND) - before_ns < SECOND


def test_a_clock_that_stands_still_never_shows_a_later_deadline() -> None:
    clock = Clock()
    clock.set_rate(SECOND, 0)
    assert clock.read(1000 * SECOND) == SECOND
    assert clock.moment_of(2 * SECOND) > 10**18


def test_only_the_wall_clock_jumps() -> None:
    clock = Clock()
    clock.wall_error_ns = -3600 * SECOND
    assert clock.wall(7 * SECOND) == -3593 * SECOND
    assert clock.read(7 * SECOND) == 7 * SECOND


def test_rates_by_chance_are_often_extreme_and_always_allowed() -> None:
    dice = Random(1)
    rates = [rate_by_chance(dice) for _ in range(300)]
    assert min(rates) == RATE_MIN < RATE_ONE < RATE_MAX == max(rates)
