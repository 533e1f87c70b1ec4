"""The desk: the line of a site as one program of it sees it. Jobs are submitted, looked at, cancelled; logs are read.

Everything goes through the agent of this machine, and from there to whoever leads the line. What was acknowledged is on the disks
of a majority of the site's council: the program, and this machine, may go to sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from worldos.errors import BadRequest, NotThere, OverQuota, PeerBroke
from worldos.jobs.words import parse_task
from worldos.kernel.line.view import JobView, State, TaskView
from worldos.kernel.work.look import JobSeen, read_job, read_jobs
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.ids import NodeId
from worldos.model.runner import LOG_PIECE_BYTES_MAX, LogPiece
from worldos.model.work import (
    Cancel,
    Forget,
    JobId,
    JobSpec,
    LineCommand,
    Refused,
    Retry,
    Submit,
    WorkCommand,
)

TASKS_AT_ONCE: Final = 1000
JOBS_SHOWN: Final = 1000
ENDED: Final = frozenset({State.DONE, State.FAILED, State.DROPPED})
_pieces = msgspec.msgpack.Decoder(LogPiece)
_encode = msgspec.msgpack.Encoder().encode

Ask = Callable[..., Any]


class Desk:
    """The line, by the orders of an agent. ``ask``: ask(name, **arguments)."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    # -- changing --------------------------------------------------------------------------------------------------------------

    def submit(self, job: JobId, spec: JobSpec) -> None:
        """Put a job into the line. Once this returns it is there, whatever ends."""
        self.say(Submit(job=job, spec=spec, by=self.node()))

    def cancel(self, job: str) -> None:
        """End a job, and what waits for it."""
        self.say(Cancel(job=job))

    def retry(self, job: str) -> None:
        """Run again what failed or was dropped."""
        self.say(Retry(job=job))

    def forget(self, job: str) -> None:
        """Drop what is known of a job that has ended."""
        self.say(Forget(job=job))

    def say(self, *said: LineCommand) -> None:
        """Have commands carried out; the first refusal is raised."""
        data = self._ask("work", command=encode_command(WorkCommand(said=said)))
        for answer in decode_answers(data):
            if isinstance(answer, Refused):
                kind = OverQuota if "full" in answer.why else BadRequest
                raise kind(answer.why, hint=answer.hint)

    def never(self, spec: JobSpec) -> str:
        """Say why nothing that is known of could ever run this, or nothing if something could."""
        return str(self._ask("work_never", spec=_encode(spec)))

    # -- looking ---------------------------------------------------------------------------------------------------------------

    def jobs(self, count: int = JOBS_SHOWN) -> tuple[JobView, ...]:
        """Return the jobs: those that have not ended, as they came, then those that have, the newest first."""
        return read_jobs(self._ask("work_look", what="jobs", count=count))

    def job(self, job: str) -> JobView:
        """Return one job; NotThere if there is none of this name."""
        return self._seen(job, 0, 0)[0]

    def task(self, job: str, index: int) -> TaskView:
        """Return one task of a job."""
        tasks = self._seen(job, index, 1)[1]
        if not tasks or tasks[0].index != index:
            raise NotThere(f"job {job} has no task {index}", hint=f"see which it has with: wos jobs {job}")
        return tasks[0]

    def tasks(self, job: str, first: int = 0) -> Iterator[TaskView]:
        """Yield the tasks of a job, by index, from one on."""
        while True:
            tasks = self._seen(job, first, TASKS_AT_ONCE)[1]
            yield from tasks
            if not tasks:
                return
            first = tasks[-1].index + 1

    def named(self, text: str) -> tuple[JobView, int | None]:
        """Return the job, and the index, that a person named: by the whole of its id, its beginning, or its own name."""
        name, index = parse_task(text)
        if not name:
            raise BadRequest("no job is named", hint="see which there are with: wos jobs")
        jobs = self.jobs()
        exact = [job for job in jobs if job.job == name]
        found = exact or [job for job in jobs if job.job.startswith(name)] or [job for job in jobs if job.name == name]
        if len(found) > 1:
            some = ", ".join(job.job for job in found[:5])
            raise BadRequest(f"{name[:60]!r} may be any of {len(found)} jobs: {some}", hint="say the whole of its id")
        if not found:
            raise NotThere(f"there is no job {name[:60]!r}", hint="see which there are with: wos jobs")
        return self.job(found[0].job), index

    def _seen(self, job: str, first: int, count: int) -> tuple[JobView, tuple[TaskView, ...]]:
        seen: JobSeen = read_job(self._ask("work_look", what=f"job {job}", first=first, count=count))
        if seen.job is None:
            raise NotThere(f"there is no job {job[:60]!r}", hint="see which there are with: wos jobs")
        return seen.job, seen.tasks

    def node(self) -> NodeId:
        """Return the node that we talk to."""
        return NodeId(self._ask("status")["node"])

    def names(self) -> dict[str, str]:
        """Return what the nodes are called."""
        return {row["node"]: row["name"] for row in self._ask("nodes")}

    def log(self, job: str, index: int, offset: int) -> LogPiece:
        """Return a piece of the log of a task that runs."""
        data = self._ask("log_read", job=job, index=index, offset=offset, size=LOG_PIECE_BYTES_MAX)
        try:
            return _pieces.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            raise PeerBroke("a piece of a log cannot be read") from cause


def tasks_of(job: JobView) -> int:
    """Return how many tasks a job has."""
    return sum(msgspec.structs.astuple(job.counts))


def ended_of(job: JobView) -> int:
    """Return how many of them have ended."""
    return job.counts.done + job.counts.failed + job.counts.dropped
