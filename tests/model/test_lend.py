"""Lend rules as people write them: times of a week, what contradicts what, and whose rule comes first."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.model.lend import (
    DAY_MINUTES,
    WEEK_MINUTES,
    LendRule,
    check_rules,
    contradiction,
    is_within,
    minute_of_week,
    particular,
    show_rule,
    windows_of,
)

NIGHT = "22:00-07:00"
TIMES = st.integers(0, DAY_MINUTES - 1)


def rule(**fields: object) -> LendRule:
    return msgspec.convert({"cpu_permille": 500, **fields}, LendRule)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@given(first=TIMES, end=TIMES, minute=st.integers(0, WEEK_MINUTES - 1))
def test_a_span_of_the_day_holds_on_each_day_as_clocks_show_it(first: int, end: int, minute: int) -> None:
    if first == end:
        return
    of_day = minute % DAY_MINUTES
    expected = first <= of_day < end if first < end else of_day >= first or of_day < end
    assert is_within(windows_of(f"{clock(first)}-{clock(end)}"), minute) == expected


def test_a_night_of_sunday_ends_on_monday() -> None:
    spans = windows_of("sun 22:00-07:00")
    assert is_within(spans, 6 * 60)
    assert not is_within(spans, DAY_MINUTES + 6 * 60)
    assert is_within(spans, 6 * DAY_MINUTES + 23 * 60)


def test_days_may_be_a_range_over_the_end_of_the_week_and_stand_alone() -> None:
    spans = windows_of("Fri-Mon 20:00-21:00, wed")
    days = [day for day in range(7) if is_within(spans, day * DAY_MINUTES + 20 * 60)]
    assert days == [0, 2, 4, 5, 6]
    assert is_within(spans, 2 * DAY_MINUTES)


def test_without_a_time_a_rule_always_holds() -> None:
    assert windows_of("  ") == ()
    assert is_within((), 17)


def test_the_epoch_was_a_thursday_and_the_zone_counts() -> None:
    assert minute_of_week(0, 0) == 3 * DAY_MINUTES
    assert minute_of_week(0, -3600) == 3 * DAY_MINUTES - 60
    monday = 1_767_571_200  # 2026-01-05 00:00 UTC
    assert minute_of_week(monday, 3600) == 60


@pytest.mark.parametrize(
    "text",
    [
        "7-22",
        "25:00-07:00",
        "22:00-24:30",
        "22:60-23:00",
        "22:00-22:00",
        "noday 1:00-2:00",
        "mon tue 1:00-2:00",
        ",",
        "٢٢:00-07:00",
    ],
)
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        windows_of(text)
    assert refused.value.hint


@given(st.text(max_size=60))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    try:
        spans = windows_of(text)
    except BadRequest:
        return
    assert all(0 <= first < end <= WEEK_MINUTES for first, end in spans)


def test_two_rules_for_one_audience_at_one_time_must_agree() -> None:
    rules = (rule(when=NIGHT), rule(to="family", when=NIGHT), rule(cpu_permille=200, when="06:00-08:00"))
    with pytest.raises(BadRequest, match=r"rules 1 and 3 contradict each other.*50 % and 20 % of CPU"):
        check_rules(rules)
    check_rules((rules[0], rules[1], rule(cpu_permille=200, when="07:00-08:00")))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"price_uwos_hour": 5}, "two prices for CPU"),
        ({"isolation": "wasm"}, "two kinds of isolation for CPU"),
        ({"gpu_permille": 100, "cpu_permille": 0}, ""),
        ({"idle_only": True, "cpu_permille": 900}, ""),
        ({"on_battery": True, "cpu_permille": 100}, ""),
        ({"when": "01:00-02:00", "cpu_permille": 900}, ""),
        ({"to": "anyone", "cpu_permille": 900}, ""),
        ({}, ""),
    ],
)
def test_rules_differ_where_neither_comes_first(other: dict[str, object], what: str) -> None:
    assert contradiction(rule(), rule(**other)) == what
    assert contradiction(rule(**other), rule()) == what


def test_the_more_particular_rule_comes_first() -> None:
    wide = [
        rule(to="anyone"),
        rule(to="realm"),
        rule(to="family"),
        rule(to="family", when=NIGHT),
        rule(to="some account"),
    ]
    assert [each.to for each in sorted(wide, key=particular)] == ["some account", "family", "family", "realm", "anyone"]
    assert particular(rule(to="family", when=NIGHT)) < particular(rule(to="family"))
    assert particular(rule(idle_only=True)) < particular(rule())


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cpu_permille": 0}, "lends nothing"),
        ({"isolation": "jail"}, "no isolation 'jail'"),
        ({"to": "anyone", "isolation": "process"}, "contradicts itself"),
        ({"to": "me", "price_uwos_hour": 1}, "contradicts itself"),
        ({"when": "09:00-09:00"}, "contradicts itself"),
    ],
)
def test_a_rule_that_cannot_hold_is_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        check_rules((rule(**fields),))


def test_a_rule_is_said_in_a_line() -> None:
    said = show_rule(rule(to="family", when=NIGHT, idle_only=True, memory_permille=125))
    assert said == "50 % of CPU and 12.5 % of Memory to family at 22:00-07:00 while nobody is here"
