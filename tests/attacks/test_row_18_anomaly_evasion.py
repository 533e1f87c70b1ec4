"""Attack 18: a principal that may ask here asks for evil ends, and tries not to be seen: burst, fan-out, escalation, slowly.

Run: the pure analysis that every node runs, on principals with habits of their own (negative binomial pace, things with a long
tail, rare heavy requests, rare denials), 200 of each kind (2000 with TRUST_LONG=1), each after 60 windows of learning.
Must happen: burst, fan-out, escalation and the boiling frog are caught (fan-out and escalation at least 99 of 100, with at most
1 of 100 honest ones slowed down by mistake); who asks for 1.3 times as much is bounded by the caps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import msgspec
import pytest
from tests.kernel.behaviour.traffic import Person, anybody, changed, first_trip, learnt, requests
from tests.test_node import node_of

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.limits import WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.quarantine import CAPS_PER_HOUR, HOUR_NS
from worldos.model.rights import Impact
from worldos.sim.machine import device_key

PRINCIPALS = 2000 if os.environ.get("TRUST_LONG") else 200
HONEST_WINDOWS = 300 if os.environ.get("TRUST_LONG") else 60
THIEF = device_key(3).node_id

Attack = Callable[[Random, Person], Iterator[Iterator[Asked]]]


def usual(dice: Random, person: Person, windows: int, pace: float = 1.0) -> Iterator[Iterator[Asked]]:
    return (requests(dice, person, pace) for _ in range(windows))


def caught(attack: Attack, seed: int, principals: int = PRINCIPALS) -> list[int]:
    """Return for each principal that tripped in which window it did."""
    windows: list[int] = []
    for number in range(principals):
        dice = Random(seed * 1_000_003 + number)
        person = anybody(dice)
        trip = first_trip(learnt(dice, person), attack(dice, person))
        windows += [] if trip is None else [trip[0]]
    return windows


def elsewhere(asked: Asked, number: int) -> Asked:
    return msgspec.structs.replace(asked, target=f"never asked for {number}")


def worse(asked: Asked, number: int) -> Asked:
    return msgspec.structs.replace(asked, cls=3) if number % 5 == 0 else asked


def test_at_most_one_of_a_hundred_honest_ones_is_slowed_down_by_mistake() -> None:
    assert len(caught(lambda dice, person: usual(dice, person, HONEST_WINDOWS), seed=1)) <= PRINCIPALS // 100


def test_a_burst_of_twenty_times_as_much_is_caught_within_two_minutes() -> None:
    assert len(caught(lambda dice, person: usual(dice, person, 12, 20.0), seed=2, principals=60)) >= 59


def test_asking_for_other_things_at_the_same_pace_is_caught() -> None:
    windows = caught(lambda dice, person: changed(elsewhere, usual(dice, person, 30)), seed=3)
    assert len(windows) * 100 >= PRINCIPALS * 99


def test_asking_for_what_is_heavier_at_the_same_pace_is_caught() -> None:
    windows = caught(lambda dice, person: changed(worse, usual(dice, person, 40)), seed=4)
    assert len(windows) * 100 >= PRINCIPALS * 99


def test_a_frog_that_is_boiled_slowly_is_caught_long_before_it_boils() -> None:
    def boiling(dice: Random, person: Person) -> Iterator[Iterator[Asked]]:
        """0.5 % more in each window, to 90 times as much."""
        return (requests(dice, person, 1.005**number) for number in range(900))

    windows = caught(boiling, seed=5, principals=30)
    assert len(windows) == 30
    assert 1.005 ** max(windows) < 8
    assert 1.005 ** sorted(windows)[15] < 4


@pytest.mark.parametrize("impact", [Impact.COSTLY, Impact.PHYSICAL, Impact.IRREVERSIBLE])
def test_who_asks_for_a_third_more_and_is_not_seen_is_bounded_by_the_caps(impact: Impact) -> None:
    node, dice = node_of(), Random(6)
    person = Person(mean=12, shape=5.0, things=8, by_class=(0,) * impact + (1,), denied=0.0)
    done = 0
    hours = 4
    for number in range(WINDOWS_LEARNT + hours * HOUR_NS // WINDOW_NS):
        pace = 1.0 if number < WINDOWS_LEARNT else 1.3
        for place, asked in enumerate(requests(dice, person, pace)):
            now_ns = number * WINDOW_NS + place
            is_allowed = not node.quarantine.refusal(now_ns, THIEF, asked.cls)
            done += is_allowed and number >= WINDOWS_LEARNT
            seen = Asked(principal=THIEF, target=asked.target, cls=asked.cls, is_allowed=is_allowed)
            node.behaviour.saw(now_ns, seen, node)
    assert done <= (hours + 1) * CAPS_PER_HOUR[impact]
