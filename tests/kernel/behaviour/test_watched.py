"""One principal: it learns, it freezes, it trips."""

from random import Random

import pytest
from tests.kernel.behaviour.traffic import Person, first_trip, learnt, requests

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.limits import WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.behaviour.watched import Watched
from worldos.kernel.behaviour.window import Feature, Window

STEADY = Person(mean=10, shape=5.0, things=5)


def ask(
    watched: Watched, now_ns: int, target: str = "a", cls: int = 0, *, is_allowed: bool = True
) -> tuple[Feature, ...]:
    return watched.see(now_ns, Asked(principal="p", target=target, cls=cls, is_allowed=is_allowed))


def test_nothing_is_strange_while_it_learns_and_then_the_baseline_is_frozen() -> None:
    watched = Watched(window=Window(start_ns=0))
    for number in range(WINDOWS_LEARNT):
        assert ask(watched, number * WINDOW_NS) == ()
        assert watched.baseline is None
    ask(watched, WINDOWS_LEARNT * WINDOW_NS)
    frozen = watched.baseline
    assert frozen is not None
    assert frozen.per_minute == 6
    for number in range(3 * WINDOWS_LEARNT):
        ask(watched, (WINDOWS_LEARNT + 1 + number) * WINDOW_NS)
    assert watched.baseline is frozen


def test_a_great_burst_trips_while_it_bursts_not_when_its_window_closes() -> None:
    watched = learnt(Random(1), STEADY)
    start_ns = watched.window.start_ns + 2 * WINDOW_NS
    tripped = next(count for count in range(10_000) if ask(watched, start_ns + count, "thing 0"))
    assert tripped < 5_000


def test_a_night_in_which_nothing_is_asked_washes_nothing_out() -> None:
    watched = learnt(Random(2), STEADY)
    assert first_trip(watched, (requests(Random(3), STEADY, 6.0) for _ in range(2))) is None
    before = watched.now()
    assert before[Feature.RATE] > 0
    ask(watched, watched.window.start_ns + 1_000_000 * WINDOW_NS, "thing 0")
    assert watched.sums == before


@pytest.mark.parametrize("seed", range(5))
def test_after_it_was_narrowed_it_begins_again_at_zero(seed: int) -> None:
    watched = learnt(Random(seed), STEADY)
    assert first_trip(watched, (requests(Random(seed), STEADY, 30.0) for _ in range(20))) is not None
    watched.calm(watched.window.start_ns + WINDOW_NS)
    assert watched.now()[Feature.RATE] == 0


def test_learning_anew_forgets_all_and_a_baseline_that_is_given_holds_at_once() -> None:
    watched = learnt(Random(4), STEADY)
    given = watched.baseline
    assert given is not None
    watched.relearn(watched.window.start_ns + WINDOW_NS)
    assert (watched.baseline, watched.known, watched.now()) == (None, {}, (0, 0, 0, 0))
    watched.adopt(watched.window.start_ns + WINDOW_NS, given)
    assert watched.baseline == given
    assert set(watched.known) == set(given.known)
