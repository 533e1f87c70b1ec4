"""Fitness: what counts, and that no claim counts for more than its part."""

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.fitness import (
    FITNESS_MAX,
    MAINS_POINTS,
    UPTIME_FULL_NS,
    UPTIME_POINTS,
    clamped,
    fitness,
    uptime_points,
)
from worldos.model.ids import AccountId, NodeId
from worldos.model.offer import Offer

HOUR_NS = 3600 * 10**9


def offer(addresses: int = 1, **facts: int | bool | str) -> Offer:
    return Offer(
        node=NodeId("n"),
        name="n",
        owner=AccountId("a"),
        place="",
        boot=1,
        number=1,
        resources=(),
        facts=facts,
        addresses=tuple(f"10.0.0.{n}:1" for n in range(addresses)),
    )


SERVER = offer(2, battery=False, speed_mips=50_000, load_percent=10)
LAPTOP = offer(1, battery=False, battery_percent=90, speed_mips=80_000, load_percent=10)
ON_BATTERY = offer(1, battery=True, battery_percent=90, speed_mips=80_000, load_percent=10)


def test_a_server_is_fitter_than_a_laptop_and_that_one_fitter_when_plugged_in() -> None:
    assert fitness(SERVER) > fitness(LAPTOP) > fitness(ON_BATTERY)


def test_who_was_on_for_long_is_fitter_up_to_a_bound() -> None:
    values = [uptime_points(hours * HOUR_NS // 4) for hours in range(-1, 6)]
    assert values[0] == values[1] == 0 < values[2] < values[5] == values[6] == UPTIME_POINTS


def test_load_and_no_address_count_against_a_node() -> None:
    assert fitness(offer(battery=False, load_percent=90)) < fitness(offer(battery=False, load_percent=5))
    assert fitness(offer(0)) < fitness(offer(1))


def test_two_laptops_cannot_drive_out_an_old_server() -> None:
    assert 2 * (fitness(SERVER) + uptime_points(UPTIME_FULL_NS)) > FITNESS_MAX, "twice as fit is not to be had"


FACTS = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))


@given(
    st.dictionaries(st.sampled_from(["battery", "battery_percent", "speed_mips", "load_percent"]), FACTS),
    st.integers(0, 20),
)
def test_whatever_a_liar_says_it_is_between_nothing_and_the_most(facts, addresses) -> None:
    assert 0 <= fitness(offer(addresses, **facts)) <= FITNESS_MAX - UPTIME_POINTS


@given(st.integers())
def test_what_others_work_out_is_clamped(told: int) -> None:
    assert 0 <= clamped(told) <= FITNESS_MAX
    assert clamped(clamped(told)) == clamped(told)


def test_facts_of_the_wrong_kind_count_for_nothing() -> None:
    assert fitness(offer(0, battery="no", speed_mips="fast", load_percent=True)) == 0
    assert fitness(offer(0, battery=False)) == MAINS_POINTS
