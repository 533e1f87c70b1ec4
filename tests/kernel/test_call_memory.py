"""What runs side by side in a lease: never more than its memory holds, nothing left behind, and what nothing holds alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.kernel.call_memory import PASSED_MAX, CallMemory
from worldos.kernel.call_messages import (
    ClockTicked,
    DeliverError,
    DeliverResult,
    Effect,
    Failure,
    Loss,
    ResultsArrived,
    SendCall,
    WorkerJoined,
    WorkerLost,
)
from worldos.kernel.calls import Calls
from worldos.kernel.profile import Profiles, Ran, Took
from worldos.model.ids import NodeId

HERE, THERE = NodeId("here"), NodeId("there")
MB = 1_000_000


def taught(**memory_mb: int) -> Profiles:
    profiles = Profiles()
    for digest, each in memory_mb.items():
        took = Took(1000, 1000, memory_bytes=each * MB)
        profiles.learn(digest, Ran(node=HERE, took=took, in_bytes=0, out_bytes=0))
    return profiles


class Lane:
    """Calls on workers, driven by hand: what runs where."""

    def __init__(self, profiles: Profiles, *leases: tuple[str, int, int, NodeId]) -> None:
        self.calls = Calls(profiles=profiles)
        self.memory_mb = {name: memory_mb for name, _, memory_mb, _ in leases}
        self.lease: dict[int, str] = {}
        self.has: dict[int, list[int]] = {}
        self.digest: dict[int, str] = {}
        self.failed: list[DeliverError] = []
        self.done: set[int] = set()
        for name, workers, memory_mb, node in leases:
            for _ in range(workers):
                self.join(name, memory_mb * MB, node)

    def join(self, lease: str, memory_bytes: int, node: NodeId) -> None:
        number = len(self.lease) + 1
        self.lease[number], self.has[number] = lease, []
        joined = WorkerJoined(worker=number, node=node, far=node != HERE, lease=lease, memory_bytes=memory_bytes)
        self.act(self.calls.handle(joined))

    def submit(self, *digests: str, retries: int = 3) -> None:
        for digest in digests:
            call = len(self.digest)
            self.digest[call] = digest
            worker = self.calls.submit(call, retries, digest=digest, size_bytes=10)
            self.act([SendCall(worker=worker, call=call, attempt=1)] if worker >= 0 else self.calls.offer())

    def act(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendCall):
                self.has[effect.worker].append(effect.call)
            elif isinstance(effect, DeliverError):
                self.failed.append(effect)
            elif isinstance(effect, DeliverResult):
                self.done.add(effect.call)

    def end(self, worker: int, memory_mb: int = 0) -> None:
        """The first call of a worker has its result."""
        call = self.has[worker].pop(0)
        self.calls.ran(worker, call, Took(1000, 1000, memory_bytes=memory_mb * MB), 0)
        self.act(self.calls.handle(ResultsArrived(worker=worker, calls=(call,), busy_ns=1_000_000)))

    def stop(self, worker: int) -> None:
        """The kernel stops a worker for memory."""
        del self.has[worker]
        self.act(self.calls.handle(WorkerLost(worker=worker, loss=Loss.OVER_QUOTA)))

    def running(self, lease: str = "a") -> list[str]:
        return sorted(
            self.digest[calls[0]] for worker, calls in self.has.items() if calls and self.lease[worker] == lease
        )


def test_as_many_run_as_the_memory_holds_and_the_next_begins_when_one_ends() -> None:
    lane = Lane(taught(big=400), ("a", 4, 1000, HERE))
    lane.submit(*["big"] * 5)
    assert lane.running() == ["big"] * 2
    lane.end(next(worker for worker, calls in lane.has.items() if calls), 400)
    assert lane.running() == ["big"] * 2
    lane.submit("small")
    assert lane.running() == ["big", "big", "small"], "what is not known to take much does not wait"


def test_what_the_first_calls_took_holds_the_others_back() -> None:
    lane = Lane(Profiles(), ("a", 4, 1000, HERE))
    lane.submit(*["f"] * 12)
    assert lane.running() == ["f"] * 4, "nothing is known yet"
    for worker in (1, 2, 3, 4):
        lane.end(worker, 600)
    assert lane.running() == ["f"]
    assert lane.calls.placing is not None


def test_a_lease_that_is_large_enough_is_let_be() -> None:
    lane = Lane(taught(f=250), ("a", 4, 1000, HERE))
    lane.submit(*["f"] * 8)
    assert lane.running() == ["f"] * 4
    assert lane.calls.placing is None, "no word is lost over it"


def test_a_call_goes_only_where_its_memory_is() -> None:
    lane = Lane(taught(big=700), ("a", 2, 500, HERE), ("b", 1, 900, THERE))
    lane.submit("big", "big")
    assert (lane.running("a"), lane.running("b")) == ([], ["big"])
    lane.end(3, 700)
    assert (lane.running("a"), lane.running("b")) == ([], ["big"])
    lane.end(3, 700)
    assert lane.done == {0, 1}


def test_what_no_lease_holds_runs_alone_in_the_largest() -> None:
    lane = Lane(taught(huge=5000), ("a", 2, 500, HERE), ("b", 2, 900, THERE))
    lane.submit("huge", "huge")
    lane.act(lane.calls.handle(ClockTicked(now_ns=10**9)))
    assert (lane.running("a"), lane.running("b")) == ([], ["huge"])


def test_a_call_that_was_stopped_beside_others_is_done_again_alone_and_one_that_was_alone_fails() -> None:
    lane = Lane(Profiles(), ("a", 2, 1000, HERE))
    lane.submit("f", "f")
    assert lane.running() == ["f", "f"]
    lane.stop(1)
    assert lane.failed == []
    lane.join("a", 1000 * MB, HERE)
    assert lane.running() == ["f"], "the other one goes on, and has the memory for itself"
    lane.end(2, 900)
    assert lane.running() == ["f"]
    (worker,) = (worker for worker, calls in lane.has.items() if calls)
    lane.stop(worker)
    assert [each.failure for each in lane.failed] == [Failure.OVER_QUOTA]


def test_a_call_that_was_stopped_runs_alone_whatever_others_teach_meanwhile_and_they_go_on_after_it() -> None:
    lane = Lane(Profiles(), ("a", 3, 1000, HERE))
    lane.submit("f", "f", "g", "g", "g")
    lane.stop(1)
    lane.join("a", 1000 * MB, HERE)
    lane.end(2, 10)
    assert lane.running() == ["g"], "the other f was small"
    lane.end(3, 10)
    assert lane.running() == ["f"]
    (worker,) = (worker for worker, calls in lane.has.items() if calls)
    lane.submit("h")
    assert lane.running() == ["f"]
    lane.end(worker, 950)
    assert lane.running() == ["g", "g", "h"]
    assert lane.failed == []


def test_a_function_at_its_most_does_not_hold_up_others() -> None:
    lane = Lane(taught(big=450, small=20), ("a", 4, 1000, HERE))
    lane.submit(*["big"] * 3, "small")
    for _ in range(3 * PASSED_MAX):
        lane.end(next(w for w, calls in lane.has.items() if calls and lane.digest[calls[0]] == "small"), 20)
        lane.submit("small")
        assert lane.running() == ["big", "big", "small"]


def test_what_must_not_run_twice_fails_when_it_is_stopped() -> None:
    lane = Lane(Profiles(), ("a", 2, 1000, HERE))
    lane.submit("f", "f", retries=0)
    lane.stop(1)
    assert [each.failure for each in lane.failed] == [Failure.OVER_QUOTA]


def test_one_that_is_passed_over_for_ever_gets_its_turn() -> None:
    lane = Lane(taught(big=900, small=300), ("a", 2, 1000, HERE))
    lane.submit("small", "small", "big")
    turns = 0
    while "big" not in lane.running():
        turns += 1
        assert turns < 4 * PASSED_MAX
        lane.submit("small")
        lane.end(next(worker for worker, calls in lane.has.items() if calls), 300)
    assert lane.running() == ["big"]


def test_an_unlimited_lease_takes_what_a_small_one_does_not_hold() -> None:
    memory = CallMemory(taught(big=700))
    memory.join(1, "a", 500 * MB)
    assert memory.could_hold(1, "big"), "it is the largest that there is"
    memory.join(2, "b", 0)
    assert not memory.could_hold(1, "big")
    assert memory.holds(2, "big")
    memory.leave(2)
    assert memory.holds(1, "big")


@settings(max_examples=60)
@given(
    memory_mb=st.integers(100, 1000),
    workers=st.integers(1, 4),
    digests=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20),
    picks=st.lists(st.integers(0, 7), max_size=200),
)
def test_whatever_comes_in_what_order_a_lease_never_takes_more_than_it_holds_and_all_is_done(
    memory_mb: int, workers: int, digests: list[str], picks: list[int]
) -> None:
    need = {"a": 60, "b": 250, "c": 700}
    lane = Lane(taught(**need), ("a", workers, memory_mb, HERE), ("b", 1, memory_mb // 2, THERE))
    lane.submit(*digests)
    turn = 0
    while len(lane.done) < len(digests):
        for lease, most_mb in lane.memory_mb.items():
            taken = [
                max(need[lane.digest[call]] for call in calls)
                for worker, calls in lane.has.items()
                if calls and lane.lease[worker] == lease
            ]
            assert sum(taken) <= most_mb or len(taken) == 1
        busy = sorted(worker for worker, calls in lane.has.items() if calls)
        if not busy:
            lane.act(lane.calls.handle(ClockTicked(now_ns=turn * 10**9)))
            busy = sorted(worker for worker, calls in lane.has.items() if calls)
        turn += 1
        assert busy, "something is always under way"
        worker = busy[(picks[turn % len(picks)] if picks else 0) % len(busy)]
        lane.end(worker, need[lane.digest[lane.has[worker][0]]])
