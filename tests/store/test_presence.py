"""The two clocks, told as days of devices that come and go."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worldos.store.limits import (
    ABSENCE_NS_MIN,
    DAY_NS,
    HOUR_NS,
    LOST_NS_MIN,
    LOST_STEADY_NS_MIN,
    LOST_UNKNOWN_NS,
    SECOND_NS,
)
from worldos.store.presence import BUCKETS, Learnt, Presence, Status, _bucket, _upper_ns

STEP_NS = 50 * SECOND_NS
BEGIN_NS = 1_000 * DAY_NS


class Days:
    """A watcher that is always on, a companion that is always heard, and one device by plan."""

    def __init__(self) -> None:
        self.presence = Presence()
        self.now_ns = BEGIN_NS

    def run(self, hours: int, *, on: bool, companion: bool = True) -> None:
        end_ns = self.now_ns + hours * HOUR_NS
        while self.now_ns < end_ns:
            self.now_ns += STEP_NS
            if companion:
                self.presence.seen("companion", self.now_ns)
            if on:
                self.presence.seen("device", self.now_ns)
            self.presence.watch(self.now_ns)

    def skip(self, hours: int) -> None:
        """Sleep, as a watcher does."""
        self.now_ns += hours * HOUR_NS
        self.presence.watch(self.now_ns)

    @property
    def status(self) -> Status:
        return self.presence.status("device", self.now_ns)


def test_a_silent_device_is_suspect_after_a_second_and_here_when_heard() -> None:
    days = Days()
    days.run(1, on=True)
    assert days.status is Status.HERE
    days.now_ns += 2 * SECOND_NS
    assert days.status is Status.SUSPECT
    days.run(1, on=True)
    assert days.status is Status.HERE


def test_one_of_whom_nothing_is_known_is_lost_after_two_weeks() -> None:
    days = Days()
    days.run(24, on=True)
    days.run(13 * 24, on=False)
    assert days.status is Status.SUSPECT
    days.run(25, on=False)
    assert days.status is Status.LOST
    days.run(1, on=True)
    assert days.status is Status.HERE, "and it may come back"


def test_a_server_is_lost_after_an_hour_once_it_is_known_as_one() -> None:
    days = Days()
    days.run(15 * 24, on=True)
    assert days.presence.patience_ns("device") == LOST_STEADY_NS_MIN
    days.run(2, on=False)
    assert days.status is Status.LOST


def test_a_laptop_is_lost_after_days_once_its_habit_is_known() -> None:
    days = Days()
    for _ in range(70):
        days.run(8, on=True)
        days.run(16, on=False)
    assert LOST_NS_MIN <= days.presence.patience_ns("device") < LOST_UNKNOWN_NS
    assert 300_000 < days.presence.online_ppm("device") < 360_000
    days.run(48, on=False)
    assert days.status is Status.SUSPECT, "a weekend"
    days.run(48, on=False)
    assert days.status is Status.LOST


def test_a_long_absence_that_was_forgiven_once_is_forgiven_again() -> None:
    days = Days()
    for _ in range(70):
        days.run(8, on=True)
        days.run(16, on=False)
    days.run(12 * 24, on=False)
    days.run(8, on=True)
    days.run(20 * 24, on=False)
    assert days.status is Status.SUSPECT


def test_the_watchers_own_sleep_is_nobodys_absence() -> None:
    days = Days()
    for _ in range(20):
        days.run(8, on=True)
        days.skip(16)
    days.run(1, on=True)
    assert days.presence.online_ppm("device") > 990_000
    assert sum(next(known for known in days.presence.snapshot() if known.node == "device").absences) == 0


def test_after_a_month_of_own_sleep_nobody_is_lost() -> None:
    days = Days()
    days.run(15 * 24, on=True)
    days.skip(30 * 24)
    assert days.status is Status.SUSPECT
    days.now_ns += 30 * SECOND_NS
    days.run(1, on=True)
    assert days.status is Status.HERE


def test_a_clock_that_jumps_loses_nobody() -> None:
    days = Days()
    days.run(24, on=True)
    days.now_ns += 10 * 365 * DAY_NS
    assert days.status is Status.SUSPECT
    days.run(1, on=True)
    days.now_ns -= 11 * 365 * DAY_NS
    days.run(1, on=True)
    assert days.status is Status.HERE
    days.run(24, on=False)
    assert days.status is Status.SUSPECT


def test_while_nobody_is_heard_it_is_the_watcher_who_is_away() -> None:
    days = Days()
    days.run(15 * 24, on=True)
    days.run(40 * 24, on=False, companion=False)
    assert days.status is Status.SUSPECT
    days.run(2, on=False)
    assert days.status is Status.LOST, "the others are back, it is not"


def test_the_owners_word_holds_until_the_device_is_heard() -> None:
    days = Days()
    days.run(1, on=True)
    days.presence.give_up("device")
    assert days.status is Status.LOST
    days.run(1, on=True)
    assert days.status is Status.HERE


def test_another_watchers_word_halves_the_patience_until_the_device_is_heard() -> None:
    days = Days()
    days.run(24, on=True)
    days.presence.doubt("device")
    days.run(6 * 24, on=False)
    assert days.status is Status.SUSPECT
    days.run(25, on=False)
    assert days.status is Status.LOST
    days.run(1, on=True)
    days.run(8 * 24, on=False)
    assert days.status is Status.SUSPECT


def test_what_was_learnt_survives_a_restart_and_the_time_between_counts() -> None:
    days = Days()
    days.run(15 * 24, on=True)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(days.presence.snapshot()), type=tuple[Learnt, ...])
    saved_ns = days.now_ns
    days.presence = Presence(saved, saved_ns=saved_ns)
    days.now_ns += 12 * HOUR_NS
    assert days.status is Status.SUSPECT, "it may not have had the time to answer"
    assert days.presence.silent_ns("device") >= 12 * HOUR_NS
    days.run(2, on=False)
    assert days.status is Status.LOST


def test_one_that_is_expected_and_never_comes_is_lost_in_the_end() -> None:
    days = Days()
    days.run(1, on=False)
    days.presence.expect("device")
    days.run(13 * 24, on=False)
    assert days.status is Status.SUSPECT
    days.run(25, on=False)
    assert days.status is Status.LOST


def test_a_device_never_heard_is_suspect_and_one_forgotten_too() -> None:
    days = Days()
    assert days.status is Status.SUSPECT
    days.run(1, on=True)
    days.presence.forget("device")
    assert days.presence.nodes() == ["companion"]


@given(st.integers(ABSENCE_NS_MIN, 400 * DAY_NS))
def test_a_length_lies_below_the_top_of_its_bucket_and_by_a_quarter_at_most(length_ns: int) -> None:
    bucket = _bucket(length_ns)
    if bucket == BUCKETS - 1:
        return
    assert length_ns < _upper_ns(bucket) <= length_ns + max(length_ns // 4, 1) + 1
