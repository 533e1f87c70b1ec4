"""The size of an engine: quick to grow, slow to shrink, and never out of its bounds."""

from __future__ import annotations

import random

from worldos.engines.sizing import IDLE_NS, REFUSED_NS, SECOND_NS, WAITS_NS, Sizing


def test_it_grows_when_more_has_waited_for_a_while_and_not_beyond_the_most() -> None:
    sizing = Sizing(2, 8)
    assert sizing.lacking(0, 5, 2) == 0
    assert sizing.lacking(WAITS_NS, 5, 2) == 3
    assert sizing.lacking(WAITS_NS, 100, 2) == 6
    assert sizing.lacking(WAITS_NS, 100, 8) == 0


def test_a_burst_that_is_over_is_forgotten() -> None:
    sizing = Sizing(1, 8)
    sizing.lacking(0, 5, 1)
    sizing.lacking(SECOND_NS, 1, 1)
    assert sizing.lacking(WAITS_NS, 5, 1) == 0


def test_what_was_refused_is_asked_for_later() -> None:
    sizing = Sizing(1, 8)
    sizing.lacking(0, 5, 1)
    sizing.refused(WAITS_NS)
    assert sizing.lacking(WAITS_NS + REFUSED_NS - 1, 5, 1) == 0
    assert sizing.lacking(WAITS_NS + REFUSED_NS, 5, 1) == 4


def test_what_has_long_had_nothing_to_do_goes_the_last_that_came_first_and_the_least_stays() -> None:
    sizing = Sizing(2, 8)
    idle = {1: 2, 2: 2, 3: 2}
    assert sizing.spare(0, idle, 6) == ()
    assert sizing.spare(IDLE_NS - 1, idle, 6) == ()
    assert sizing.spare(IDLE_NS, idle, 6) == (3, 2)


def test_who_had_work_in_between_begins_to_wait_anew() -> None:
    sizing = Sizing(0, 8)
    sizing.spare(0, {1: 1}, 2)
    sizing.spare(SECOND_NS, {}, 2)
    assert sizing.spare(IDLE_NS, {1: 1}, 2) == ()
    assert sizing.spare(2 * IDLE_NS, {1: 1}, 2) == (1,)


def test_it_never_leaves_its_bounds_whatever_happens() -> None:
    for seed in range(50):
        dice = random.Random(seed)
        sizing = Sizing(2, 9)
        seats, cores, now_ns = {0: 2}, 2, 0
        for number in range(1, 200):
            now_ns += dice.randrange(5 * SECOND_NS)
            lacking = sizing.lacking(now_ns, dice.randrange(30), cores)
            if lacking and dice.random() < 0.3:
                sizing.refused(now_ns)
            elif lacking:
                seats[number] = dice.randint(1, lacking)
            cores = sum(seats.values())
            idle = {seat: seats[seat] for seat in seats if seat and dice.random() < 0.8}
            for seat in sizing.spare(now_ns, idle, cores):
                del seats[seat]
            cores = sum(seats.values())
            assert 2 <= cores <= 9
