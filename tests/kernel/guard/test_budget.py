"""Budgets: buckets fill slowly, and shares given out before never add up to more than the cap."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import REALM, a_roll, id_of

from worldos.kernel.guard.budget import Bucket, Buckets, Purse, overlap, share_of, spent_in_all, within
from worldos.kernel.guard.limits import SHARE_WINDOW_S
from worldos.kernel.guard.roll import Share
from worldos.kernel.guard.said import Spent
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId

HOUR = 3600 * SECOND


def test_a_bucket_is_full_at_first_and_fills_by_the_hour() -> None:
    bucket = Bucket(burst=3, per_hour=2)
    assert [bucket.take(5) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(5 + HOUR // 2 - 1)
    assert bucket.take(5 + HOUR // 2)
    assert bucket.take(5 + HOUR)
    assert [bucket.take(100 * HOUR) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.tuples(st.integers(0, HOUR), st.integers(0, 4)), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_what_came_since(takes: list[tuple[int, int]]) -> None:
    bucket = Bucket(burst=5, per_hour=3)
    now_ns, taken = 0, 0
    for step_ns, units in takes:
        now_ns += step_ns
        taken += units if bucket.take(now_ns, units) else 0
        assert taken * HOUR <= 5 * HOUR + 3 * now_ns


def test_a_clock_that_goes_back_fills_nothing_and_no_units_are_made() -> None:
    bucket = Bucket(burst=1, per_hour=1)
    assert bucket.take(HOUR)
    assert not bucket.take(0)
    assert not bucket.take(HOUR)
    assert not Bucket(burst=1, per_hour=1).take(0, -1)


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets()
    assert sum(buckets.may_stop(0, "ada") for _ in range(20)) == 8
    assert buckets.may_stop(0, "bob")
    assert sum(buckets.may_propose(0, "ada") for _ in range(20)) == 16


def test_a_purse_gives_each_unit_once_and_no_more_than_there_are() -> None:
    purse = Purse(place=REALM, amount=5)
    given_out = [purse.spend(str(number), 2, 10 * SHARE_WINDOW_S) for number in range(4)]
    assert [spent and (spent.first, spent.count) for spent in given_out] == [(0, 2), (2, 2), None, None]
    assert purse.spend("x", 1, 10 * SHARE_WINDOW_S) is not None
    assert purse.spend("x", 0, 10 * SHARE_WINDOW_S) is None
    fresh = purse.spend("y", 5, 11 * SHARE_WINDOW_S)
    assert fresh is not None
    assert fresh.first == 0
    assert purse.spend("z", 1, 10 * SHARE_WINDOW_S) is None, "the clock went back"


def test_what_was_given_out_in_an_earlier_life_is_not_given_again() -> None:
    first = Purse(place=REALM, amount=5)
    spent = [first.spend(str(number), 1, SHARE_WINDOW_S) for number in range(3)]
    again = Purse(place=REALM, amount=5)
    for each in reversed(spent):
        assert each is not None
        again.gave(each)
    assert sum(again.spend("x", 1, SHARE_WINDOW_S) is not None for _ in range(9)) == 2


def of(first: int, count: int, command: str = "a" * 52, window: int = 1) -> Spent:
    return Spent(command=command, place=REALM, window=window, first=first, count=count)


def test_a_unit_for_two_commands_is_seen() -> None:
    assert overlap(of(0, 3), of(2, 1, "b" * 52))
    assert not overlap(of(0, 3), of(3, 1, "b" * 52))
    assert not overlap(of(0, 3), of(0, 3))
    assert not overlap(of(0, 3), of(0, 3, "b" * 52, window=2))


def test_a_share_is_of_its_holder_and_place_and_has_an_end() -> None:
    share = Share(place=REALM, holder=id_of("w0"), amount=3)
    roll = a_roll(Level.GROUP, approvers=["ada"], population=9, shares=(share,))
    assert share_of(roll, id_of("w0"), REALM) == share
    assert share_of(roll, id_of("w1"), REALM) is None
    assert share_of(roll, id_of("w0"), "elsewhere") is None
    assert within(share, of(2, 1))
    assert not within(share, of(2, 2))


def test_islands_together_never_spend_more_than_the_cap_in_whatever_order_they_meet() -> None:
    rng = random.Random(4)
    for _ in range(50):
        cap, islands = rng.randrange(20, 200), rng.randrange(1, 21)
        places = [RealmId(f"region{number}") for number in range(islands)]
        purses = [Purse(place=place, amount=cap // islands) for place in places]
        said: list[tuple[NodeId, Spent]] = []
        for number in range(400):
            at = rng.randrange(islands)
            spent = purses[at].spend(f"{number}", 1 + rng.randrange(3), SHARE_WINDOW_S)
            if spent is not None:
                said.append((id_of(places[at]), spent))
        heard = said + rng.sample(said, len(said) // 2)
        rng.shuffle(heard)
        assert spent_in_all(heard) == sum(spent.count for _, spent in said) <= cap
