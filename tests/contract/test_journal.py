"""What both journals promise: everything that was written comes out again, and a node led through it does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_node import PEER, linked, node_of, use
from worldos.agent.journal import Journal, newest, replay
from worldos.kernel.effects import Effect
from worldos.kernel.events import ClientGone, ClockTicked, Event
from worldos.model.limits import SECOND
from worldos.node import Node
from worldos.ports import Journal as Port
from worldos.sim.journal import MemoryJournal

Replayed = Iterator[tuple[Event, list[Effect], bool]]
Make = Callable[[Node], tuple[Port, Callable[[], Replayed]]]


@pytest.fixture(params=["agent", "sim"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def in_file(node: Node) -> tuple[Port, Callable[[], Replayed]]:
        journal = Journal(tmp_path, node, pytest.fail)

        def read() -> Replayed:
            journal.close()
            file = newest(tmp_path)
            assert file is not None
            return replay(file)

        return journal, read

    def in_memory(node: Node) -> tuple[Port, Callable[[], Replayed]]:
        journal = MemoryJournal(node, 1000)
        return journal, journal.replay

    return in_file if request.param == "agent" else in_memory


def life() -> list[Event]:
    ticks = [ClockTicked(now_ns=SECOND * n // 4) for n in range(5, 60)]
    return [use(SECOND, 1000), use(SECOND + 1, 9000, name="large"), *ticks, ClientGone(now_ns=15 * SECOND, client="c")]


def test_all_events_come_out_again_in_order_with_the_same_effects(make: Make) -> None:
    node = node_of()
    linked(node)
    journal, replayed = make(node)
    then = []
    for event in life():
        effects = node.handle(event)
        journal.append(event, effects)
        then.append((event, effects, True))
    assert list(replayed()) == then


def test_the_snapshot_is_the_node_of_then_not_of_now(make: Make) -> None:
    node = node_of()
    journal, replayed = make(node)
    event = use(SECOND, 1000)
    journal.append(event, node.handle(event))
    node.handle(use(SECOND, 3000, name="not written"))
    linked(node, 2 * SECOND, peer=PEER)
    assert [same for _, _, same in replayed()] == [True]


def test_what_was_written_wrongly_is_seen(make: Make) -> None:
    node = node_of()
    journal, replayed = make(node)
    for number, event in enumerate(life()):
        effects = node.handle(event)
        journal.append(event, effects[1:] if number == 0 else effects)
    assert [number for number, (_, _, same) in enumerate(replayed()) if not same] == [0]
