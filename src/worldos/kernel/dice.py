"""Dice: chance from one seed, so that a decision that rolled them can be rolled again.

The whole generator is one 64-bit number, so it travels in a snapshot of the node like any other state. It orders
probes and breaks ties; it never makes a key.

Source: S. Vigna, "splitmix64.c", 2015 (public domain), after G. Steele, D. Lea, C. Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014. The bound without bias is OpenBSD's ``arc4random_uniform``: reject.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

WORD: Final = (1 << 64) - 1

T = TypeVar("T")


class Dice(msgspec.Struct, kw_only=True):
    """A splitmix64 generator; ``state`` is the seed at first, and all there is to save."""

    state: int

    def next_u64(self) -> int:
        """Return the next number, uniform in [0, 2**64)."""
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & WORD
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """Return a number in [0, n), each equally likely; ``n`` is at least 1."""
        assert 1 <= n <= WORD
        reject_below = (WORD + 1) % n  # so many low numbers would make some results likelier than others
        while True:
            number = self.next_u64()
            if number >= reject_below:
                return number % n

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """Return the items in a new order (Fisher and Yates); the order they come in matters, so sort sets first."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, items: Iterable[T], amount: int) -> list[T]:
        """Return up to ``amount`` of the items, none twice, each choice equally likely."""
        pool = list(items)
        chosen: list[T] = []
        while pool and len(chosen) < amount:
            at = self.below(len(pool))
            pool[at], pool[-1] = pool[-1], pool[at]
            chosen.append(pool.pop())
        return chosen
