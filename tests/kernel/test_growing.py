"""How many cores a queue is worth: never fewer than promised, never more than allowed, and no more than pays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.growing import IDLE_NS, MS, PAYS_NS, WAIT_MAX_NS, WAIT_MIN_NS, Growing, Load

SECOND = 1000 * MS


def load(open_calls: int, service_ms: int = 50, delivered: int = 1) -> Load:
    return Load(open_calls=open_calls, delivered=delivered, service_ns=service_ms * MS)


def test_it_grows_while_the_queue_is_long_for_each_core_and_doubles_at_most() -> None:
    rule = Growing(least=2, most=64)
    assert rule.wanted(0, load(0), 2) == 2
    assert rule.wanted(1, load(4, delivered=2), 2) == 2, "100 ms for each: another core would not pay"
    assert rule.wanted(2, load(1000, delivered=3), 2) == 4
    assert rule.wanted(3, load(1000, delivered=4), 4) == 8
    assert rule.wanted(4, load(1000, delivered=5), 40) == 64
    assert rule.wanted(5, load(24, delivered=6), 2) == 4
    assert rule.wanted(6, load(24, delivered=7), 6) == 6, "24 times 50 ms is worth 6 cores"


def test_one_call_is_worth_one_core_however_long_it_is() -> None:
    assert Growing(least=1, most=8).wanted(0, load(1, service_ms=60_000), 1) == 1
    assert Growing(least=1, most=8).wanted(0, load(2, service_ms=60_000), 1) == 2


def test_calls_of_which_none_comes_back_are_long_ones() -> None:
    rule = Growing(least=1, most=8)
    unknown = Load(open_calls=3, delivered=0, service_ns=0)
    assert rule.wanted(0, Load(open_calls=0, delivered=0, service_ns=0), 1) == 1
    assert rule.wanted(10 * MS, unknown, 1) == 1
    assert rule.wanted(PAYS_NS + MS, unknown, 1) == 2
    assert rule.wanted(2 * PAYS_NS, unknown, 2) == 3


def test_it_shrinks_only_after_a_while_and_never_below_the_promise() -> None:
    rule = Growing(least=2, most=8)
    assert rule.wanted(0, load(0), 8) == 8
    assert rule.wanted(IDLE_NS - 1, load(0), 8) == 8
    assert rule.wanted(IDLE_NS, load(0), 8) == 2
    assert rule.wanted(IDLE_NS + 1, load(1000, delivered=2), 8) == 8
    assert rule.wanted(IDLE_NS + 2, load(0), 8) == 8, "work in between: the wait begins anew"


def test_after_a_refusal_it_waits_longer_each_time_and_not_after_a_grant() -> None:
    rule = Growing(least=1, most=8)
    long = load(1000)
    rule.answered(0, granted=False)
    assert rule.wanted(WAIT_MIN_NS - 1, long, 1) == 1
    assert rule.wanted(WAIT_MIN_NS, long, 1) == 2
    rule.answered(0, granted=False)
    assert rule.wanted(2 * WAIT_MIN_NS - 1, long, 1) == 1
    for _ in range(20):
        rule.answered(0, granted=False)
    assert rule.wanted(WAIT_MAX_NS, long, 1) == 2
    rule.answered(0, granted=True)
    assert rule.wanted(1, long, 1) == 2


def test_one_core_more_gains_less_the_more_there_are() -> None:
    rule = Growing(least=1, most=64)
    gains = [rule.gain_ms(0, load(1000), cores) for cores in (1, 2, 4, 40)]
    assert gains == [25_000, 8_333, 2_500, 30]
    assert rule.gain_ms(0, load(0), 4) == 1, "it asks all the same: never nothing"


@given(
    st.lists(
        st.tuples(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 3 * SECOND), st.booleans()), max_size=30
    )
)
def test_whatever_comes_it_stays_within_its_bounds(steps: list[tuple[int, int, int, bool]]) -> None:
    rule, now_ns, cores = Growing(least=2, most=16), 0, 2
    for open_calls, service_ms, later_ns, granted in steps:
        now_ns += later_ns
        wanted = rule.wanted(now_ns, load(open_calls, service_ms, now_ns), cores)
        assert 2 <= wanted <= 16
        if wanted > cores:
            rule.answered(now_ns, granted=granted)
        cores = wanted if granted or wanted < cores else cores
