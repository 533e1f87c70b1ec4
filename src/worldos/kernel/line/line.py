"""The line: what each command makes of the jobs of a site.

A state machine that is told everything in one order. A command is done or refused, and one that is refused changes nothing; none
raises. Invariants: each task is in one of its job's sets; a number is given to one attempt of a task, ever; a task ends once, by
the word of an attempt that runs, or that was given up for lost and has no successor. At most two run at once: the second only
where the first is at a machine of others and will have to be compared (line/votes.py), and with its end the other's word is void.
Source: DESIGN.md 1 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Final

import msgspec

from worldos.errors import BadRequest
from worldos.kernel.auditing import Auditing
from worldos.kernel.line import spans, votes
from worldos.kernel.line.book import Book, Worked
from worldos.kernel.line.job import Job, Past, Running, Word, array_of, kind_of, outcome_bytes
from worldos.kernel.line.view import VIEWS_MAX, JobView, TaskView, tasks_of, view_of
from worldos.kernel.question import check_need
from worldos.kernel.work.limits import (
    JOB_BYTES,
    JOBS_MAX,
    LOSSES_MAX,
    LOST_WHY_CHARS_MAX,
    OUTCOME_BYTES_MAX,
    PROVIDERS_MAX,
    REST_MS_MAX,
    REST_MS_MIN,
    RUNNING_MAX,
    SPEC_BYTES_MAX,
    STORY_BYTES_MAX,
    TAIL_BYTES_EASY,
    TASKS_MAX,
)
from worldos.model.work import (
    ARRAY_TASKS_MAX,
    Applied,
    Assign,
    Attempt,
    Began,
    Cancel,
    Finished,
    Forget,
    JobId,
    LineCommand,
    Lost,
    Outcome,
    Preempt,
    Refused,
    Retry,
    Submit,
    WorkAnswer,
    Yielded,
    log_path,
    result_path,
)

DONE: Final = Applied()
_encode = msgspec.msgpack.Encoder().encode
SUM_MAX: Final = 2**60  # of what runners say that their tasks took: it must fit in 64 bits
_SECOND_MS: Final = 1000


class Kept(msgspec.Struct, array_like=True):
    """What a snapshot has of the line."""

    jobs: list[Job]
    orders: int
    forgotten: dict[JobId, None]
    worked: dict[int, Worked] = {}
    providers: Auditing = msgspec.field(default_factory=lambda: Auditing(most=PROVIDERS_MAX))


class Line:
    """All jobs, in the order in which they came."""

    def __init__(self) -> None:
        self.book = Book()
        self.providers = Auditing(most=PROVIDERS_MAX)  # machines of others that worked for us
        self._do: dict[type, Callable[[Any], WorkAnswer]] = {
            Submit: self._submit,
            Cancel: self._cancel,
            Retry: self._retry,
            Forget: self._forget,
            Assign: self._assign,
            Began: self._began,
            Finished: self._finished,
            Yielded: self._yielded,
            Lost: self._lost,
            Preempt: self._preempt,
        }

    # -- from the work ------------------------------------------------------------------------------------------------------

    def tick(self, wall_ms: int) -> None:
        """Let time pass."""
        self.book.tick(wall_ms)

    def apply(self, command: LineCommand) -> WorkAnswer:
        """Do what a command says, or say why not."""
        return self._do[type(command)](command)

    def kept(self) -> Kept:
        """Return what a snapshot must have."""
        book = self.book
        return Kept(list(book.jobs.values()), book.orders, book.forgotten, book.worked, self.providers)

    @classmethod
    def again(cls, kept: Kept, wall_ms: int) -> Line:
        """Return the line of which a snapshot was made; ValueError if it cannot be one."""
        line = cls()
        book = line.book
        book.orders, book.forgotten, book.wall_ms, book.worked = kept.orders, kept.forgotten, wall_ms, kept.worked
        if any(worked.tasks < 1 or min(worked.wall_us, worked.memory_bytes) < 0 for worked in kept.worked.values()):
            raise ValueError("worked")
        line.providers = kept.providers
        for job in kept.jobs:
            if not job.is_sound() or job.id in book.jobs or max(job.order, job.ended) > kept.orders:
                raise ValueError(job.id)
            book.jobs[job.id] = job
            book.take_in(job)
        for job in sorted((job for job in kept.jobs if job.ended), key=lambda job: job.ended):
            book.ended[job.id] = None
        return line

    # -- reads ---------------------------------------------------------------------------------------------------------------

    def run_of(self, attempt: Attempt) -> Running | None:
        """Return what is known of an attempt that runs, or None if it does not, or not for us."""
        job = self.book.jobs.get(JobId(attempt.job))
        return job.run_of(attempt.index, attempt.number) if job else None

    def ready(self) -> Iterator[Job]:
        """Give the jobs whose tasks can be begun: by priority, then by how soon they must begin, then as they came."""
        return self.book.ready()

    def view(self, name: str) -> JobView | None:
        """Return one job as people see it."""
        job = self.book.jobs.get(JobId(name))
        return view_of(job) if job else None

    def views(self, most: int = VIEWS_MAX) -> tuple[JobView, ...]:
        """Return the jobs: those that have not ended, as they came, then those that have, the newest first."""
        jobs = self.book.jobs
        some = chain(
            (job for job in jobs.values() if not job.ended), (jobs[name] for name in reversed(self.book.ended))
        )
        return tuple(map(view_of, islice(some, most)))

    def tasks(self, name: str, first: int = 0, count: int = VIEWS_MAX) -> tuple[TaskView, ...]:
        """Return tasks of a job from index ``first`` on, with how they ended, as far as one answer can hold it."""
        job = self.book.jobs.get(JobId(name))
        return tasks_of(job, first, count) if job else ()

    def is_current(self, attempt: Attempt) -> bool:
        """Tell whether an attempt is to go on; if not, its runner shall stop it and drop what it made."""
        return self.run_of(attempt) is not None

    def asked(self, attempt: Attempt) -> str:
        """Say why an attempt is to yield; empty: it is not."""
        run = self.run_of(attempt)
        return run.asked if run else ""

    # -- people --------------------------------------------------------------------------------------------------------------

    def _submit(self, said: Submit) -> WorkAnswer:
        name, spec = JobId(said.job), said.spec
        known = self.book.jobs.get(name)
        if known is not None:
            return DONE if known.spec == spec else _no(f"there is another job {name}", "give this one another id")
        if name in self.book.forgotten:
            return _no(f"job {name} was there and is forgotten", "submit it under a new id")
        array = array_of(spec)
        size = len(_encode(spec)) + JOB_BYTES
        refusal = self._too_much(array, size) or self._unfit(name, said)
        if refusal is not None:
            return refusal
        assert array is not None
        self.book.orders += 1
        self.book.jobs[name] = job = Job(
            name, spec, size, said.by, self.book.orders, self.book.wall_ms, spec.deadline_s * _SECOND_MS, array,
            [], [], {}, [], [], [], {}, {}, {},
        )  # fmt: skip
        job.kind = kind_of(spec.argv)
        job.known_us = self.book.known_us(job.kind)
        if spec.after:
            job.blocked = sorted({JobId(other) for other in spec.after if not self.book.is_well(JobId(other))})
        self.book.take_in(job)
        broken = self.book.broken(job) if job.blocked else None
        if broken is not None:
            self.book.drop_for(job, broken)
            self.book.settle(job)
        return DONE

    def _too_much(self, array: spans.Edges | None, size: int) -> Refused | None:
        if array is None:
            return _no("the indices of an array must rise and lie apart", "write them as 1-100 or 1,5,9")
        tasks = spans.count(array)
        if tasks > ARRAY_TASKS_MAX:
            return _no(f"an array of {tasks} tasks is too large", f"a job may have {ARRAY_TASKS_MAX} tasks")
        if len(self.book.jobs) - len(self.book.ended) >= JOBS_MAX or self.book.tasks + tasks > TASKS_MAX:
            return _no("the line is full of jobs", "wait until some have ended, or make one array of many jobs")
        if self.book.spec_bytes + size > SPEC_BYTES_MAX:
            return _no("the line is full", "put the job's files into the realm's files, or wait until others ended")
        return None

    def _unfit(self, name: JobId, said: Submit) -> Refused | None:
        spec = said.spec
        try:
            check_need(spec.need)
        except BadRequest as refusal:
            return _no(str(refusal), refusal.hint)
        if name in spec.after:
            return _no(f"job {name} would wait for itself", "leave it out of --after")
        for other in spec.after:
            if other not in self.book.jobs:
                return _no(f"there is no job {other} to wait for", "see which there are with: wos jobs")
        if 0 < spec.deadline_s * _SECOND_MS <= self.book.wall_ms:
            return _no("the deadline has passed", "give a later one, or none")
        return None

    def _cancel(self, said: Cancel) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.job))
        if job is None:
            return _no_job(said.job)
        if not job.ended:
            self.book.drop_all(job, "cancelled")
            self.book.settle(job)
        return DONE

    def _retry(self, said: Retry) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.job))
        if job is None:
            return _no_job(said.job)
        if not job.failed and not job.dropped:
            return _no(f"job {job.id} has no task that failed or was dropped")
        if job.spec.budget_uwos and job.spent_uwos >= job.spec.budget_uwos:
            return _no(f"the budget of job {job.id} is spent", "submit it again with a larger budget")
        missing = [name for name in job.blocked if name not in self.book.jobs]
        if missing:
            return _no(f"job {missing[0]}, which it waits for, is forgotten", "submit both again")
        broken = self.book.broken(job)
        if broken is not None:
            return _no(f"job {broken.id}, which it waits for, did not end well", f"begin with: wos retry {broken.id}")
        self.book.reopen(job)
        return DONE

    def _forget(self, said: Forget) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.job))
        if job is None:
            return DONE if said.job in self.book.forgotten else _no_job(said.job)
        if not job.ended:
            return _no(f"job {job.id} has not ended", f"end it first with: wos cancel {job.id}")
        self.book.forget(job)
        return DONE

    # -- the primary and the runners -----------------------------------------------------------------------------------------

    def _assign(self, said: Assign) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.job))
        if job is None:
            return _no_job(said.job)
        if job.blocked or job.ended:
            return _no(f"job {job.id} cannot be begun", "wait until what it waits for has ended")
        if self.book.story_bytes > STORY_BYTES_MAX:
            return _no(
                "the line is full of tasks that were tried before", "forget jobs that have ended: wos jobs forget"
            )
        most = min(job.room, RUNNING_MAX - self.book.running)
        made: list[Attempt] = []
        for index in said.indices:
            if len(made) >= most or not self._may_begin(job, index, said):
                continue
            past = job.past.get(index)
            number = job.number(index) + 1 if said.beside else past.number + 1 if past else 1
            self.book.begin(job, index, Running(number, said.node, self.book.wall_ms))
            made.append(Attempt(job.id, index, number))
        if not made:
            return _no(f"no such task of job {job.id} waits for a place")
        self.book.weigh(job)
        return Applied(attempts=tuple(made))

    def _may_begin(self, job: Job, index: int, said: Assign) -> bool:
        """Tell whether a task may be begun, and take it out of those that wait."""
        return votes.may_copy(job, index, self.providers) if said.beside else spans.remove(job.waiting, index)

    def _began(self, said: Began) -> WorkAnswer:
        run = self.run_of(said.attempt)
        if run is None:
            return _stale(said.attempt)
        if not run.begun_ms:
            run.begun_ms, run.at, run.owner = max(1, self.book.wall_ms), said.at, said.owner
            job = self.book.jobs[JobId(said.attempt.job)]
            if job.lost_why:
                job.lost_why = ""
                self.book.weigh(job)
        return DONE

    def _finished(self, said: Finished) -> WorkAnswer:
        attempt, outcome = said.attempt, said.outcome
        job = self.book.jobs.get(JobId(attempt.job))
        if job is None:
            return _stale(attempt)
        if not self._counts(job, attempt):
            heard = attempt.number == job.counted(attempt.index) and self._was_heard(job, attempt.index)
            return DONE if heard else _stale(attempt)
        if outcome.result and self.book.outcome_bytes + len(outcome.result) > OUTCOME_BYTES_MAX:
            return _no("results in line are full", "put the result into the realm's files: result_file")
        ruling = votes.ruling(job, attempt, outcome, self.providers)
        past = self._stop(job, attempt, Word.SAID)
        self._charge(job, outcome)
        job.lost_why = ""
        if ruling.outcome is None:
            past.checkpoint = ""  # a copy begins from the beginning
            self._wait(job, attempt.index)
        elif outcome.code and past.failures < job.spec.retries and not ruling.is_split:
            self._drop_other(job, attempt, past)
            past.failures += 1
            spans.add(job.waiting, attempt.index)
        else:
            self._settle(job, attempt, ruling.outcome, past)
            if ruling.agreed:
                spans.add(job.agreed.setdefault(ruling.agreed, []), attempt.index)
        self.book.weigh(job)
        job.strikes = 0
        if 0 < job.spec.budget_uwos <= job.spent_uwos and (job.waiting or job.running):
            self.book.drop_all(job, f"its budget is spent: {job.spent_uwos} of {job.spec.budget_uwos} uWOS")
        self.book.settle(job)
        return Applied(attempts=ruling.unneeded) if ruling.unneeded else DONE

    def _yielded(self, said: Yielded) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.attempt.job))
        if job is None or not self._counts(job, said.attempt):
            return _stale(said.attempt)
        past = self._stop(job, said.attempt, Word.SAID)
        past.checkpoint = said.checkpoint or past.checkpoint
        job.spent_uwos = min(SUM_MAX, job.spent_uwos + said.paid_uwos)
        self._wait(job, said.attempt.index)
        self.book.weigh(job)
        return DONE

    def _lost(self, said: Lost) -> WorkAnswer:
        job = self.book.jobs.get(JobId(said.attempt.job))
        if job is None or self.run_of(said.attempt) is None:
            return _stale(said.attempt)
        past = self._stop(job, said.attempt, Word.AWAITED)
        if said.attempt.index in job.running:  # what ran beside it goes on
            self.book.weigh(job)
            return DONE
        past.losses += 1
        if past.losses >= LOSSES_MAX:
            outcome = Outcome(code=255, why=f"lost {past.losses} times, at last: {said.why}"[:1024])
            self._settle(job, said.attempt, outcome, past)
            self.book.weigh(job)
            self.book.settle(job)
            return DONE
        if self.book.wall_ms >= job.rest_ms:
            job.rest_ms = self.book.wall_ms + min(REST_MS_MAX, REST_MS_MIN << min(job.strikes, 16))
            job.strikes += 1
        job.lost_why = said.why[:LOST_WHY_CHARS_MAX]
        spans.add(job.waiting, said.attempt.index)
        self.book.weigh(job)
        return DONE

    def _preempt(self, said: Preempt) -> WorkAnswer:
        run = self.run_of(said.attempt)
        if run is None:
            return _stale(said.attempt)
        if not self.book.jobs[JobId(said.attempt.job)].spec.preemptible:
            return _no(f"job {said.attempt.job} did not say that it may be asked to stop")
        run.asked = run.asked or said.why or "something more urgent waits"
        return DONE

    # -- one task ------------------------------------------------------------------------------------------------------------

    def _counts(self, job: Job, attempt: Attempt) -> bool:
        """Tell whether an attempt's word counts: it runs, or was given up for lost and nobody was asked since."""
        if attempt.index in job.running:
            return job.run_of(attempt.index, attempt.number) is not None
        past = job.past.get(attempt.index)
        waits = past is not None and past.number == attempt.number and past.word is Word.AWAITED
        return waits and spans.has(job.waiting, attempt.index)

    def _was_heard(self, job: Job, index: int) -> bool:
        past = job.past.get(index)
        return past.word is Word.SAID if past else spans.has(job.done, index)

    def _stop(self, job: Job, attempt: Attempt, word: Word) -> Past:
        """Take an attempt out of the sets in which it may be before its last word; return its task's past."""
        if not self.book.cease(job, attempt.index, attempt.number):
            spans.remove(job.waiting, attempt.index)
        past = job.past.get(attempt.index)
        if past is None:
            past = job.past[attempt.index] = Past(attempt.number)
        if attempt.number >= past.number:
            past.number, past.word = attempt.number, word
        return past

    def _wait(self, job: Job, index: int) -> None:
        """Let a task wait again, if nothing of it runs."""
        if index not in job.running:
            spans.add(job.waiting, index)

    def _drop_other(self, job: Job, attempt: Attempt, past: Past) -> None:
        """Let what still runs beside an attempt whose word counts be nobody's: its runner is told to stop it."""
        run = job.running.get(attempt.index)
        if run is not None:
            self.book.cease(job, attempt.index, run.number)
            past.number = max(past.number, run.number)
        if past.number != attempt.number:
            past.word = Word.UNWANTED

    def _settle(self, job: Job, attempt: Attempt, outcome: Outcome, past: Past) -> None:
        """Let a task end with this outcome, and keep of it what is more than its code."""
        index = attempt.index
        self._drop_other(job, attempt, past)
        past.ended_by = attempt.number if attempt.number != past.number else 0
        job.votes.pop(index, None)
        spans.add(job.failed.setdefault(outcome.code, []) if outcome.code else job.done, index)
        if not outcome.code and past.number == 1:
            del job.past[index]
        else:
            past.word, past.checkpoint = Word.SAID, ""
        if outcome.result_file == result_path(attempt):
            spans.add(job.filed, index)
            outcome = msgspec.structs.replace(outcome, result_file="")
        if outcome.log_file == log_path(attempt):
            spans.add(job.logged, index)
            outcome = msgspec.structs.replace(outcome, log_file="")
        self._keep(job, index, outcome)

    def _keep(self, job: Job, index: int, outcome: Outcome) -> None:
        tail, why = outcome.tail, outcome.why
        if self.book.outcome_bytes > (OUTCOME_BYTES_MAX if outcome.code else TAIL_BYTES_EASY):
            tail = b""
        if self.book.outcome_bytes > OUTCOME_BYTES_MAX:
            why = ""
        if not (tail or why or outcome.result or outcome.result_file or outcome.log_file):
            return
        none = {"cpu_us": 0, "wall_us": 0, "memory_bytes": 0, "paid_uwos": 0, "made": None}
        plain = msgspec.structs.replace(outcome, tail=tail, why=why, **none)
        job.outcomes[index] = plain
        size = outcome_bytes(plain)
        job.outcome_bytes += size
        self.book.outcome_bytes += size

    def _charge(self, job: Job, outcome: Outcome) -> None:
        job.spent_uwos = min(SUM_MAX, job.spent_uwos + outcome.paid_uwos)
        job.cpu_us = min(SUM_MAX, job.cpu_us + outcome.cpu_us)
        job.wall_us = min(SUM_MAX, job.wall_us + outcome.wall_us)
        job.memory_bytes = max(job.memory_bytes, outcome.memory_bytes)
        is_ours = outcome.made is None or not outcome.made.owner
        self.book.learn(job, outcome.wall_us, outcome.memory_bytes if is_ours else 0)


def _no(why: str, hint: str = "") -> Refused:
    return Refused(why=why, hint=hint)


def _no_job(name: str) -> Refused:
    return _no(f"there is no job {name}", "see which there are with: wos jobs")


def _stale(attempt: Attempt) -> Refused:
    said = f"attempt {attempt.number} of task {attempt.job}.{attempt.index} does not count any more"
    return _no(said, "stop it, and drop what it made")
