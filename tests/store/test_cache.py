"""Against a plain LRU on traces as people make them, and what must hold whatever is asked."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.store.cache import COUNT_MAX, Cache, Sketch


class Lru:
    """The measure: what was used longest ago goes first."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.size = capacity, 0
        self.kept: OrderedDict[bytes, int] = OrderedDict()

    def use(self, key: bytes, size: int) -> bool:
        if key in self.kept:
            self.kept.move_to_end(key)
            return True
        if size <= self.capacity:
            self.kept[key] = size
            self.size += size
        while self.size > self.capacity:
            self.size -= self.kept.popitem(last=False)[1]
        return False


def zipf(count: int, keys: int, seed: int, *, exponent: float = 0.9) -> list[bytes]:
    weights = [1 / (rank + 1) ** exponent for rank in range(keys)]
    return [number.to_bytes(4, "big") for number in Random(seed).choices(range(keys), weights, k=count)]


def hits(trace: list[bytes], capacity: int, size_of: dict[bytes, int]) -> tuple[int, int]:
    cache, lru = Cache(capacity, typical=sum(size_of.values()) // len(size_of)), Lru(capacity)
    ours = theirs = 0
    for key in trace:
        theirs += lru.use(key, size_of[key])
        if cache.use(key):
            ours += 1
        else:
            cache.offer(key, size_of[key])
    return ours, theirs


@pytest.mark.parametrize("seed", range(3))
def test_on_equal_sizes_more_is_found_than_in_an_lru(seed: int) -> None:
    trace = zipf(30_000, 5_000, seed)
    ours, theirs = hits(trace, 200, dict.fromkeys(trace, 1))
    assert ours > 1.15 * theirs


@pytest.mark.parametrize("seed", range(3))
def test_on_sizes_of_files_much_more_is_found(seed: int) -> None:
    trace = zipf(30_000, 5_000, seed)
    dice = Random(seed)
    sizes = {key: int(2 ** dice.uniform(10, 22)) for key in sorted(set(trace))}
    ours, theirs = hits(trace, 20 << 20, sizes)
    assert ours > 1.3 * theirs


def test_one_reading_of_everything_leaves_what_is_used_daily() -> None:
    cache = Cache(100, typical=1)
    daily = [b"daily%d" % number for number in range(80)]
    for _ in range(10):
        for key in daily:
            if not cache.use(key):
                cache.offer(key, 1)
    for number in range(5000):
        cache.use(b"once%d" % number)
        cache.offer(b"once%d" % number, 1)
    assert sum(key in cache for key in daily) >= 78


def test_what_is_costly_to_fetch_stays_longer() -> None:
    cache = Cache(100, typical=10)
    for number in range(50):
        for key, cost in ((b"near%d" % number, 1), (b"far%d" % number, 100)):
            cache.use(key)
            cache.use(key)
            cache.offer(key, 10, cost)
    assert sum(b"far%d" % number in cache for number in range(50)) > 5


@given(
    st.integers(0, 300),
    st.lists(
        st.one_of(
            st.tuples(st.just("use"), st.integers(0, 20), st.integers(0, 120)),
            st.tuples(st.just("forget"), st.integers(0, 20), st.just(0)),
            st.tuples(st.just("resize"), st.integers(0, 300), st.just(0)),
        ),
        max_size=120,
    ),
)
def test_the_capacity_holds_and_each_key_is_kept_or_was_told_to_drop(
    capacity: int, steps: list[tuple[str, int, int]]
) -> None:
    cache = Cache(capacity, typical=30)
    kept: dict[bytes, int] = {}
    for verb, number, size in steps:
        key = bytes([number % 256])
        dropped: list[bytes] = []
        if verb == "use" and not cache.use(key):
            kept[key] = size
            dropped = cache.offer(key, size)
        elif verb == "forget":
            cache.forget(key)
            kept.pop(key, None)
        elif verb == "resize":
            dropped = cache.resize(number)
        for gone in dropped:
            del kept[gone]
        assert {name for name in kept if name in cache} == set(kept)
        assert len(cache) == len(kept)
        assert cache.size == sum(kept.values()) <= cache.capacity


@given(st.lists(st.integers(0, 50), max_size=140))
def test_the_sketch_never_counts_too_few(uses: list[int]) -> None:
    sketch = Sketch(64)
    for number in uses:
        sketch.use(bytes([number]))
    for number in set(uses):
        assert sketch.count(bytes([number])) >= min(COUNT_MAX, uses.count(number))


def test_the_sketch_forgets() -> None:
    sketch = Sketch(16)
    for _ in range(20):
        sketch.use(b"then")
    for number in range(2000):
        sketch.use(b"%d" % (number % 3))
    assert sketch.count(b"then") <= 1
