"""Faults of the network as small rules: a rule sees a parcel and says what becomes of it; the first that does not pass wins.

Between the nodes are sessions (fabric/session.py), which make good what the network does: there a drop costs the time of
sending again, a duplicate nothing, and order is kept. In the harsh mode there are none: what a rule says happens to the message
itself, which the real fabric never does to a node; the kernel must survive it all the same. Source: tokio's turmoil.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple, TypeAlias


class Parcel(NamedTuple):
    """A message on its way: the numbers of two machines, and what one sends to the other."""

    now_ns: int
    source: int
    target: int
    message: object


class Pass(NamedTuple):
    """This rule has nothing against it."""


class Deliver(NamedTuple):
    """It comes so much later."""

    delay_ns: int


class Duplicate(NamedTuple):
    """It comes, and comes again so much later."""

    delay_ns: int


class Drop(NamedTuple):
    """It is lost."""


Verdict: TypeAlias = Pass | Deliver | Duplicate | Drop
Rule: TypeAlias = Callable[[Parcel], Verdict]

PASS = Pass()
DROP = Drop()


class Rules:
    """The rules that are in force, in order."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force, behind the others."""
        self.rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule out of force."""
        self.rules = [each for each in self.rules if each is not rule]

    def judge(self, parcel: Parcel) -> Verdict:
        """Say what becomes of a parcel."""
        for rule in self.rules:
            verdict = rule(parcel)
            if verdict is not PASS:
                return verdict
        return PASS


def loss(dice: Random, share: float) -> Rule:
    """Lose a share of all parcels."""
    return lambda _: DROP if dice.random() < share else PASS


def duplication(dice: Random, share: float, delay_ns: int) -> Rule:
    """Let a share of all parcels come twice, the second time up to ``delay_ns`` later."""
    return lambda _: Duplicate(int(dice.random() * delay_ns)) if dice.random() < share else PASS


def delay(dice: Random, share: float, delay_ns: int) -> Rule:
    """Let a share of all parcels come up to ``delay_ns`` late; without sessions others overtake them."""
    return lambda _: Deliver(int(dice.random() * delay_ns)) if dice.random() < share else PASS


def between(one: int, other: int, rule: Rule) -> Rule:
    """Apply a rule between two machines only."""
    pair = {one, other}
    return lambda parcel: rule(parcel) if {parcel.source, parcel.target} == pair else PASS
