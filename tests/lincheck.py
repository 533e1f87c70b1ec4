"""Is a recorded history linearizable? A search after Wing and Gong, with the memory of Lowe: for registers with compare-and-set.

A history is a row of operations on keys, each with the moments (of one clock for all) when it was asked and answered. It is
linearizable if each operation can be given one moment between the two, at which it happened alone, so that all answers are
right. Keys are independent, so each is judged for itself (Herlihy and Wing 1990, theorem 1). An operation whose answer never
came may have happened at any moment after it was asked, or never. Deciding is NP-hard in general; with few clients and
distinct values the search is short, and a bound says so where it is not.
Source: J. Wing, C. Gong, "Testing and Verifying Concurrent Objects", 1993; G. Lowe, "Testing for Linearizability", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

NEVER_NS = 1 << 62
STEPS_MAX = 2_000_000


class TooHard(Exception):
    """The search gave up."""


@dataclass(frozen=True)
class Operation:
    """``answered_ns`` is NEVER_NS where no answer came. ``value``: what was written or read; ``good``: the compare held."""

    client: int
    key: str
    kind: Literal["get", "put", "cas"]
    value: Any
    asked_ns: int
    answered_ns: int = NEVER_NS
    expect: Any = None
    good: bool = True


def after(state: Any, one: Operation) -> tuple[bool, Any]:
    """Return whether this operation can happen in this state with the answer it got, and the state then."""
    unanswered = one.answered_ns == NEVER_NS
    match one.kind:
        case "get":
            return unanswered or state == one.value, state
        case "put":
            return True, one.value
        case "cas":
            if state == one.expect:
                return unanswered or one.good, one.value
            return unanswered or not one.good, state
    raise AssertionError(one.kind)


def culprit(history: Iterable[Operation], start: Any = None) -> str:
    """Return the first key whose operations cannot be put in an order, or nothing."""
    by_key: dict[str, list[Operation]] = {}
    for one in history:
        if not (one.kind == "get" and one.answered_ns == NEVER_NS):  # a read without an answer says nothing
            by_key.setdefault(one.key, []).append(one)
    return next((key for key in sorted(by_key) if not linearizable(by_key[key], start)), "")


def linearizable(history: list[Operation], start: Any = None) -> bool:
    """Tell whether the operations of one key have an order.

    Where a search stands is: all answered ones before ``low`` happened, and besides these those in ``beyond`` (the answered ones
    among them are few: as many as there are clients); and the state. No such place is looked at twice.
    """
    ordered = sorted(history, key=lambda one: (one.asked_ns, one.answered_ns))
    ops = [one for one in ordered if one.answered_ns != NEVER_NS]
    count = len(ops)
    ops += [one for one in ordered if one.answered_ns == NEVER_NS]
    seen: set[tuple[int, frozenset[int], Any]] = set()
    stack: list[tuple[int, frozenset[int], Any]] = [(0, frozenset(), start)]
    while stack:
        low, beyond, state = stack.pop()
        if low == count:
            return True
        if len(seen) > STEPS_MAX:
            raise TooHard(f"{len(ops)} operations, {len(seen)} places")
        for at in candidates(ops, count, low, beyond):
            possible, then = after(state, ops[at])
            if possible:
                place = (*happened(count, low, beyond, at), then)
                if place not in seen:
                    seen.add(place)
                    stack.append(place)
    return False


def happened(count: int, low: int, beyond: frozenset[int], at: int) -> tuple[int, frozenset[int]]:
    """Return ``low`` and ``beyond`` after one more."""
    if at != low:
        return low, beyond | {at}
    low += 1
    past = set()
    while low < count and low in beyond:
        past.add(low)
        low += 1
    return low, beyond - past if past else beyond


def candidates(ops: list[Operation], count: int, low: int, beyond: frozenset[int]) -> list[int]:
    """Return the operations that can be next: asked before any that has not happened was answered.

    The one that was answered first comes last, so that it is tried first; those without an answer are tried last of all.
    """
    found: list[int] = []
    soonest_ns = NEVER_NS
    for at in range(low, count):
        if ops[at].asked_ns > soonest_ns:
            break
        if at not in beyond:
            found.append(at)
            soonest_ns = min(soonest_ns, ops[at].answered_ns)
    found = [at for at in found if ops[at].asked_ns <= soonest_ns]
    found.sort(key=lambda at: -ops[at].answered_ns)
    unanswered = []
    for at in range(count, len(ops)):
        if ops[at].asked_ns > soonest_ns:
            break
        if at not in beyond:
            unanswered.append(at)
    return unanswered + found
