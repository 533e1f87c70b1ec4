"""Work that waits, for the page and for AI agents: jobs, what they put out, and queues, as plain JSON.

Each thing that can be done here is an *act*: what it takes, how bad it is at worst, and what it does. All of it goes through the
agent's own orders (``work``, ``work_look``, ``log_read``), so a grant is held against each; nothing is decided here. The agent's
words are msgpack of ``model/work``: this is where they become rows. Sizes in bytes, times as in ``jobs/rows``.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from worldos.errors import BadRequest, NoCapacity, Unreachable
from worldos.home import Home
from worldos.jobs.desk import Desk
from worldos.jobs.rows import JobRow, TaskRow, job_row, message_row, task_row, telling, told
from worldos.jobs.shelf import Shelf
from worldos.kernel.line.view import TaskView
from worldos.kernel.queues.queues import QueueView
from worldos.kernel.work.look import read_queues
from worldos.model.rights import Impact
from worldos.sdk.asking import Asking
from worldos.web.limits import JOB_ROWS_MAX, LOG_SHOWN_BYTES, QUEUE_WAIT_S_MAX, TASK_ROWS_MAX, TASKS_READ_MAX

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Some = Annotated[int, msgspec.Meta(ge=1, le=JOB_ROWS_MAX)]
_Text = Annotated[str, msgspec.Meta(max_length=64 * 1024)]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an act takes."""


class JobsAsked(Asked, frozen=True):
    """Show the jobs in line: those that have not ended, then those that ended last; where they run, or why they wait."""

    count: _Some = 50


class JobAsked(Asked, frozen=True):
    """Show a job (by its id, the beginning of it, or its name), and 100 of its tasks: the most telling, or from ``first`` on."""

    job: str
    first: _Count | None = None


class LogAsked(Asked, frozen=True):
    """Read what a task of a job put out: its end, or what came after ``since`` (the ``next`` of the answer before)."""

    job: str
    index: _Count = 0
    attempt: _Count = 0
    since: _Count = 0


class Cancelled(Asked, frozen=True):
    """End a job, and what waits for it. What did not run is dropped; retry puts it into the line again."""

    job: str


class Again(Asked, frozen=True):
    """Run again the tasks of a job that failed or were dropped."""

    job: str


class Submitted(Asked, frozen=True):
    """Put a command into the line: it runs when and where there is room, though nobody waits for it. Returns the job.

    ``array``: a task for each index, as 1-100, which finds it in $WOS_TASK. ``after``: jobs that must have ended well before.
    ``deadline``: 08:00, in 2h. ``budget``: WOSCoin for all of it. Files that it makes in its folder are kept: wos result.
    """

    command: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=1024)]
    cpu: str = "1"
    memory: str = ""
    gpu: str = ""
    array: str = ""
    after: tuple[str, ...] = ()
    deadline: str = ""
    budget: str = ""
    priority: int = 0
    retries: int = 0
    runtime: str = ""
    where: str = ""
    realm: str = ""
    name: str = ""
    env: dict[str, str] = {}


class QueuesAsked(Asked, frozen=True):
    """Show the durable queues: how many messages wait in each, are taken, or are dead letters."""


class Putting(Asked, frozen=True):
    """Append messages to a durable queue, which is made if there is none of this name. They are on disks when this returns."""

    queue: str
    texts: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=1024)]


class Taking(Asked, frozen=True):
    """Take the oldest messages of a durable queue. They are gone for everybody else, unless ``keep`` gives them back at once."""

    queue: str
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    wait_s: Annotated[int, msgspec.Meta(ge=0, le=QUEUE_WAIT_S_MAX)] = 0
    keep: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a task put out. ``offset``: where the text begins, from the attempt's first byte; ``next``: what to ask for."""

    attempt: int
    offset: int
    next: int
    text: str
    ended: bool
    code: int
    why: str


class Act(NamedTuple):
    """Something that can be done: what it takes, how bad it is at worst, and how it is done."""

    asked: type[Asked]
    impact: Impact
    do: Callable[[Home, Asking, Any], Any]


def carry_out(home: Home, name: str, arguments: dict[str, Any], program: str) -> Any:
    """Do an act of ACTS; BadRequest for arguments that it does not take."""
    act = ACTS[name]
    try:
        asked = msgspec.convert(arguments, act.asked)
    except msgspec.ValidationError as cause:
        raise BadRequest(f"{name} does not take that: {cause}") from cause
    with Asking(home, program) as agent:
        return act.do(home, agent, asked)


# -- jobs ----------------------------------------------------------------------------------------------------------------------


def _jobs(_home: Home, agent: Asking, asked: JobsAsked) -> list[JobRow]:
    desk = Desk(agent.ask)
    names = desk.names()
    return [job_row(job, names) for job in desk.jobs(asked.count)]


def _job(_home: Home, agent: Asking, asked: JobAsked) -> dict[str, JobRow | list[TaskRow]]:
    desk = Desk(agent.ask)
    job, index = desk.named(asked.job)
    names = desk.names()
    if index is not None:
        tasks = [desk.task(job.job, index)]
    elif asked.first is None:
        tasks = telling(islice(desk.tasks(job.job), TASKS_READ_MAX), TASK_ROWS_MAX)
    else:
        tasks = list(islice(desk.tasks(job.job, asked.first), TASK_ROWS_MAX))
    return {"job": job_row(job, names), "tasks": [task_row(task, names) for task in tasks]}


def _job_log(home: Home, agent: Asking, asked: LogAsked) -> Told:
    desk = Desk(agent.ask)
    job, index = desk.named(asked.job)
    task = desk.task(job.job, asked.index if index is None else index)
    since = asked.since if asked.attempt == task.number else 0
    if task.outcome is not None:
        return _whole(home, task, since)
    if not task.begun_ms:
        return Told(attempt=task.number, offset=0, next=0, text="", ended=False, code=-1, why=job.why)
    return _live(desk, job.job, task, since)


def _live(desk: Desk, job: str, task: TaskView, since: int) -> Told:
    """Return what a running task put out after ``since``, or the end of it."""
    try:
        written = desk.log(job, task.index, 2**53 - 1).written
        offset = max(since, written - LOG_SHOWN_BYTES)
        piece = desk.log(job, task.index, offset)
    except Unreachable as silent:  # its node is not heard of: it is, or the task begins anew
        return Told(attempt=task.number, offset=since, next=since, text="", ended=False, code=-1, why=str(silent))
    text, used = _text(piece.data, final=False)
    return Told(
        attempt=task.number, offset=piece.offset, next=piece.offset + used, text=text, ended=False, code=-1, why=""
    )


def _whole(home: Home, task: TaskView, since: int) -> Told:
    """Return what a task that has ended put out after ``since``, or the end of it."""
    outcome = task.outcome
    assert outcome is not None, "asked of a task that has ended"
    data, written = outcome.tail, len(outcome.tail)
    if outcome.log_file:
        data, written = _end_of(home, outcome.log_file)
    offset = min(max(since, written - len(data)), written)
    text, _ = _text(data[len(data) - (written - offset) :], final=True)
    why = outcome.why or ("" if outcome.code == 0 else told(task))
    return Told(attempt=task.number, offset=offset, next=written, text=text, ended=True, code=outcome.code, why=why)


def _end_of(home: Home, name: str) -> tuple[bytes, int]:
    """Return the end of a file of the realm's, and how large that is."""
    shelf = Shelf(home, Path())
    end, size_bytes = b"", 0
    try:
        for piece in shelf.pieces(name):
            end = (end + piece)[-LOG_SHOWN_BYTES:]
            size_bytes += len(piece)
    finally:
        shelf.close()
    return end, size_bytes


def _text(data: bytes, *, final: bool) -> tuple[str, int]:
    """Return bytes as text, and how many of them: a letter that is not whole yet comes with the next piece."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final)
    return text, len(data) - len(decoder.getstate()[0])


def _submit(_home: Home, agent: Asking, asked: Submitted) -> JobRow:
    from worldos.jobs.submit import hand_in, spec_of  # noqa: PLC0415 - with what packs a job, which most acts do without
    from worldos.jobs.words import parse_array  # noqa: PLC0415

    desk = Desk(agent.ask)
    spans, together = parse_array(asked.array) if asked.array else ((), 0)
    spec = spec_of(
        argv=asked.command, cpu=asked.cpu, memory=asked.memory or None, gpu=asked.gpu or None, where=asked.where or None,
        realm=asked.realm or None, spans=spans, after=[desk.named(each)[0].job for each in asked.after],
        deadline=asked.deadline or None, budget=asked.budget or None, priority=asked.priority, retries=asked.retries,
        together=together, runtime=asked.runtime or None, name=asked.name, env=asked.env,
    )  # fmt: skip
    if never := desk.never(spec):
        raise NoCapacity(f"nothing that is known could ever run this: {never}", hint="ask for less")
    job = hand_in(desk, spec, (), Path())
    return job_row(desk.job(job), desk.names())


def _changed(change: Callable[[Desk, str], None]) -> Callable[[Home, Asking, Cancelled | Again], JobRow]:
    """Return an act that changes a whole job, and tells how it stands then."""

    def act(_home: Home, agent: Asking, asked: Cancelled | Again) -> JobRow:
        desk = Desk(agent.ask)
        job, index = desk.named(asked.job)
        if index is not None:
            raise BadRequest(f"{asked.job[:60]} is one task: whole jobs only", hint=f"say {job.job}")
        change(desk, job.job)
        return job_row(desk.job(job.job), desk.names())

    return act


# -- queues --------------------------------------------------------------------------------------------------------------------


def _queues(_home: Home, agent: Asking, _asked: QueuesAsked) -> tuple[QueueView, ...]:
    return read_queues(agent.ask("work_look", what="queues"))


def _put(home: Home, _agent: Asking, asked: Putting) -> dict[str, int]:
    from worldos.sdk.queue import Queue  # noqa: PLC0415 - loads cloudpickle

    with Queue(asked.queue, home=home) as queue:
        return {"put": queue.put_many(asked.texts), "waiting": queue.qsize()}


def _take(home: Home, _agent: Asking, asked: Taking) -> list[dict[str, Any]]:
    from worldos.sdk.queue import Queue  # noqa: PLC0415

    with Queue(asked.queue, home=home, make=False) as queue:
        found = queue.get_many(asked.count, timeout=float(asked.wait_s))
        (queue.nack if asked.keep else queue.ack)(*found)
        return [message_row(each.id, each.raw, each.deliveries) for each in found]


ACTS: Final[dict[str, Act]] = {
    "jobs": Act(JobsAsked, Impact.READ, _jobs),
    "job": Act(JobAsked, Impact.READ, _job),
    "job_log": Act(LogAsked, Impact.READ, _job_log),
    "submit": Act(Submitted, Impact.REVERSIBLE, _submit),
    "cancel": Act(Cancelled, Impact.REVERSIBLE, _changed(Desk.cancel)),
    "retry": Act(Again, Impact.REVERSIBLE, _changed(Desk.retry)),
    "queues": Act(QueuesAsked, Impact.READ, _queues),
    "queue_put": Act(Putting, Impact.REVERSIBLE, _put),
    "queue_take": Act(Taking, Impact.COSTLY, _take),
}
