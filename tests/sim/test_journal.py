"""The journal in memory keeps the first so many events, and what it kept can be replayed. The rest: tests/contract."""

from __future__ import annotations

from tests.test_node import node_of, use

from worldos.kernel.events import ClockTicked
from worldos.model.limits import SECOND
from worldos.sim.journal import MemoryJournal


def test_a_full_journal_keeps_the_beginning() -> None:
    node = node_of()
    journal = MemoryJournal(node, records_max=3)
    for event in (use(SECOND, 1000), *(ClockTicked(now_ns=SECOND * n) for n in range(2, 9))):
        journal.append(event, node.handle(event))
    replayed = list(journal.replay())
    assert [event.now_ns for event, _, _ in replayed] == [SECOND, 2 * SECOND, 3 * SECOND]
    assert all(same for _, _, same in replayed)
