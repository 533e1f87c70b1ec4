"""The fuzzer itself: it finds what is wrong, and says how to make it again."""

from __future__ import annotations

import random
import time
from itertools import islice

from tests.fuzz.fuzz import SLOW_MS, Tally, throw
from tests.fuzz.mutation import SIZE_MAX, mutants
from tests.fuzz.target import Target, refused
from worldos.errors import PeerBroke

SEEDS = (b"\x83\xa4type\xa4Ping\xa1n\x07", b"hello" * 9)
MILLISECOND = 1_000_000


def thrown(target: Target, count: int = 400) -> Tally:
    tally = Tally("planted")
    throw(tally, target, islice(mutants(target.seeds, random.Random(1)), count))
    return tally


def test_one_seed_makes_the_same_inputs_again_and_they_differ() -> None:
    one, other = (list(islice(mutants(SEEDS, random.Random(7)), 200)) for _ in range(2))
    assert one == other
    assert len(set(one)) > 150
    assert max(map(len, one)) <= SIZE_MAX


def test_a_crash_and_an_accept_are_found_and_told_apart() -> None:
    def broken(data: bytes) -> None:
        if len(data) % 7 == 3:
            raise KeyError(data)
        assert data[:1] != b"h" or data in SEEDS

    tally = thrown(Target(broken, SEEDS))
    assert tally.crashes
    assert tally.accepts
    assert any("KeyError" in find for find in tally.finds)
    assert bytes.fromhex(tally.finds[0].splitlines()[1]) is not None


def test_what_is_slow_by_itself_is_seen() -> None:
    def slow(data: bytes) -> None:
        end = time.thread_time_ns() + (2 * MILLISECOND if len(data) > 40 else 0)
        while time.thread_time_ns() < end:
            pass

    assert thrown(Target(slow, SEEDS), 60).slowest_ms > SLOW_MS


def test_a_refusal_is_no_find() -> None:
    def fine(data: bytes) -> None:
        def read() -> None:
            raise PeerBroke("no")

        assert refused(read)

    tally = thrown(Target(fine, SEEDS))
    assert (tally.crashes, tally.accepts, tally.inputs) == (0, 0, 400)
