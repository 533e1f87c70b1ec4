"""The work against a simple model, in any interleaving; and the same log gives the same bytes, also over snapshots."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.kernel.line.works import NODE, submit

from worldos.errors import PeerBroke
from worldos.kernel.line.line import Line
from worldos.kernel.line.view import State
from worldos.kernel.queues.queue import OneQueue
from worldos.kernel.work.state import Work
from worldos.model.work import (
    Ack,
    Applied,
    Assign,
    Attempt,
    Began,
    Cancel,
    Extend,
    Finished,
    Forget,
    LineCommand,
    Lost,
    Message,
    Nack,
    Outcome,
    Preempt,
    Put,
    QueueCommand,
    QueueDropped,
    QueueMade,
    Retry,
    Take,
    WorkAnswer,
    WorkCommand,
    Yielded,
)

JOBS = tuple(f"job-{number}" for number in range(12))
TASKS = 2
RETRIES = 1
IDS = st.sampled_from(tuple(bytes([number]) * 8 for number in range(1, 7)))
CONSUMERS = st.sampled_from(("ann-1", "bob-1"))
SOME_IDS = st.lists(IDS, min_size=1, max_size=3, unique=True).map(tuple)


class Twins:
    """A work that lives on, and one that is made again from its snapshot at each step: nobody can tell them apart."""

    def __init__(self) -> None:
        self.one, self.other = Work(), Work()
        self.wall_ms = 1_000_000

    def say(self, *said: LineCommand | QueueCommand, later_ms: int = 0) -> WorkAnswer:
        self.wall_ms += later_ms
        command = WorkCommand(said=said, wall_ms=self.wall_ms)
        answers = self.one.apply(command)
        assert self.other.apply(command) == answers
        data = self.one.snapshot()
        assert self.other.snapshot() == data
        self.other = Work.restore(data)
        return answers[-1] if answers else Applied()


class LineAgainstModel:
    """Each task: a state, the number of its newest attempt, how often it failed, and whether a last word is awaited."""

    def __init__(self) -> None:
        self.twins = Twins()
        self.jobs: dict[str, dict[int, dict[str, Any]]] = {}
        self.after: dict[str, tuple[str, ...]] = {}
        self.committed: dict[tuple[str, int], int] = {}
        self.forgotten: set[str] = set()
        self.made = [Attempt("job-0", 0, 1)]

    def pick(self, pick: int) -> Attempt:
        """Return an attempt of those that were made: mostly one of the last."""
        return self.made[-1 - (pick % min(len(self.made), 5 if pick % 3 else 999))]

    def task(self, attempt: Attempt) -> dict[str, Any] | None:
        return self.jobs.get(attempt.job, {}).get(attempt.index)

    def is_open(self, job: str) -> bool:
        return any(task["state"] in ("waiting", "running") for task in self.jobs[job].values())

    def is_well(self, job: str) -> bool:
        return all(task["state"] == "done" for task in self.jobs[job].values())

    def drop(self, job: str) -> None:
        for task in self.jobs[job].values():
            if task["state"] in ("waiting", "running"):
                task.update(state="dropped", awaited=False)

    def spread(self) -> None:
        """Drop what waits for what did not end well, until nothing changes."""
        changed = True
        while changed:
            bad = {name for name in self.jobs if not self.is_open(name) and not self.is_well(name)}
            hit = [name for name in self.jobs if self.is_open(name) and bad & set(self.after[name])]
            changed = bool(hit)
            for name in hit:
                self.drop(name)

    def submit(self, number: int, after: bool) -> None:
        name = JOBS[number]
        if name in self.jobs or name in self.forgotten:
            return
        others = (JOBS[number - 1],) if after and number and JOBS[number - 1] in self.jobs else ()
        assert self.twins.say(submit(name, TASKS, after=others, retries=RETRIES, preemptible=True)) == Applied()
        self.jobs[name] = {
            index: {"state": "waiting", "number": 0, "failures": 0, "awaited": False} for index in range(TASKS)
        }
        self.after[name] = others
        self.spread()

    def assign(self, job: str, index: int) -> None:
        answer = self.twins.say(Assign(job=job, indices=(index,), node=NODE))
        task = self.jobs.get(job, {}).get(index)
        held = task is not None and not all(self.is_well(other) for other in self.after[job])
        if task is None or task["state"] != "waiting" or held:
            assert not isinstance(answer, Applied)
            return
        task.update(state="running", number=task["number"] + 1)
        assert isinstance(answer, Applied)
        assert answer.attempts == (Attempt(job, index, task["number"]),)
        self.made += answer.attempts

    def is_newest(self, attempt: Attempt, *states: str) -> bool:
        task = self.task(attempt)
        return task is not None and task["number"] == attempt.number and task["state"] in states

    def began(self, pick: int) -> None:
        attempt = self.pick(pick)
        answer = self.twins.say(Began(attempt=attempt, at=NODE))
        assert isinstance(answer, Applied) == self.is_newest(attempt, "running")

    def finished(self, pick: int, code: int) -> None:
        attempt = self.pick(pick)
        answer = self.twins.say(Finished(attempt=attempt, outcome=Outcome(code=code, tail=b"x" * attempt.number)))
        task = self.task(attempt)
        counts = self.is_newest(attempt, "running") or (self.is_newest(attempt, "waiting") and task["awaited"])  # type: ignore[index]
        if not counts or task is None:
            return
        assert isinstance(answer, Applied)
        task["awaited"] = False
        if code and task["failures"] < RETRIES:
            task.update(state="waiting", failures=task["failures"] + 1)
            return
        task["state"] = "failed" if code else "done"
        assert (attempt.job, attempt.index) not in self.committed, "committed twice"
        if not code:
            self.committed[attempt.job, attempt.index] = attempt.number
        self.spread()

    def lost(self, pick: int) -> None:
        attempt = self.pick(pick)
        answer = self.twins.say(Lost(attempt=attempt, why="gone"))
        assert isinstance(answer, Applied) == self.is_newest(attempt, "running")
        if isinstance(answer, Applied):
            self.task(attempt).update(state="waiting", awaited=True)  # type: ignore[union-attr]

    def yielded(self, pick: int) -> None:
        attempt = self.pick(pick)
        task = self.task(attempt)
        counts = self.is_newest(attempt, "running") or (self.is_newest(attempt, "waiting") and task["awaited"])  # type: ignore[index]
        answer = self.twins.say(Yielded(attempt=attempt, checkpoint="c"))
        assert isinstance(answer, Applied) == counts
        if counts:
            task.update(state="waiting", awaited=False)  # type: ignore[union-attr]

    def preempt(self, pick: int) -> None:
        attempt = self.pick(pick)
        answer = self.twins.say(Preempt(attempt=attempt, why="urgent"))
        assert isinstance(answer, Applied) == self.is_newest(attempt, "running")

    def cancel(self, job: str) -> None:
        answer = self.twins.say(Cancel(job=job))
        assert isinstance(answer, Applied) == (job in self.jobs)
        if job in self.jobs:
            self.drop(job)
            self.spread()

    def retry(self, job: str) -> None:
        """Of what was dropped for the sake of another the model knows nothing: it takes that over from the line."""
        before = {name: dict(self.seen(name)) for name in self.jobs}
        answer = self.twins.say(Retry(job=job))
        if not isinstance(answer, Applied):
            return
        for name, tasks in self.jobs.items():
            for index, (state, number) in self.seen(name).items():
                was, _ = before[name][index]
                if state != was:
                    assert (was in ("failed", "dropped"), state, number) == (True, "waiting", tasks[index]["number"])
                    tasks[index].update(state="waiting", failures=0, awaited=False)
        assert all(task["state"] not in ("failed", "dropped") for task in self.jobs[job].values())

    def forget(self, job: str) -> None:
        for other in self.after:  # only the last of a chain, which the model keeps simple
            if job in self.after[other]:
                return
        answer = self.twins.say(Forget(job=job))
        if job in self.jobs:
            assert isinstance(answer, Applied) == (not self.is_open(job))

    def later(self, later_ms: int) -> None:
        self.twins.say(later_ms=later_ms)

    def seen(self, job: str) -> dict[int, tuple[str, int]]:
        names = {State.HELD: "waiting"}
        tasks = self.twins.one.line.tasks(job)
        return {task.index: (names.get(task.state, str(task.state)), task.number) for task in tasks}

    def the_line_is_as_the_model(self) -> None:
        for name in [name for name in self.jobs if self.twins.one.line.view(name) is None]:
            del self.jobs[name], self.after[name]
            self.forgotten.add(name)
            for key in [key for key in self.committed if key[0] == name]:
                del self.committed[key]
        for name, tasks in self.jobs.items():
            assert self.seen(name) == {index: (task["state"], task["number"]) for index, task in tasks.items()}
        for (name, index), number in self.committed.items():
            outcome = self.twins.one.line.book.jobs[name].outcome(index)  # type: ignore[index]
            assert outcome == Outcome(code=0, tail=b"x" * number)


def drive(seed: int, steps: int) -> None:
    """Let a line and its model live through so many steps, mostly those of tasks that run."""
    dice = random.Random(seed)
    model = LineAgainstModel()
    names = (
        "submit",
        "assign",
        "began",
        "finished",
        "lost",
        "yielded",
        "preempt",
        "cancel",
        "retry",
        "forget",
        "later",
    )
    for step in dice.choices(names, weights=(6, 30, 8, 20, 14, 6, 3, 1, 4, 1, 4), k=steps):
        job, pick = dice.choice(JOBS), dice.randrange(1000)
        match step:
            case "submit":
                model.submit(dice.randrange(len(JOBS)), dice.random() < 0.5)
            case "assign":
                model.assign(job, dice.randint(0, TASKS))
            case "finished":
                model.finished(pick, dice.choice((0, 0, 1, 7)))
            case "cancel" | "retry" | "forget":
                getattr(model, step)(job)
            case "later":
                model.later(dice.randrange(5000))
            case _:
                getattr(model, step)(pick)
        model.the_line_is_as_the_model()


class QueuesAgainstModel(RuleBasedStateMachine):
    """Each message: its place, how often it was taken, by whom, and until when."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins()
        self.requests: dict[str, int] = {}
        self.messages: dict[bytes, dict[str, Any]] = {}
        self.gone: set[bytes] = set()
        self.buried: list[bytes] = []
        self.came = 0
        self.twins.say(QueueMade(queue="q", deliveries_max=self.LIMIT))

    def pass_time(self) -> None:
        due = [name for name, one in self.messages.items() if one["held"] and one["until"] <= self.twins.wall_ms]
        for name in sorted(due, key=lambda name: (self.messages[name]["until"], self.messages[name]["place"])):
            self.come_back(name)

    def come_back(self, name: bytes) -> None:
        one = self.messages[name]
        one["held"] = False
        if one["taken"] >= self.LIMIT:
            del self.messages[name]
            self.gone.add(name)
            self.buried.append(name)

    @rule(ids=SOME_IDS)
    def put(self, ids: tuple[bytes, ...]) -> None:
        self.pass_time()
        said = Put(queue="q", messages=tuple(Message(name, name * 2) for name in ids))
        assert self.twins.say(said) == Applied()
        for name in ids:
            if name not in self.messages and name not in self.gone:
                self.came += 1
                self.messages[name] = {"place": self.came, "taken": 0, "by": "", "held": False, "until": 0}

    @rule(consumer=CONSUMERS, count=st.integers(1, 3), visible_ms=st.integers(100, 3000))
    def take(self, consumer: str, count: int, visible_ms: int) -> None:
        self.pass_time()
        self.requests[consumer] = request = self.requests.get(consumer, 0) + 1
        said = Take(queue="q", consumer=consumer, request=request, count=count, visible_ms=visible_ms)
        answer = self.twins.say(said)
        waiting = sorted((one["place"], name) for name, one in self.messages.items() if not one["held"])[:count]
        until = self.twins.wall_ms + visible_ms
        for _, name in waiting:
            one = self.messages[name]
            one.update(held=True, by=consumer, taken=one["taken"] + 1, until=until)
        expected = tuple((Message(name, name * 2), self.messages[name]["taken"]) for _, name in waiting)
        assert isinstance(answer, Applied)
        assert answer.messages == expected
        assert self.twins.say(said) == answer, "a taking asked twice hands out the same"
        if request > 1:
            assert not isinstance(self.twins.say(Take(queue="q", consumer=consumer, request=request - 1)), Applied)

    @rule(consumer=CONSUMERS, ids=SOME_IDS)
    def ack(self, consumer: str, ids: tuple[bytes, ...]) -> None:
        self.pass_time()
        answer = self.twins.say(Ack(queue="q", consumer=consumer, ids=ids))
        missed = tuple(name for name in ids if name in self.messages and self.messages[name]["by"] != consumer)
        assert answer == Applied(missed=missed)
        for name in ids:
            if name in self.messages and name not in missed:
                del self.messages[name]
                self.gone.add(name)

    @rule(consumer=CONSUMERS, ids=SOME_IDS)
    def nack(self, consumer: str, ids: tuple[bytes, ...]) -> None:
        self.pass_time()
        self.twins.say(Nack(queue="q", consumer=consumer, ids=ids))
        for name in ids:
            one = self.messages.get(name)
            if one is not None and one["held"] and one["by"] == consumer:
                self.come_back(name)

    @rule(consumer=CONSUMERS, ids=SOME_IDS, visible_ms=st.integers(100, 3000))
    def extend(self, consumer: str, ids: tuple[bytes, ...], visible_ms: int) -> None:
        self.pass_time()
        answer = self.twins.say(Extend(queue="q", consumer=consumer, ids=ids, visible_ms=visible_ms))
        missed = []
        for name in ids:
            one = self.messages.get(name)
            if one is not None and one["held"] and one["by"] == consumer:
                one["until"] = self.twins.wall_ms + visible_ms
            else:
                missed.append(name)
        assert answer == Applied(missed=tuple(missed))

    @rule(later_ms=st.integers(0, 4000))
    def later(self, later_ms: int) -> None:
        self.twins.say(Nack(queue="q", consumer="zed-1", ids=(b"nothing-",)), later_ms=later_ms)
        self.pass_time()

    @invariant()
    def each_message_is_where_the_model_has_it(self) -> None:
        queues = self.twins.one.queues
        view = queues.view("q")
        assert view is not None
        held = sum(one["held"] for one in self.messages.values())
        assert (view.waiting, view.held) == (len(self.messages) - held, held)
        assert queues.ready("q", self.twins.wall_ms) == view.waiting
        dead = queues.view("q.dead")
        assert (dead.waiting if dead else 0) == len(self.buried)
        assert (view.oldest_ms == 0) == (not self.messages)


SEED_THAT_SEES = 3
SIZE = settings(
    stateful_step_count=50 if os.environ.get("WORK_LONG") else 30,
    max_examples=60 if os.environ.get("WORK_LONG") else 15,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(SIZE, max_examples=60, database=None, phases=[Phase.generate])


@pytest.mark.parametrize("seed", range(60 if os.environ.get("WORK_LONG") else 3))
def test_the_line_keeps_to_a_simple_model(seed: int) -> None:
    drive(seed, 600)


def test_queues_keep_to_a_simple_model() -> None:
    run_state_machine_as_test(QueuesAgainstModel, settings=SIZE)


def test_the_model_sees_a_queue_that_hands_out_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneQueue, "_oldest", lambda self: self._new[-1] if self._new else None)
    with pytest.raises((AssertionError, LookupError)):
        run_state_machine_as_test(QueuesAgainstModel, settings=SEARCH)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda self, job, attempt: attempt.index in job.running,
        lambda self, job, attempt: self.run_of(attempt) is not None,
    ],
)
def test_the_model_sees_a_line_that_takes_in_too_many_words_or_too_few(
    wrong: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "_counts", wrong)
    with pytest.raises((AssertionError, LookupError)):
        drive(SEED_THAT_SEES, 600)


@given(st.binary(max_size=200))
def test_garbage_is_no_snapshot(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        Work.restore(data)


def test_a_snapshot_that_cannot_be_is_refused() -> None:
    work = Work()
    work.apply(WorkCommand(said=(submit("job-1", 3), QueueMade(queue="q")), wall_ms=5))
    job = work.line.book.jobs["job-1"]  # type: ignore[index]
    job.done = [1, 2]  # a task that is done and waits
    with pytest.raises(PeerBroke):
        Work.restore(work.snapshot())


def test_a_form_that_is_not_known_is_refused() -> None:
    data = bytearray(Work().snapshot())
    data[1] = 9
    with pytest.raises(PeerBroke):
        Work.restore(bytes(data))


def test_commands_of_one_word_are_answered_one_by_one_in_order() -> None:
    work = Work()
    said = (submit("job-1"), submit("job-1", priority=2), QueueMade(queue="q"), QueueDropped(queue="q"))
    answers = work.apply(WorkCommand(said=said, wall_ms=1))
    assert [isinstance(answer, Applied) for answer in answers] == [True, False, True, True]
