"""Jobs and tasks as people and runners see them: values that travel. Times in ms of the work's clock, sizes in bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from worldos.kernel.line import spans
from worldos.kernel.line.job import Job, Running, array_of, outcome_bytes
from worldos.kernel.line.votes import agreed
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import Attempt, JobId, Outcome

VIEWS_MAX: Final = 1000
VIEW_BYTES_MAX: Final = 256 << 10  # of the outcomes in one answer; one is always in it
RUNNING_SHOWN_MAX: Final = 256
ARGV_CHARS_MAX: Final = 200


class State(StrEnum):
    """Where a job or a task is in its life."""

    HELD = "held"  # waits for other jobs
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"  # cancelled, too late, or no money left


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """How many tasks are where."""

    waiting: int
    running: int
    done: int
    failed: int
    dropped: int


class RunView(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that was given to ``node``; ``at``: where its lease is. ``begun_ms``: 0 until then."""

    attempt: Attempt
    node: NodeId
    at: NodeId
    given_ms: int
    begun_ms: int
    asked: str


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job. ``why``: it waits or was dropped, in a sentence. ``runs``: RUNNING_SHOWN_MAX attempts at most.

    ``checked``: tasks that machines of several owners have done; ``unsure``: those that others are yet to do again.
    """

    job: JobId
    name: str
    command: str
    by: NodeId
    state: State
    counts: Counts
    need: Need
    priority: int
    since_ms: int
    ended_ms: int
    deadline_ms: int
    late: bool
    waits_for: tuple[JobId, ...]
    why: str
    spent_uwos: int
    budget_uwos: int
    cpu_us: int
    wall_us: int
    memory_bytes: int
    keep: bool
    runs: tuple[RunView, ...]
    checked: int = 0
    unsure: int = 0


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task. ``number``: of its newest attempt, whose word counts; 0: there was none.

    ``copies``: so often it was done for its result to be compared, of which ``agree`` came to what counts; 0: nothing counts yet.
    """

    index: int
    state: State
    number: int
    node: NodeId = NodeId("")
    at: NodeId = NodeId("")
    begun_ms: int = 0
    failures: int = 0
    losses: int = 0
    checkpoint: str = ""
    outcome: Outcome | None = None
    agree: int = 0
    copies: int = 0


def view_of(job: Job, why: str = "") -> JobView:
    """Return a job as people see it; ``why`` it waits, if somebody knows better than the job itself."""
    return JobView(
        job=job.id,
        name=job.spec.name,
        command=" ".join(job.spec.argv)[:ARGV_CHARS_MAX],
        by=job.by,
        state=state_of(job),
        counts=counts_of(job),
        need=job.spec.need,
        priority=job.spec.priority,
        since_ms=job.since_ms,
        ended_ms=job.ended_ms,
        deadline_ms=job.deadline_ms,
        late=job.late,
        waits_for=() if job.ended else tuple(job.blocked),
        why=job.why or why or own_why(job),
        spent_uwos=job.spent_uwos,
        budget_uwos=job.spec.budget_uwos,
        cpu_us=job.cpu_us,
        wall_us=job.wall_us,
        memory_bytes=job.memory_bytes,
        keep=job.spec.keep,
        runs=_runs_of(job),
        checked=sum(map(spans.count, job.agreed.values())),
        unsure=len(job.votes),
    )


def own_why(job: Job) -> str:
    """Say why a job waits, as far as it knows by itself."""
    if job.ended:
        return ""
    if job.blocked:
        return f"waits for {', '.join(job.blocked)}"
    if job.waiting and job.room <= 0:
        return f"{job.at_once} tasks run at once, as it asks for"
    if job.lost_why and not job.waiting:
        return f"an attempt was lost, and is made again: {job.lost_why}"
    return ""


def counts_of(job: Job) -> Counts:
    """Return how many tasks of a job are where."""
    failed = sum(map(spans.count, job.failed.values()))
    return Counts(spans.count(job.waiting), len(job.running), spans.count(job.done), failed, spans.count(job.dropped))


def state_of(job: Job) -> State:
    """Return where a job is in its life: what has ended badly is told when all has ended."""
    if job.ended:
        if job.failed:
            return State.FAILED
        return State.DROPPED if job.dropped else State.DONE
    if job.running:
        return State.RUNNING
    return State.HELD if job.blocked else State.WAITING


def tasks_of(job: Job, first: int, count: int) -> tuple[TaskView, ...]:
    """Return up to ``count`` tasks from index ``first`` on, rising."""
    found: list[TaskView] = []
    size = 0
    for index in spans.within(array_of(job.spec) or [], first, 2**40):
        if len(found) >= count:
            break
        task = task_of(job, index)
        size += outcome_bytes(task.outcome) if task.outcome else 0
        if found and size > VIEW_BYTES_MAX:
            break
        found.append(task)
    return tuple(found)


def task_of(job: Job, index: int) -> TaskView:
    """Return one task of a job."""
    run = job.running.get(index)
    past = job.past.get(index)
    outcome = job.outcome(index)
    agree, copies = agreed(job, index) if outcome is not None else (0, len(job.votes.get(index, ())))
    return TaskView(
        index=index,
        state=_state_of_task(job, index, run, outcome),
        number=run.number if run else job.counted(index),
        node=run.node if run else NodeId(""),
        at=run.at if run else NodeId(""),
        begun_ms=run.begun_ms if run else 0,
        failures=past.failures if past else 0,
        losses=past.losses if past else 0,
        checkpoint=past.checkpoint if past else "",
        outcome=outcome,
        agree=agree,
        copies=copies,
    )


def _state_of_task(job: Job, index: int, run: Running | None, outcome: Outcome | None) -> State:
    if run is not None:
        return State.RUNNING
    if outcome is not None:
        return State.FAILED if outcome.code else State.DONE
    if spans.has(job.dropped, index):
        return State.DROPPED
    return State.HELD if job.blocked else State.WAITING


def _runs_of(job: Job) -> tuple[RunView, ...]:
    runs = sorted(job.runs(), key=lambda each: (each[0], each[1].number))
    return tuple(
        [
            RunView(Attempt(job.id, index, run.number), run.node, run.at, run.given_ms, run.begun_ms, run.asked)
            for index, run in runs[:RUNNING_SHOWN_MAX]
        ]
    )
