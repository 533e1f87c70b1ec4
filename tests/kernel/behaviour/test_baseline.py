"""What is usual, and the sum of what is not."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.behaviour.baseline import Baseline, Norm, learn
from worldos.kernel.behaviour.limits import (
    SPREAD_MAX_MILLIBITS,
    SPREAD_MIN_MILLIBITS,
    TARGETS_KNOWN_MAX,
    TRIP_SPREADS,
)

FIGURE = st.integers(0, 20_000)
FIGURES = st.tuples(FIGURE, FIGURE, FIGURE, FIGURE)


def test_somebody_quite_regular_gets_the_least_spread() -> None:
    baseline = learn([(3000, 2000, 0, 3000)] * 60, 1, 12, [])
    assert baseline.norms[0] == Norm(mean=3000, spread=SPREAD_MIN_MILLIBITS, limit=TRIP_SPREADS * SPREAD_MIN_MILLIBITS)
    assert (baseline.cls, baseline.per_minute, baseline.windows) == (1, 12, 60)


def test_who_is_wild_while_learning_does_not_buy_all_freedom() -> None:
    baseline = learn([(0, 0, 0, 0), (20_000, 0, 0, 0)] * 30, 0, 1, [])
    assert baseline.norms[0].spread == SPREAD_MAX_MILLIBITS
    assert baseline.norms[0].limit <= 2 * TRIP_SPREADS * SPREAD_MAX_MILLIBITS


def test_a_small_excess_that_lasts_reaches_what_one_great_excess_does_at_once() -> None:
    norm = Norm(mean=3000, spread=500, limit=4500)
    assert norm.summed(0, 8100) >= norm.limit
    total = 0
    for _ in range(9):
        total = norm.summed(total, 4000)
    assert total == norm.limit
    assert norm.summed(0, 3500) == 0, "what is within the slack never adds up"


def test_the_half_in_which_all_things_were_new_says_nothing_of_them() -> None:
    early, late = (0, 9000, 0, 0), (0, 1000, 0, 0)
    assert learn([early] * 30 + [late] * 30, 0, 1, []).norms[1].mean == 1000


@given(st.lists(FIGURES, min_size=1, max_size=80), st.sets(st.integers(0, (1 << 48) - 1), max_size=TARGETS_KNOWN_MAX))
def test_any_baseline_that_can_be_learnt_can_be_stated_and_read_again(
    seen: list[tuple[int, int, int, int]], known: set[int]
) -> None:
    baseline = learn(seen, 4, 7, known)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(baseline), type=Baseline) == baseline
