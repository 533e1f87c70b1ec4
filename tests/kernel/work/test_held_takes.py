"""Takes wait in the order in which they came, and go on when there is something for them."""

from __future__ import annotations

from worldos.kernel.work.held_takes import HeldTakes
from worldos.model.limits import NEVER_NS


def test_who_came_first_is_served_first_and_no_more_than_there_is() -> None:
    held = HeldTakes()
    for number in (1, 2, 3):
        held.hold("q", number, 2, 100)
    held.hold("other", 4, 1, 50)
    assert held.due_ns == 50
    assert held.released({"q": 3, "other": 0}.__getitem__) == [1, 2]
    assert held.released({"q": 3, "other": 0}.__getitem__) == [], "those that went on have a claim to what is there"
    held.drop(1)
    held.drop(2)
    assert held.released({"q": 1, "other": 0}.__getitem__) == [3]
    assert held.released({"other": 1}.__getitem__) == [4]
    assert not held.waiting


def test_nobody_waits_longer_than_it_wants() -> None:
    held = HeldTakes()
    held.hold("q", 1, 1, 100)
    held.hold("q", 2, 1, 200)
    assert held.over(99) == []
    assert held.over(100) == [1]
    assert held.due_ns == 200
    assert held.over(200) == [2]
    assert held.due_ns == NEVER_NS
    assert not held.waiting


def test_who_hung_up_is_forgotten() -> None:
    held = HeldTakes()
    held.hold("q", 1, 1, 100)
    held.drop(1)
    held.drop(1)
    assert not held.waiting
    assert held.released(lambda _: 5) == []
