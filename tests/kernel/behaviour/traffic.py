"""Traffic: principals as they are, each with its own pace, things and habits, out of one seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.limits import WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.behaviour.watched import Watched
from worldos.kernel.behaviour.window import Feature, Window


class Person(msgspec.Struct, frozen=True):
    """How somebody asks: so much in a window, as evenly as ``shape`` says, for these many things, rarely for what is heavy."""

    mean: int
    shape: float
    things: int
    by_class: tuple[int, ...] = (85, 13, 2)
    denied: float = 0.01


def anybody(dice: Random) -> Person:
    return Person(mean=dice.choice([2, 4, 8, 16, 30]), shape=dice.choice([1.0, 2.0, 5.0]), things=dice.randint(2, 20))


def requests(dice: Random, person: Person, factor: float = 1.0) -> Iterator[Asked]:
    """What somebody asks in one window: the count is negative binomial, things by a long tail."""
    for _ in range(max(1, _poisson(dice, dice.gammavariate(person.shape, person.mean * factor / person.shape)))):
        thing = int(person.things * dice.random() ** 2)
        cls = dice.choices(range(len(person.by_class)), person.by_class)[0]
        yield Asked(principal="p", target=f"thing {thing}", cls=cls, is_allowed=dice.random() > person.denied)


def learnt(dice: Random, person: Person) -> Watched:
    """Somebody whose habits are known."""
    watched = Watched(window=Window(start_ns=0))
    caught = first_trip(watched, (requests(dice, person) for _ in range(WINDOWS_LEARNT + 1)))
    assert caught is None
    assert watched.baseline is not None
    return watched


def first_trip(watched: Watched, windows: Iterator[Iterator[Asked]]) -> tuple[int, int, tuple[Feature, ...]] | None:
    """Show it one window after the other; return in which it tripped, at which request, and by what."""
    start_ns = watched.window.start_ns + WINDOW_NS
    for number, window in enumerate(windows):
        for place, asked in enumerate(window):
            strange = watched.see(start_ns + number * WINDOW_NS + place, asked)
            if strange:
                return number, place, strange
    return None


def changed(change: Callable[[Asked, int], Asked], windows: Iterator[Iterator[Asked]]) -> Iterator[Iterator[Asked]]:
    """The same, with each request made into another; the change gets a number that never comes twice."""
    count = iter(range(1 << 30))
    for window in windows:
        yield (change(asked, next(count)) for asked in window)


def _poisson(dice: Random, mean: float) -> int:
    """Draw by Knuth's product in steps, so that a great mean does not vanish."""
    count, left = 0, mean
    while left > 0:
        step = min(left, 30.0)
        left -= step
        product, least = dice.random(), math.exp(-step)
        while product > least:
            count += 1
            product *= dice.random()
    return count
