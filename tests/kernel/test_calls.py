"""One result for each call, whatever is lost, doubted, late or said twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from worldos.kernel.call_messages import (
    CallCancelled,
    CallsRevoked,
    CallSubmitted,
    ClockTicked,
    DeliverCancelled,
    DeliverError,
    DeliverResult,
    Effect,
    Event,
    Failure,
    Loss,
    ResultsArrived,
    RevokeCalls,
    SendCall,
    WorkerDoubted,
    WorkerHungUp,
    WorkerJoined,
    WorkerLost,
    WorkersEnded,
    WorkerTrusted,
)
from worldos.kernel.call_parts import WINDOW_MAX
from worldos.kernel.calls import Calls
from worldos.kernel.profile import Profiles, Took
from worldos.model.ids import NodeId


def lane(*workers: int) -> Calls:
    calls = Calls(patience_ns=1000)
    for worker in workers:
        assert calls.handle(WorkerJoined(worker=worker)) == []
    return calls


def sent(effects: list[Effect]) -> dict[int, int]:
    """Return call -> worker of what is sent."""
    return {e.call: e.worker for e in effects if isinstance(e, SendCall)}


def warm(calls: Calls, worker: int, busy_ns: int = 10_000) -> None:
    """Let a worker answer one quick call, so that its window opens."""
    number = -1
    calls.handle(CallSubmitted(call=number))
    assert calls.outstanding(worker) == [number]
    calls.handle(ResultsArrived(worker=worker, calls=(number,), busy_ns=busy_ns))


def test_a_call_goes_to_an_idle_worker_at_once() -> None:
    calls = lane(1, 2)
    assert calls.handle(CallSubmitted(call=1)) == [SendCall(worker=1, call=1, attempt=1)]
    assert calls.handle(CallSubmitted(call=2)) == [SendCall(worker=2, call=2, attempt=1)]
    assert calls.handle(CallSubmitted(call=3)) == []


def test_calls_leave_in_the_order_of_submission() -> None:
    calls = lane(1)
    for call in range(1, 5):
        calls.handle(CallSubmitted(call=call))
    order = []
    for call in range(1, 5):
        effects = calls.handle(ResultsArrived(worker=1, calls=(call,), busy_ns=10**9))
        assert effects[0] == DeliverResult(worker=1, call=call)
        order.extend(sent(effects))
    assert order == [2, 3, 4]


def test_the_window_fits_the_measured_time_of_a_call() -> None:
    calls = lane(1)
    warm(calls, 1, busy_ns=20_000)
    assert len([c for c in range(1, 1000) if sent(calls.handle(CallSubmitted(call=c)))]) == 99
    slow = lane(1)
    warm(slow, 1, busy_ns=50_000_000)
    assert len([c for c in range(1, 10) if sent(slow.handle(CallSubmitted(call=c)))]) == 1
    free = lane(1)
    warm(free, 1, busy_ns=0)
    assert len([c for c in range(1, 1000) if sent(free.handle(CallSubmitted(call=c)))]) == WINDOW_MAX


def test_a_lost_workers_calls_run_elsewhere_oldest_first() -> None:
    calls = lane(1, 2)
    warm(calls, 1)
    for call in range(1, 4):
        calls.handle(CallSubmitted(call=call))
    assert calls.outstanding(2) == [2]
    effects = calls.handle(WorkerLost(worker=1, loss=Loss.NODE_GONE))
    assert effects == []
    effects = calls.handle(ResultsArrived(worker=2, calls=(2,), busy_ns=10))
    assert [e.call for e in effects if isinstance(e, SendCall)] == [1, 3]
    assert all(e.attempt == 2 for e in effects if isinstance(e, SendCall))


def test_what_may_not_run_twice_fails_when_its_worker_is_lost() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1, retries=0))
    assert calls.handle(WorkerLost(worker=1, loss=Loss.CRASHED)) == [
        DeliverError(call=1, failure=Failure.WORKER_LOST, attempts=1)
    ]


def test_what_may_not_run_twice_is_not_sent_again_when_its_node_is_doubted() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1, retries=0))
    assert calls.handle(WorkerDoubted(worker=1)) == []


def test_a_worker_that_hung_up_gets_nothing_more_and_keeps_its_calls_until_the_verdict() -> None:
    calls = lane(1)
    calls.handle(CallSubmitted(call=1))
    assert calls.handle(WorkerHungUp(worker=1)) == []
    assert calls.handle(WorkerJoined(worker=2)) == []
    assert sent(calls.handle(CallSubmitted(call=2))) == {2: 2}
    assert calls.handle(WorkerDoubted(worker=1)) == []
    assert calls.handle(WorkerTrusted(worker=1)) == []
    assert sent(calls.handle(CallSubmitted(call=3))) == {}
    assert calls.handle(ResultsArrived(worker=2, calls=(2,))) == [
        DeliverResult(worker=2, call=2),
        SendCall(worker=2, call=3, attempt=1),
    ]
    assert calls.handle(WorkerLost(worker=1, loss=Loss.CRASHED)) == []
    effects = calls.handle(ResultsArrived(worker=2, calls=(3,)))
    assert effects == [DeliverResult(worker=2, call=3), SendCall(worker=2, call=1, attempt=2)]


def test_the_loss_of_a_worker_costs_nothing_while_another_runs_the_same_call() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1, retries=1))
    assert sent(calls.handle(WorkerDoubted(worker=1))) == {1: 2}
    assert calls.handle(WorkerLost(worker=1, loss=Loss.NODE_GONE)) == []
    assert calls.handle(WorkerLost(worker=2, loss=Loss.NODE_GONE)) == []
    assert sent(calls.handle(WorkerJoined(worker=3))) == {1: 3}


def test_retries_bound_how_often_a_call_runs() -> None:
    calls = lane(1)
    assert sent(calls.handle(CallSubmitted(call=1, retries=2))) == {1: 1}
    for worker in (2, 3):
        calls.handle(WorkerLost(worker=worker - 1, loss=Loss.CRASHED))
        assert sent(calls.handle(WorkerJoined(worker=worker))) == {1: worker}
    assert calls.handle(WorkerLost(worker=3, loss=Loss.CRASHED)) == [
        DeliverError(call=1, failure=Failure.WORKER_LOST, attempts=3)
    ]


def test_after_a_crash_its_calls_run_alone_so_that_the_guilty_is_found() -> None:
    calls = lane(1)
    warm(calls, 1)
    for call in (1, 2, 3):
        assert sent(calls.handle(CallSubmitted(call=call, retries=1))) == {call: 1}
    calls.handle(WorkerLost(worker=1, loss=Loss.CRASHED))
    assert sent(calls.handle(WorkerJoined(worker=2))) == {1: 2}
    assert calls.handle(WorkerLost(worker=2, loss=Loss.CRASHED)) == [
        DeliverError(call=1, failure=Failure.WORKER_LOST, attempts=2)
    ]
    assert sent(calls.handle(WorkerJoined(worker=3))) == {2: 3}
    effects = calls.handle(ResultsArrived(worker=3, calls=(2,)))
    assert effects == [DeliverResult(worker=3, call=2), SendCall(worker=3, call=3, attempt=2)]


def test_a_call_alone_that_took_too_much_is_not_tried_again() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1))
    assert calls.handle(WorkerLost(worker=1, loss=Loss.OVER_QUOTA)) == [
        DeliverError(call=1, failure=Failure.OVER_QUOTA, attempts=1)
    ]


def test_a_doubted_workers_calls_run_elsewhere_too_and_the_first_result_wins() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1))
    assert sent(calls.handle(WorkerDoubted(worker=1))) == {1: 2}
    assert calls.handle(ResultsArrived(worker=1, calls=(1,))) == [
        DeliverResult(worker=1, call=1),
        RevokeCalls(worker=2, calls=(1,)),
    ]
    assert calls.handle(ResultsArrived(worker=2, calls=(1,))) == []


def test_a_doubted_worker_gets_nothing_new_until_it_is_trusted() -> None:
    calls = lane(1)
    calls.handle(WorkerDoubted(worker=1))
    assert calls.handle(CallSubmitted(call=1)) == []
    assert sent(calls.handle(WorkerTrusted(worker=1))) == {1: 1}


def test_a_call_that_waits_for_a_second_worker_is_not_sent_when_the_first_is_trusted_again() -> None:
    calls = lane(1, 2)
    calls.handle(CallSubmitted(call=1))
    calls.handle(CallSubmitted(call=2))
    assert calls.handle(WorkerDoubted(worker=1)) == []
    assert calls.handle(WorkerTrusted(worker=1)) == []
    assert calls.handle(ResultsArrived(worker=2, calls=(2,))) == [DeliverResult(worker=2, call=2)]


def test_calls_not_begun_are_called_back_for_an_idle_worker() -> None:
    calls = lane(1)
    warm(calls, 1, busy_ns=10_000)
    for call in range(1, 11):
        calls.handle(CallSubmitted(call=call, retries=0))
    assert calls.handle(WorkerJoined(worker=2)) == []
    assert calls.handle(ClockTicked(now_ns=1)) == []
    assert calls.handle(ClockTicked(now_ns=2)) == [RevokeCalls(worker=1, calls=(6, 7, 8, 9, 10))]
    assert calls.handle(ClockTicked(now_ns=3)) == []
    effects = calls.handle(CallsRevoked(worker=1, calls=(6, 7, 8, 9, 10)))
    assert sent(effects)[6] == 2


def test_calls_without_a_worker_wait_and_then_fail() -> None:
    calls = lane()
    calls.handle(CallSubmitted(call=1))
    assert calls.handle(ClockTicked(now_ns=5000)) == []
    assert calls.handle(ClockTicked(now_ns=5999)) == []
    assert calls.handle(ClockTicked(now_ns=6000)) == [DeliverError(call=1, failure=Failure.NODE_GONE, attempts=0)]


def test_when_no_more_workers_come_waiting_calls_fail_with_the_last_worker() -> None:
    calls = lane(1)
    calls.handle(CallSubmitted(call=1))
    calls.handle(CallSubmitted(call=2))
    assert calls.handle(WorkersEnded()) == []
    effects = calls.handle(WorkerLost(worker=1, loss=Loss.NODE_GONE))
    assert {e.call for e in effects if isinstance(e, DeliverError)} == {1, 2}
    assert calls.handle(CallSubmitted(call=3)) == [DeliverError(call=3, failure=Failure.NODE_GONE, attempts=0)]


def test_only_a_call_that_waits_can_be_cancelled() -> None:
    calls = lane(1)
    calls.handle(CallSubmitted(call=1))
    calls.handle(CallSubmitted(call=2))
    assert calls.handle(CallCancelled(call=1)) == []
    assert calls.handle(CallCancelled(call=2)) == [DeliverCancelled(call=2)]
    assert calls.handle(ResultsArrived(worker=1, calls=(1,))) == [DeliverResult(worker=1, call=1)]


def test_few_heavy_calls_are_sent_ahead() -> None:
    calls = lane(1)
    warm(calls, 1)
    assert [bool(calls.handle(CallSubmitted(call=c, heavy=True))) for c in range(1, 5)] == [True, True, False, False]
    assert sent(calls.handle(ResultsArrived(worker=1, calls=(1, 2)))) == {3: 1, 4: 1}


class OneResult(RuleBasedStateMachine):
    """A holder, its workers as they are, and everything that can go wrong between."""

    numbers = Bundle("numbers")
    placed = False  # workers on two nodes, and calls go where they end soonest
    memory_bytes = 0  # of each of their leases

    @initialize(patience=st.just(1000))
    def begin(self, patience: int) -> None:
        self.calls = Calls(patience_ns=patience, profiles=Profiles() if self.placed else None)
        self.now_ns = 0
        self.next_call = 0
        self.next_worker = 0
        self.open: dict[int, int] = {}  # call -> retries
        self.outcome: dict[int, Effect] = {}
        self.runs: dict[int, int] = {}
        self.losses: dict[int, int] = {}
        self.has: dict[int, list[int]] = {}  # worker -> calls as the worker knows them
        self.asked: list[tuple[int, int]] = []
        self.doubted: set[int] = set()
        self.hung_up: set[int] = set()

    def feed(self, event: Event) -> None:
        for effect in self.calls.handle(event):
            match effect:
                case SendCall():
                    assert effect.call in self.open, "no finished call is sent"
                    assert effect.worker not in self.doubted | self.hung_up, "no doubted worker gets calls"
                    self.runs[effect.call] = self.runs.get(effect.call, 0) + 1
                    self.has[effect.worker].append(effect.call)
                case RevokeCalls():
                    self.asked.extend((effect.worker, call) for call in effect.calls)
                case DeliverResult() | DeliverError() | DeliverCancelled():
                    assert effect.call in self.open, "one result for each call"
                    self.outcome[effect.call] = effect
                    del self.open[effect.call]

    @rule(target=numbers, retries=st.integers(0, 3), heavy=st.booleans())
    def submit(self, retries: int, heavy: bool) -> int:
        self.next_call += 1
        self.open[self.next_call] = retries
        self.losses[self.next_call] = 0
        digest, size = f"f{self.next_call % 3}", 10**6 if heavy else 100
        self.feed(CallSubmitted(call=self.next_call, retries=retries, heavy=heavy, digest=digest, size_bytes=size))
        return self.next_call

    @rule()
    def join(self) -> None:
        self.next_worker += 1
        self.has[self.next_worker] = []
        far = self.placed and self.next_worker % 2 == 0
        node, lease = NodeId("there" if far else "here"), f"lease {self.next_worker % 2}"
        memory_bytes = self.memory_bytes
        self.feed(WorkerJoined(worker=self.next_worker, node=node, far=far, lease=lease, memory_bytes=memory_bytes))

    @precondition(lambda self: any(self.has.values()))
    @rule(data=st.data(), busy_ns=st.sampled_from([0, 1000, 10**6, 10**9]))
    def answer(self, data: st.DataObject, busy_ns: int) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, calls in self.has.items() if calls)))
        count = data.draw(st.integers(1, len(self.has[worker])))
        done, self.has[worker] = tuple(self.has[worker][:count]), self.has[worker][count:]
        for call in done:
            self.calls.ran(worker, call, Took(busy_ns // 1000, busy_ns // 2000, call % 3 * 600), 0)
        self.feed(ResultsArrived(worker=worker, calls=done, busy_ns=busy_ns))

    @precondition(lambda self: self.has)
    @rule(data=st.data(), number=numbers)
    def answer_twice_or_out_of_nowhere(self, data: st.DataObject, number: int) -> None:
        if number in self.open and not self.runs.get(number):
            return
        worker = data.draw(st.sampled_from(sorted(self.has)))
        if number in self.open and number not in self.has[worker]:
            return
        self.feed(ResultsArrived(worker=worker, calls=(number, number)))

    @precondition(lambda self: self.has)
    @rule(data=st.data(), loss=st.sampled_from(Loss))
    def lose(self, data: st.DataObject, loss: Loss) -> None:
        worker = data.draw(st.sampled_from(sorted(self.has)))
        for call in self.has.pop(worker):
            if call in self.losses:
                self.losses[call] += 1
        self.doubted.discard(worker)
        self.feed(WorkerLost(worker=worker, loss=loss, now_ns=self.now_ns))
        self.feed(WorkerLost(worker=worker, loss=loss, now_ns=self.now_ns))

    @precondition(lambda self: self.has)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.has)))
        self.hung_up.add(worker)
        self.feed(WorkerHungUp(worker=worker))

    @precondition(lambda self: self.has)
    @rule(data=st.data())
    def doubt(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.has)))
        self.doubted.add(worker)
        self.feed(WorkerDoubted(worker=worker))

    @precondition(lambda self: self.doubted)
    @rule(data=st.data())
    def trust(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.doubted)))
        self.doubted.discard(worker)
        self.feed(WorkerTrusted(worker=worker))

    @precondition(lambda self: self.asked)
    @rule()
    def give_back(self) -> None:
        asked, self.asked = self.asked, []
        for worker, call in asked:
            waiting = self.has.get(worker, [])
            if call in waiting[1:]:
                waiting.remove(call)
                self.runs[call] -= 1
                self.feed(CallsRevoked(worker=worker, calls=(call,)))

    @rule(number=consumes(numbers))
    def cancel(self, number: int) -> None:
        self.feed(CallCancelled(call=number))

    @rule(ns=st.sampled_from([1, 500, 2000]))
    def tick(self, ns: int) -> None:
        self.now_ns += ns
        self.feed(ClockTicked(now_ns=self.now_ns))

    @invariant()
    def what_may_not_run_twice_never_does(self) -> None:
        for call, retries in self.open.items():
            if retries == 0:
                assert self.runs.get(call, 0) <= 1
        for call, effect in self.outcome.items():
            if isinstance(effect, DeliverError) and effect.failure is Failure.WORKER_LOST:
                assert self.losses[call] >= 1

    @invariant()
    def the_machine_knows_what_the_workers_have(self) -> None:
        for worker, calls in self.has.items():
            assert set(calls) <= set(self.calls.outstanding(worker)) | set(self.outcome)
        assert self.calls.open_calls == len(self.open)

    def teardown(self) -> None:
        """Healing: with a trusted worker that answers, every call gets its result."""
        if not hasattr(self, "calls"):
            return
        for worker in sorted(self.doubted):
            self.doubted.discard(worker)
            self.feed(WorkerTrusted(worker=worker))
        self.join()
        for _ in range(10_000):
            if not self.open:
                break
            if not any(self.has.values()):  # nobody took what waits: at the next tick somebody must
                self.feed(ClockTicked(now_ns=self.now_ns))
            busy = [worker for worker, calls in self.has.items() if calls]
            assert busy, f"calls {sorted(self.open)} are forgotten"
            for worker in busy:
                done, self.has[worker] = tuple(self.has[worker]), []
                self.feed(ResultsArrived(worker=worker, calls=done, busy_ns=1000))
        assert not self.open


class OneResultOnTwoNodes(OneResult):
    """The same, with calls placed by what is learned."""

    placed = True


class OneResultInLittleMemory(OneResult):
    """The same, in leases that hold some calls, one of others, and none of others."""

    placed = True
    memory_bytes = 1000


TestOneResult = OneResult.TestCase
TestOneResult.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
TestOneResultOnTwoNodes = OneResultOnTwoNodes.TestCase
TestOneResultOnTwoNodes.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_all_workers_finish_together_whatever_calls_take(times_ns: list[int]) -> None:
    """A list schedule: with windows and call-backs no worker idles while another has two calls it could give."""
    calls = lane(1, 2)
    has: dict[int, list[int]] = {1: [], 2: []}
    for call in range(len(times_ns)):
        for number, worker in sent(calls.handle(CallSubmitted(call=call))).items():
            has[worker].append(number)
    done: set[int] = set()
    while len(done) < len(times_ns):
        worker = min((w for w in has if has[w]), key=lambda w: times_ns[has[w][0]])
        call = has[worker].pop(0)
        effects = calls.handle(ResultsArrived(worker=worker, calls=(call,), busy_ns=times_ns[call]))
        done.add(call)
        while effects:
            more: list[Effect] = []
            for effect in effects:
                if isinstance(effect, SendCall):
                    has[effect.worker].append(effect.call)
                elif isinstance(effect, RevokeCalls):
                    back = tuple(c for c in effect.calls if c in has[effect.worker][1:])
                    has[effect.worker] = [c for c in has[effect.worker] if c not in back]
                    more.extend(calls.handle(CallsRevoked(worker=effect.worker, calls=back)))
            effects = more
    assert calls.open_calls == 0


def test_what_is_called_back_and_not_begun_ends_as_cancelled_once() -> None:
    calls = Calls()
    calls.handle(WorkerJoined(worker=1))
    calls.submit(1, 3)
    calls.learn(1, 100, 1000)  # quick calls: many ahead
    calls.arrived(1, 1)
    sent = [call for call in range(2, 8) if calls.submit(call, 0) == 1]
    assert sent == [2, 3, 4, 5, 6, 7]
    assert calls.call_back() == [RevokeCalls(worker=1, calls=(3, 4, 5, 6, 7))]
    assert calls.call_back() == [], "they are asked back already"
    back = calls.handle(CallsRevoked(worker=1, calls=(5, 6, 7)))
    assert back == [DeliverCancelled(call=call) for call in (5, 6, 7)]
    assert calls.arrived(1, 3), "it was begun after all"
    assert calls.handle(CallsRevoked(worker=1, calls=(5, 6, 7))) == []
    assert calls.open_calls == 2


def test_a_worker_that_retires_gets_no_more_and_its_calls_cost_no_retry() -> None:
    calls = lane(1, 2)
    for call in (1, 2):
        assert calls.submit(call, 1) == call
    assert calls.submit(3, 1) == -1
    assert calls.retire(1) == []
    assert not calls.arrived(1, 9)
    assert calls.refill(1) == []
    assert calls.handle(ResultsArrived(worker=2, calls=(2,), busy_ns=10**9)) == [
        DeliverResult(worker=2, call=2),
        SendCall(worker=2, call=3, attempt=1),
    ]
    for _ in range(5):  # its worker is taken back again and again
        calls.handle(WorkerLost(worker=1, loss=Loss.TAKEN_BACK, now_ns=0))
        assert calls.handle(WorkerJoined(worker=1)) == [
            SendCall(worker=1, call=1, attempt=calls.attempts(1)),
        ]
    once = lane(1)
    once.submit(1, 0)
    assert once.handle(WorkerLost(worker=1, loss=Loss.TAKEN_BACK, now_ns=0)) == [
        DeliverError(call=1, failure=Failure.NODE_GONE, attempts=1)
    ]


TestOneResultInLittleMemory = OneResultInLittleMemory.TestCase
TestOneResultInLittleMemory.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
