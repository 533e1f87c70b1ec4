"""What the log of a site's work says, read from outside: each committed command once, in order, as any replica first knows it.

It is applied to a state of its own, one word after the other, and each is judged by what stood before: an attempt is given only
when it may be, a task has one outcome, by an attempt that lives, and only one that ran to that end; a message is one
consumer's at a time, and nobody's after its ack. Where the log itself differs between replicas, ``RealmSafety.look_at`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.kernel.line import spans
from worldos.kernel.line.job import Job
from worldos.kernel.work.replica import FIRST, LAST, WHOLE, Replica
from worldos.kernel.work.state import Work
from worldos.kernel.work.words import decode_command
from worldos.model.work import (
    Ack,
    Applied,
    Assign,
    Attempt,
    Extend,
    Finished,
    JobId,
    LineCommand,
    Lost,
    Nack,
    QueueCommand,
    Retry,
    Take,
    WorkAnswer,
    WorkCommand,
    Yielded,
)
from worldos.sim.attempt import code_of, name_of
from worldos.sim.checkers import Violation

if TYPE_CHECKING:
    from collections.abc import Container

Said = LineCommand | QueueCommand
Task = tuple[str, int]  # a job, and an index of it


class History:
    """All that was committed so far. ``ran``: the names of attempts that ran to their own end, wherever that was."""

    def __init__(self, ran: Container[str]) -> None:
        self.work = Work()
        self.index = 0
        self.words = 0
        self.acked: dict[str, set[bytes]] = {}  # by queue: what is done with
        self.outcomes: dict[Task, tuple[int, int]] = {}  # of tasks that have ended: which attempt, with which code
        self._ran = ran
        self._pieces: list[bytes] = []
        self.copies: dict[str, dict[int, int]] = {}  # by task: which attempts were begun beside which
        self._given: dict[Task, int] = {}  # the newest attempt
        self._live: dict[Task, set[int]] = {}  # which may end it: one, or two side by side
        self._held: dict[tuple[str, bytes], tuple[str, int]] = {}  # who holds a message, until when
        self._times: dict[tuple[str, bytes], int] = {}  # how often it was handed out

    def follow(self, replica: Replica) -> None:
        """Read on, as far as a replica knows."""
        log = replica.raft.log
        while self.index < log.committed and self.index >= log.base:
            entry = log.entries[self.index - log.base]
            self.index += 1
            command = self._joined(entry.command)
            if command:
                self._apply(decode_command(command))

    def job(self, name: str) -> Job | None:
        """Return a job of the line."""
        return self.work.line.book.jobs.get(JobId(name))

    def _joined(self, piece: bytes) -> bytes:
        mark = piece[:1]
        if mark == WHOLE:
            self._pieces = []
            return piece[1:]
        if mark == FIRST:
            self._pieces = [piece[1:]]
        elif self._pieces:
            self._pieces.append(piece[1:])
        if mark != LAST or not self._pieces:
            return b""
        whole, self._pieces = b"".join(self._pieces), []
        return whole

    def _apply(self, command: WorkCommand) -> None:
        self.work.apply(WorkCommand(wall_ms=command.wall_ms))
        for said in command.said:
            self.words += 1
            ended = self._has_ended(said)
            (answer,) = self.work.apply(WorkCommand(said=(said,), wall_ms=command.wall_ms))
            if isinstance(answer, Applied):
                self._judge(said, answer, ended=ended)

    def _has_ended(self, said: Said) -> bool:
        """Tell whether the task of a ``Finished`` had ended before that."""
        return isinstance(said, Finished) and self._is_over(said.attempt)

    def _is_over(self, attempt: Attempt) -> bool:
        job = self.job(attempt.job)
        if job is None:
            return False
        return any(spans.has(edges, attempt.index) for edges in (job.done, *job.failed.values()))

    def _judge(self, said: Said, answer: Applied, *, ended: bool) -> None:
        match said:
            case Assign():
                for attempt in answer.attempts:
                    self._assigned(attempt, beside=said.beside)
            case Finished():
                if not ended and self._is_over(said.attempt):
                    self._ended(said)
                self._leaves(said.attempt)
            case Lost() | Yielded():
                self._leaves(said.attempt)
            case Retry():
                self.outcomes = {task: how for task, how in self.outcomes.items() if self._stands(task)}
            case Take():
                self._taken(said, answer)
            case Ack():
                gone = [name for name in said.ids if name not in answer.missed]
                self.acked.setdefault(said.queue, set()).update(gone)
                self._let_go(said.queue, gone)
            case Nack():
                self._let_go(said.queue, [name for name in said.ids if name not in answer.missed])
            case Extend():
                until_ms = self.work.wall_ms + said.visible_ms
                for name in said.ids:
                    if name not in answer.missed:
                        self._held[said.queue, name] = said.consumer, until_ms
            case _:
                pass

    # -- tasks -------------------------------------------------------------------------------------------------------------

    def _assigned(self, attempt: Attempt, *, beside: bool) -> None:
        task = attempt.job, attempt.index
        live = self._live.setdefault(task, set())
        job = self.job(attempt.job)
        assert job is not None
        if attempt.number <= self._given.get(task, 0):
            raise Violation(f"{name_of(attempt)} was given before")
        if task in self.outcomes:
            raise Violation(f"{name_of(attempt)} is given though the task has ended")
        self._given[task] = attempt.number
        if beside:
            (first,) = live
            self.copies.setdefault(f"{attempt.job}.{attempt.index}", {})[attempt.number] = first
        else:
            live.clear()
        live.add(attempt.number)
        for other in job.spec.after:
            known = self.job(other)
            if known is not None and (not known.ended or known.failed or known.dropped):
                raise Violation(f"{name_of(attempt)} is given before job {other} has ended well")

    def _ended(self, said: Finished) -> None:
        attempt, code = said.attempt, said.outcome.code
        task, name = (attempt.job, attempt.index), name_of(attempt)
        job = self.job(attempt.job)
        assert job is not None
        if task in self.outcomes:
            number, before = self.outcomes[task]
            raise Violation(f"{name} ends with {code} what attempt {number} had ended with {before}")
        if attempt.number not in self._live.get(task, ()):
            may = " or ".join(map(str, sorted(self._live.get(task, ()))))
            raise Violation(f"{name} ends its task, and only attempt {may} may")
        if name not in self._ran:
            raise Violation(f"{name} ended its task and never ran to an end")
        if code != code_of(attempt, job.spec):
            raise Violation(f"{name} ended with {code_of(attempt, job.spec)}, and the line has {code}")
        self.outcomes[task] = attempt.number, code

    def _leaves(self, attempt: Attempt) -> None:
        """An attempt of two side by side is over; the word of a lone one may yet come, until another is given."""
        live = self._live.get((attempt.job, attempt.index), set())
        if len(live) > 1:
            live.discard(attempt.number)

    def _stands(self, task: Task) -> bool:
        """Tell whether a task that had ended is to stay so after a retry."""
        name, index = task
        job = self.job(name)
        return job is None or any(spans.has(edges, index) for edges in (job.done, *job.failed.values()))

    # -- messages ----------------------------------------------------------------------------------------------------------

    def _taken(self, said: Take, answer: Applied) -> None:
        wall_ms = self.work.wall_ms
        for message, times in answer.messages:
            key = said.queue, message.id
            if message.id in self.acked.get(said.queue, ()):
                raise Violation(f"{message.id.hex()} is handed to {said.consumer} after its ack")
            if self._times.get(key, 0) == times:
                continue  # the same taking, asked again: nothing is handed out anew
            self._times[key] = times
            consumer, until_ms = self._held.get(key, ("", 0))
            if consumer not in ("", said.consumer) and until_ms > wall_ms:
                raise Violation(f"{message.id.hex()} is handed to {said.consumer} while {consumer} holds it")
            self._held[key] = said.consumer, wall_ms + said.visible_ms

    def _let_go(self, queue: str, names: list[bytes]) -> None:
        for name in names:
            self._held.pop((queue, name), None)


def taken_in(answer: WorkAnswer) -> bool:
    """Tell whether something was done."""
    return isinstance(answer, Applied)
