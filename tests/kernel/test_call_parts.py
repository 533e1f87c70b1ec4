"""How far ahead a worker gets calls: by what they took."""

from __future__ import annotations

from worldos.kernel.call_parts import AHEAD_NS, WINDOW_MAX, CallEntry, WorkerEntry
from worldos.model.ids import NodeId


def test_the_window_shrinks_at_once_and_grows_slowly() -> None:
    worker = WorkerEntry(1, NodeId("a"), far=False)
    assert worker.window == 1
    worker.learn(100, 100 * 20_000)
    assert worker.window == AHEAD_NS // 20_001
    worker.learn(1, 10 * AHEAD_NS)
    assert worker.window == 1
    windows = []
    for _ in range(40):
        worker.learn(10, 10 * 1000)
        windows.append(worker.window)
    assert windows == sorted(windows)
    assert windows[0] == 1
    assert windows[-1] == WINDOW_MAX


def test_a_call_may_run_again_if_it_has_retries() -> None:
    assert CallEntry(1, "f", 10, heavy=False).repeatable
    assert not CallEntry(0, "f", 10, heavy=True).repeatable
