"""The judge of histories: it lets good ones pass, and sees each kind of bad one."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tests.lincheck import NEVER_NS, Operation, after, culprit, linearizable


def op(kind: Any, value: Any, asked: int, answered: int = NEVER_NS, *, client: int = 0, **more: Any) -> Operation:
    return Operation(client=client, key="k", kind=kind, value=value, asked_ns=asked, answered_ns=answered, **more)


GOOD = {
    "one after the other": [op("put", 1, 0, 1), op("get", 1, 2, 3)],
    "a read beside a write sees the old": [op("put", 1, 0, 9), op("get", None, 1, 2)],
    "a read beside a write sees the new": [op("put", 1, 0, 9), op("get", 1, 1, 2)],
    "two reads see it in turn": [op("put", 1, 0, 9), op("get", None, 1, 2), op("get", 1, 3, 4)],
    "a write without an answer happened late": [op("put", 1, 0), op("get", None, 1, 2), op("get", 1, 3, 4)],
    "a write without an answer never happened": [op("put", 1, 0), op("get", None, 100, 200)],
    "a compare that failed": [op("put", 1, 0, 1), op("cas", 3, 2, 3, expect=2, good=False), op("get", 1, 4, 5)],
    "a compare without an answer held": [op("put", 1, 0, 1), op("cas", 3, 2, expect=1), op("get", 3, 4, 5)],
    "of two compares one held": [
        op("put", 1, 0, 1),
        op("cas", 2, 2, 9, expect=1, client=1),
        op("cas", 3, 2, 9, expect=1, client=2, good=False),
        op("get", 2, 10, 11),
    ],
}

BAD = {
    "a stale read": [op("put", 1, 0, 1), op("put", 2, 2, 3), op("get", 1, 4, 5)],
    "a lost write": [op("put", 1, 0, 1), op("get", None, 2, 3)],
    "a value that nobody wrote": [op("put", 1, 0, 1), op("get", 7, 2, 3)],
    "back in time": [op("put", 1, 0, 99), op("get", 1, 1, 2), op("get", None, 3, 4)],
    "two readers in different orders": [
        op("put", 1, 0, 99, client=1),
        op("put", 2, 0, 99, client=2),
        op("get", 1, 1, 2, client=3),
        op("get", 2, 3, 4, client=3),
        op("get", 1, 5, 6, client=4),
    ],
    "both of two compares held": [
        op("put", 1, 0, 1),
        op("cas", 2, 2, 9, expect=1, client=1),
        op("cas", 3, 2, 9, expect=1, client=2),
    ],
    "a write that failed is seen": [op("put", 1, 0, 1), op("cas", 3, 2, 3, expect=2, good=False), op("get", 3, 4, 5)],
    "a compare that should have held": [op("put", 1, 0, 1), op("cas", 3, 2, 3, expect=1, good=False)],
    "a write before it was asked": [op("get", 1, 0, 1), op("put", 1, 2, 3)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_has_an_order_passes(name: str) -> None:
    assert linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_history_without_an_order_is_refused(name: str) -> None:
    assert not linearizable(BAD[name])
    assert culprit(BAD[name]) == "k"


def test_each_key_is_judged_for_itself() -> None:
    good = [Operation(0, "a", "put", 1, 0, 1), Operation(0, "a", "get", 1, 2, 3)]
    bad = [Operation(0, "b", "put", 1, 0, 1), Operation(0, "b", "get", 2, 2, 3)]
    assert culprit(good) == ""
    assert culprit(bad + good) == "b"


def naive(history: list[Operation]) -> bool:
    """Try every order of every choice of the operations without an answer."""
    open_ones = [one for one in history if one.answered_ns == NEVER_NS]
    done = [one for one in history if one.answered_ns != NEVER_NS]
    for count in range(len(open_ones) + 1):
        for some in itertools.combinations(open_ones, count):
            if any(fits(order) for order in itertools.permutations([*done, *some])):
                return True
    return False


def fits(order: tuple[Operation, ...]) -> bool:
    state: Any = None
    for at, one in enumerate(order):
        if any(later.answered_ns < one.asked_ns for later in order[at + 1 :]):
            return False
        possible, state = after(state, one)
        if not possible:
            return False
    return True


@pytest.mark.parametrize("alone", [True, False])
def test_it_agrees_with_trying_every_order(alone: bool) -> None:
    """``alone``: no value is written twice."""
    said = set()
    for seed in range(1500):
        dice = random.Random(seed)
        fresh = itertools.count(1)
        history = []
        for client in range(dice.randint(1, 3)):
            now = 0
            for _ in range(dice.randint(1, 2)):
                asked = now + dice.randint(1, 3)
                now = asked + dice.randint(0, 4)
                kind = dice.choice(["get", "put", "cas"])
                value = dice.choice([None, 1, 2]) if kind == "get" else next(fresh) if alone else dice.choice([1, 2])
                answered = now if dice.random() < 0.75 else NEVER_NS
                history.append(
                    op(kind, value, asked, answered, client=client, expect=dice.choice([None, 1, 2]), good=dice.random() < 0.6)
                )  # fmt: skip
                if answered == NEVER_NS:
                    break
        judged = linearizable(history)
        said.add(judged)
        assert judged == naive(history), (seed, history)
    assert said == {True, False}


def test_a_long_history_of_many_clients_is_judged_quickly() -> None:
    """What a correct register gives, with answers that come late and some that never come; then one answer is made wrong."""
    dice = random.Random(3)
    state: Any = None
    history: list[Operation] = []
    busy = [0] * 6
    for now in range(10, 9_000, 10):
        client = dice.randrange(6)
        if busy[client] > now:
            continue
        asked, answered = now - dice.randint(0, 9), now + dice.randint(0, 60)
        busy[client] = answered + 10
        kind = dice.choice(["get", "put", "cas"])
        expect = state if dice.random() < 0.5 else -1
        good = kind != "cas" or expect == state
        value = state if kind == "get" else now
        if kind != "get" and good:
            state = now
        lost = kind != "get" and dice.random() < 0.02
        history.append(op(kind, value, asked, NEVER_NS if lost else answered, client=client, expect=expect, good=good))
    assert len(history) > 400
    assert linearizable(history)
    at = next(at for at, one in enumerate(history) if at > 200 and one.kind == "get")
    broken = [*history]
    broken[at] = op("get", -7, history[at].asked_ns, history[at].answered_ns)
    assert not linearizable(broken)
