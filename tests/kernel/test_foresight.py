"""Foresight: each cause by itself is seen in time, what only looks like one is not, and the soonest is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.foresight import (
    DISK_FAILS_S,
    HORIZON_S,
    READINGS_MAX,
    Foreseen,
    Foresight,
    Reading,
    going_s,
    in_steps,
)

GB = 10**9


def seen(*readings: Reading) -> tuple[Foreseen, ...]:
    foresight = Foresight()
    for reading in readings:
        foresight.read(reading)
    return foresight.foreseen()


def test_a_machine_of_which_nothing_is_known_goes_nowhere() -> None:
    assert Foresight().facts() == {}
    assert seen(Reading(at_s=0), Reading(at_s=600)) == ()


def test_a_battery_lasts_as_its_own_pace_says() -> None:
    readings = [Reading(at_s=60 * n, battery_percent=40 - n, on_battery=True) for n in range(11)]
    assert seen(*readings) == (Foreseen(25 * 60, "battery", "its battery is at 30 %"),)


def test_a_battery_that_has_just_begun_is_told_only_when_it_is_low() -> None:
    assert seen(Reading(at_s=0, battery_percent=90, on_battery=True)) == ()
    (low,) = seen(Reading(at_s=0, battery_percent=12, on_battery=True))
    assert 0 < low.in_s < 1000
    assert seen(Reading(at_s=0, battery_percent=12, on_battery=False)) == ()
    (empty,) = seen(Reading(at_s=0, battery_percent=3, on_battery=True))
    assert empty.in_s == 0


def test_the_pace_of_a_battery_is_counted_from_when_the_mains_went() -> None:
    charging = [Reading(at_s=60 * n, battery_percent=80, on_battery=False) for n in range(5)]
    going = [Reading(at_s=300 + 60 * n, battery_percent=80 - 5 * n, on_battery=True) for n in range(5)]
    (battery,) = seen(*charging, *going)
    assert battery.in_s == (60 - 5) * 60 // 5


def test_heat_that_climbs_towards_the_end_is_seen_and_work_that_begins_is_not() -> None:
    climbing = [Reading(at_s=30 * n, milli_c=80_000 + 1_000 * n, cap_milli_c=85_000) for n in range(9)]
    (heat,) = seen(*climbing)
    assert (heat.what, heat.in_s) == ("heat", 12 * 30)
    warming = [Reading(at_s=30 * n, milli_c=30_000 + 3_000 * n, cap_milli_c=85_000) for n in range(9)]
    assert seen(*warming) == ()


def test_memory_that_grows_is_seen_and_a_step_is_not() -> None:
    growing = [Reading(at_s=30 * n, memory_free=(10 - n) * GB, memory_bytes=16 * GB) for n in range(9)]
    (memory,) = seen(*growing)
    assert memory.what == "memory"
    assert memory.in_s == (2 * GB - 16 * GB // 50) * 240 // (8 * GB)
    assert seen(*growing[:8]) == (), "while much is left, what grows is only at work"
    step = [Reading(at_s=30 * n, memory_free=(15 if n < 8 else 1) * GB, memory_bytes=16 * GB) for n in range(15)]
    assert not any(seen(*step[:many]) for many in range(len(step) + 1))
    assert (
        seen(
            Reading(at_s=0, memory_free=15 * GB, memory_bytes=16 * GB),
            Reading(at_s=30, memory_free=GB, memory_bytes=16 * GB),
        )
        == ()
    )


def test_a_disk_that_fills_is_seen() -> None:
    filling = [Reading(at_s=60 * n, disk_free=(100 - 5 * n) * GB, disk_bytes=500 * GB) for n in range(11)]
    (disk,) = seen(*filling)
    assert (disk.what, disk.in_s) == ("disk", 45 * GB * 600 // (50 * GB))


def test_what_a_disk_says_against_itself_counts_a_day_ahead() -> None:
    (failing,) = seen(Reading(at_s=0, disk_why="sda: its own check failed"))
    assert failing == Foreseen(DISK_FAILS_S, "disk", "sda: its own check failed")
    assert seen(Reading(at_s=0, wear_percent=100))[0].what == "disk"
    assert seen(Reading(at_s=0, wear_percent=99)) == ()


def test_a_link_that_comes_and_goes_is_seen() -> None:
    flapping = [Reading(at_s=60 * n, flaps=2 + n) for n in range(6)]
    (links,) = seen(*flapping)
    assert (links.what, links.in_s) == ("links", 60)
    assert seen(Reading(at_s=0, flaps=9), Reading(at_s=300, flaps=11)) == ()


def test_the_soonest_is_told_and_in_steps() -> None:
    foresight = Foresight()
    for number in range(6):
        reading = Reading(at_s=60 * number, flaps=number, battery_percent=20 - number, on_battery=True)
        foresight.read(reading)
    assert [each.what for each in foresight.foreseen()] == ["links", "battery"]
    assert foresight.facts() == {"going_s": 60, "going_why": "its link came and went 5 times in 5 minutes"}


@pytest.mark.parametrize(("in_s", "told"), [(-5, 0), (9, 0), (119, 110), (121, 120), (1199, 1140), (3599, 3000)])
def test_what_is_told_changes_seldom(in_s: int, told: int) -> None:
    assert in_steps(in_s) == told


@pytest.mark.parametrize("said", [True, -1, "60", None, 1 << 60])
def test_what_cannot_be_a_time_is_none(said: object) -> None:
    assert going_s({"going_s": said}) is None  # type: ignore[dict-item]
    assert going_s({"going_s": 60}) == 60


READINGS = st.builds(
    Reading,
    at_s=st.integers(0, 100_000),
    battery_percent=st.integers(-1, 100),
    on_battery=st.booleans(),
    milli_c=st.integers(0, 120_000),
    cap_milli_c=st.integers(0, 100_000),
    memory_free=st.integers(0, 10**12),
    memory_bytes=st.integers(0, 10**12),
    disk_free=st.integers(0, 10**15),
    disk_bytes=st.integers(0, 10**15),
    flaps=st.integers(0, 10**6),
    wear_percent=st.integers(0, 255),
)


@given(st.lists(READINGS, max_size=30))
def test_whatever_a_machine_says_the_answer_is_bounded_and_in_order(readings: list[Reading]) -> None:
    foresight = Foresight()
    for reading in readings:
        foresight.read(reading)
        assert len(foresight.readings) <= READINGS_MAX
    found = foresight.foreseen()
    assert list(found) == sorted(found)
    assert all(0 <= each.in_s <= max(HORIZON_S, DISK_FAILS_S) for each in found)
