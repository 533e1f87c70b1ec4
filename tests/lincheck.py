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
PLACES_MAX = 2_000_000
NOTHING = object()

Place = tuple[int, frozenset[int], Any]


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
    """Tell whether the operations of one key have an order."""
    return Search(history, start).finds_an_order()


class Search:
    """The search for an order of the operations of one key.

    Where it stands is: all answered operations before ``low`` happened, and besides these those in ``beyond`` (the answered ones
    among them are few: as many as there are clients); and the state. No such place is looked at twice. Two rules make it short:

    - What was written by one operation alone and is not the state any more was seen by all who say that they saw it.
    - An operation without an answer happens only right before one that needs it: one that sees what it wrote, or a compare
      that failed and would not have. (In any order that is good it can be moved there, or left out.) If nobody ever saw what
      it wrote, it is as good as any other such one.
    """

    def __init__(self, history: list[Operation], start: Any) -> None:
        ordered = sorted(history, key=lambda one: (one.asked_ns, one.answered_ns))
        self.ops = [one for one in ordered if one.answered_ns != NEVER_NS]
        self.count = len(self.ops)
        self.ops += [one for one in ordered if one.answered_ns == NEVER_NS]
        self.start = start
        self.seen_by: dict[Any, list[int]] = {}
        writers: dict[Any, int] = {start: 1}
        for at, one in enumerate(self.ops):
            if one.kind != "get":
                writers[one.value] = writers.get(one.value, 0) + 1
            if sees(one) is not NOTHING:
                self.seen_by.setdefault(sees(one), []).append(at)
        self.alone = {value for value, count in writers.items() if count == 1}

    def finds_an_order(self) -> bool:
        seen: set[Place] = set()
        stack: list[Place] = [(0, frozenset(), self.start)]
        while stack:
            place = stack.pop()
            if place[0] == self.count:
                return True
            if len(seen) > PLACES_MAX:
                raise TooHard(f"{len(self.ops)} operations, {len(seen)} places")
            for at in self.candidates(*place):
                following = self.then(place, at)
                if following is not None and following not in seen:
                    seen.add(following)
                    stack.append(following)
        return False

    def then(self, place: Place, at: int) -> Place | None:
        """Return where the search stands when this operation came next; None if it cannot."""
        low, beyond, state = place
        possible, changed = after(state, self.ops[at])
        if not possible:
            return None
        if at != low:
            beyond |= {at}
        else:
            low += 1
            past = set()
            while low < self.count and low in beyond:
                past.add(low)
                low += 1
            beyond -= past
        if (
            changed != state
            and state in self.alone
            and any(low <= other < self.count and other not in beyond for other in self.seen_by.get(state, ()))
        ):
            return None
        return low, beyond, changed

    def candidates(self, low: int, beyond: frozenset[int], state: Any) -> list[int]:
        """Return the operations that can be next: asked before any that has not happened was answered.

        The one that was answered first comes last, so that it is tried first; those without an answer are tried last of all.
        """
        found: list[int] = []
        soonest_ns = NEVER_NS
        for at in range(low, self.count):
            if self.ops[at].asked_ns > soonest_ns:
                break
            if at not in beyond:
                found.append(at)
                soonest_ns = min(soonest_ns, self.ops[at].answered_ns)
        found = [at for at in found if self.ops[at].asked_ns <= soonest_ns]
        found.sort(key=lambda at: -self.ops[at].answered_ns)
        return self.useful(found, soonest_ns, beyond, state) + found

    def useful(self, found: list[int], soonest_ns: int, beyond: frozenset[int], state: Any) -> list[int]:
        """Return the operations without an answer that one of those found needs."""
        here = [
            at for at in range(self.count, len(self.ops)) if self.ops[at].asked_ns <= soonest_ns and at not in beyond
        ]
        wanted = {sees(self.ops[at]) for at in found}
        for _ in here:  # a compare-and-set that is wanted wants what it expects
            wanted |= {
                self.ops[at].expect for at in here if self.ops[at].kind == "cas" and self.ops[at].value in wanted
            }
        any_will_do = any(
            self.ops[at].kind == "cas" and not self.ops[at].good and self.ops[at].expect == state for at in found
        )
        chosen, spare = [], -1
        for at in here:
            one = self.ops[at]
            if one.value in wanted or (any_will_do and (one.value in self.seen_by or one.kind == "cas")):
                chosen.append(at)
            elif any_will_do:
                spare = at
        return [spare, *chosen] if spare >= 0 else chosen


def sees(one: Operation) -> Any:
    """Return the value that this operation is known, or may have been, to see."""
    if one.kind == "get" or (one.kind == "cas" and one.answered_ns != NEVER_NS and one.good):
        return one.value if one.kind == "get" else one.expect
    return one.expect if one.kind == "cas" and one.answered_ns == NEVER_NS else NOTHING
