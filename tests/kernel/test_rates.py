"""A rate lets a burst through, then so many an hour, and what is refused costs nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel import rates
from worldos.kernel.rates import HOUR_NS, Rates
from worldos.model.limits import SECOND
from worldos.trust.block import Rate

SLOW = (("a", Rate(per_hour=60, burst=3)),)


def test_a_burst_passes_then_one_a_minute() -> None:
    table = Rates()
    assert [bool(table.take(5, SLOW)) for _ in range(5)] == [False, False, False, True, True]
    assert table.take(5 + 59 * SECOND, SLOW)
    assert not table.take(5 + 61 * SECOND, SLOW)
    assert table.take(5 + 62 * SECOND, SLOW)


def test_all_that_was_narrowed_from_a_block_shares_its_rate() -> None:
    table = Rates()
    ours, theirs = (*SLOW, ("b", Rate(per_hour=6000, burst=100))), (*SLOW, ("c", Rate(per_hour=6000, burst=100)))
    passed = [not table.take(5, (ours, theirs)[turn % 2]) for turn in range(10)]
    assert sum(passed) == 3


def test_what_one_block_refuses_is_not_counted_by_another() -> None:
    table = Rates()
    none = ("z", Rate(per_hour=0, burst=0))
    assert table.take(5, (*SLOW, none))
    assert not table.meters


@given(st.lists(st.integers(0, HOUR_NS // 50), min_size=1, max_size=300))
def test_never_more_pass_than_the_rate_and_the_burst(steps: list[int]) -> None:
    table, now_ns, passed = Rates(), 0, 0
    for step in steps:
        now_ns += step
        passed += not table.take(now_ns, SLOW)
    assert passed <= 3 + now_ns * 60 // HOUR_NS + 1


def test_the_table_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(rates, "METERS_MAX", 4)
    table = Rates()
    for number in range(10):
        table.take(5, ((str(number), Rate(per_hour=1, burst=2)),))
    assert sorted(table.meters) == ["6", "7", "8", "9"]
