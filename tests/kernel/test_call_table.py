"""What every call does without messages: sent, kept ahead, taken back, counted."""

from __future__ import annotations

from worldos.kernel.call_messages import WorkerJoined
from worldos.kernel.calls import NOWHERE, Calls
from worldos.kernel.profile import Profiles, Took
from worldos.model.ids import NodeId

HERE, THERE = NodeId("here"), NodeId("there")


def test_results_teach_although_all_workers_are_on_one_node() -> None:
    calls = Calls(profiles=Profiles())
    calls.handle(WorkerJoined(worker=1, node=HERE))
    assert calls.submit(1, 3, digest="f", size_bytes=10) == 1
    calls.ran(1, 1, Took(5000, 4000), 7)
    assert calls.arrived(1, 1)
    calls.ran(1, 1, Took(9000, 9000), 7)  # late, or twice: nothing
    assert calls.profiles is not None
    assert calls.profiles.work_us("f", HERE) == 5000
    assert calls.placing is None


def test_calls_are_placed_from_the_moment_there_is_a_second_node_and_none_is_lost() -> None:
    calls = Calls(profiles=Profiles())
    calls.handle(WorkerJoined(worker=1, node=HERE))
    assert [calls.submit(call, 3, digest="f", size_bytes=10) for call in range(4)] == [1, NOWHERE, NOWHERE, NOWHERE]
    (sent,) = calls.handle(WorkerJoined(worker=2, node=THERE, far=True))
    assert calls.placing is not None
    assert (sent.worker, sent.call) == (2, 1)  # type: ignore[union-attr]
    assert calls.cancel(3)
    for worker, call in ((1, 0), (2, 1)):
        calls.ran(worker, call, Took(1000, 1000), 0)
        assert calls.arrived(worker, call)
    assert calls.refill(1) == [2]
    assert calls.arrived(1, 2)
    assert (calls.open_calls, calls.waiting) == (0, False)
