"""Rows: jobs and their tasks as a picture, a page or a program of another language shows them. Names instead of ids of nodes.

What a command put out and what it is called was written by others as they liked: here it is one line of printable text, cut.
Times in ms since 1970, money in micro-WOSCoin, processor time in us.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from worldos.kernel.line.view import JobView, State, TaskView

BYTES, TEXT, JSON = b"b", b"t", b"j"  # what the first letter of a message's body says (sdk/queue.py)
LINE_CHARS: Final = 200
PLACES_MAX: Final = 8
TELLING: Final = (State.FAILED, State.RUNNING, State.DROPPED, State.WAITING, State.HELD, State.DONE)


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job. ``where``: on which machines its tasks run, and how many; those of more than PLACES_MAX are left out."""

    job: str
    name: str
    command: str
    by: str
    state: State
    waiting: int
    running: int
    done: int
    failed: int
    dropped: int
    where: tuple[tuple[str, int], ...]
    why: str
    waits_for: tuple[str, ...]
    priority: int
    since_ms: int
    ended_ms: int
    deadline_ms: int
    late: bool
    spent_uwos: int
    budget_uwos: int
    cpu_us: int
    checked: int
    unsure: int

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return self.waiting + self.running + self.done + self.failed + self.dropped


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task. ``attempt``: the newest, 0: none was made. ``code``: -1 until it has ended. ``told``: the last it said, or why."""

    index: int
    state: State
    attempt: int
    node: str
    code: int
    told: str
    begun_ms: int
    failures: int
    losses: int
    agree: int
    copies: int


def job_row(job: JobView, names: Mapping[str, str]) -> JobRow:
    """Return the row of a job; ``names``: what nodes are called."""
    places = Counter(named(run.at or run.node, names) for run in job.runs)
    most = sorted(places.items(), key=lambda place: (-place[1], place[0]))[:PLACES_MAX]
    return JobRow(
        job=job.job,
        name=one_line(job.name),
        command=one_line(job.command),
        by=named(job.by, names),
        state=job.state,
        waiting=job.counts.waiting,
        running=job.counts.running,
        done=job.counts.done,
        failed=job.counts.failed,
        dropped=job.counts.dropped,
        where=tuple(most),
        why=one_line(job.why),
        waits_for=job.waits_for,
        priority=job.priority,
        since_ms=job.since_ms,
        ended_ms=job.ended_ms,
        deadline_ms=job.deadline_ms,
        late=job.late,
        spent_uwos=job.spent_uwos,
        budget_uwos=job.budget_uwos,
        cpu_us=job.cpu_us,
        checked=job.checked,
        unsure=job.unsure,
    )


def task_row(task: TaskView, names: Mapping[str, str]) -> TaskRow:
    """Return the row of a task."""
    outcome = task.outcome
    return TaskRow(
        index=task.index,
        state=task.state,
        attempt=task.number,
        node=named(task.at or task.node, names),
        code=-1 if outcome is None else outcome.code,
        told=told(task),
        begun_ms=task.begun_ms,
        failures=task.failures,
        losses=task.losses,
        agree=task.agree,
        copies=task.copies,
    )


def telling(tasks: Iterable[TaskView], most: int) -> list[TaskView]:
    """Return the tasks that tell most: those that failed, those that run, then the first of the rest."""
    found = list(tasks)
    if len(found) <= most:
        return found
    return sorted(found, key=lambda task: (TELLING.index(task.state), task.index))[:most]


def told(task: TaskView) -> str:
    """Return why a task ended as it did, or the last line that it put out."""
    if task.outcome is None:
        return ""
    lines = task.outcome.tail.decode(errors="replace").strip().splitlines()
    return one_line(task.outcome.why or (lines[-1] if lines else ""))


def message_row(id_: bytes, body: bytes, taken: int) -> dict[str, Any]:
    """Return what a message of a queue says, without loading what would run code. ``taken``: so often it was handed out."""
    row: dict[str, Any] = {"id": id_.hex(), "taken": taken}
    letter, data = body[:1], body[1:]
    if letter in {TEXT, JSON}:
        return {**row, "text": data.decode("utf-8", "replace")}
    return {**row, "form": "bytes" if letter == BYTES else "python", "base64": base64.b64encode(data).decode()}


def named(node: str, names: Mapping[str, str]) -> str:
    """Return what a node is called, or the beginning of its id."""
    return one_line(names.get(node, node[:8]))


def one_line(text: str) -> str:
    """Write on one line what others wrote as they liked."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * LINE_CHARS]).split())[
        :LINE_CHARS
    ]
