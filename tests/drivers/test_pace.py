from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.drivers.pace import SECOND_NS, Pace


def test_a_piece_takes_its_size_over_the_rate():
    pace = Pace(8_000)
    assert pace.due_ns(1000, 0) == SECOND_NS
    assert pace.due_ns(500, 0) == SECOND_NS + SECOND_NS // 2


def test_a_pause_gives_no_more_credit_than_the_burst():
    pace = Pace(8_000, burst_ns=SECOND_NS // 10)
    pace.due_ns(1000, 0)
    assert pace.due_ns(1000, 100 * SECOND_NS) == 101 * SECOND_NS - SECOND_NS // 10


def test_a_small_delay_of_the_caller_is_caught_up():
    pace = Pace(8_000, burst_ns=SECOND_NS)
    pace.due_ns(1000, 0)
    assert pace.due_ns(1000, SECOND_NS + 7) == 2 * SECOND_NS


sends = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3 * SECOND_NS)), min_size=1, max_size=40)


@given(st.integers(1, 10**9), st.integers(0, SECOND_NS), sends)
def test_no_window_passes_more_than_rate_and_burst(rate, burst_ns, steps):
    pace, now_ns, passed = Pace(rate, burst_ns), 5, []
    for size, pause_ns in steps:
        due_ns = pace.due_ns(size, now_ns)
        passed.append((now_ns, max(due_ns, now_ns), size))
        now_ns = max(due_ns, now_ns) + pause_ns
    for first in range(len(passed)):
        bits = 0
        for _, end_ns, size in passed[first:]:
            bits += size * 8
            window_ns = end_ns - passed[first][0] + (burst_ns if first else 0)
            assert bits * SECOND_NS <= rate * window_ns
