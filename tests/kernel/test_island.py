"""Islands begin after a council had time to elect, at one node after the other, and not while the center is there."""

from __future__ import annotations

from worldos.kernel.island import Island
from worldos.model.ids import NodeId
from worldos.model.limits import ISLAND_AFTER_NS, ISLAND_STEP_NS, MS, NEVER_NS, SECOND

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def begins_after(island: Island, me: NodeId, ranking: list[NodeId]) -> int:
    for step in range(10_000):
        if island.look(step * MS, reachable=False, ranking=ranking, me=me):
            return step * MS
    return -1


def test_the_best_of_those_that_are_left_begins_first() -> None:
    ranking = [B, A, C]
    assert begins_after(Island(), B, ranking) == ISLAND_AFTER_NS
    assert begins_after(Island(), A, ranking) == ISLAND_AFTER_NS + ISLAND_STEP_NS
    assert begins_after(Island(), C, ranking) == ISLAND_AFTER_NS + 2 * ISLAND_STEP_NS


def test_a_center_that_comes_back_in_time_stays() -> None:
    island = Island()
    assert not island.look(0, reachable=False, ranking=[A], me=A)
    assert not island.look(ISLAND_AFTER_NS - 1, reachable=True, ranking=[A], me=A)
    assert island.due_ns == NEVER_NS
    assert not island.look(ISLAND_AFTER_NS + 1, reachable=False, ranking=[A], me=A)


def test_it_says_when_it_must_be_asked_again() -> None:
    island = Island()
    island.look(SECOND, reachable=False, ranking=[B, A], me=A)
    assert island.due_ns == SECOND + ISLAND_AFTER_NS + ISLAND_STEP_NS
