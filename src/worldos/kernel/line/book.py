"""The book of the line: its jobs, who waits for whom, who is ready, and what they take up; the life of a job as a whole.

Invariant: what is not in a snapshot (sums, who waits for whom, who is ready, what is due) is a function of the jobs, and is made
again from them. A job waits only for jobs that were there before it, so no circle can close. Ended jobs are forgotten, oldest
first, beyond a bound and after a week.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

import msgspec

from worldos.kernel.line import spans
from worldos.kernel.line.job import Job, Past, Running, Word, array_of, outcome_bytes
from worldos.kernel.work.limits import (
    ENDED_BYTES_MAX,
    ENDED_MAX,
    ENDED_MS,
    FORGOTTEN_MAX,
    LEARNED_BYTES_MIN,
    LEARNED_FALL,
    STOPS_MS,
    STOPS_NEAR_MS,
    WORKED_MAX,
    WORKED_TASKS,
    WORKED_US_MAX,
)
from worldos.model.resource import Kind
from worldos.model.work import JobId

_DUE_SPARE: Final = 1024
_encode = msgspec.msgpack.Encoder().encode


class Worked(NamedTuple):
    """So many tasks of a command took so long, of late; ``memory_bytes``: the most that one took: quickly up, slowly down."""

    tasks: int
    wall_us: int
    memory_bytes: int = 0


class Book:
    """All jobs, in the order in which they came. ``orders`` counts what happened once: a job came, a job ended."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        self.orders = 0
        self.forgotten: dict[JobId, None] = {}
        self.worked: dict[int, Worked] = {}  # by kind of command
        self.ended: dict[JobId, None] = {}
        self.busy: dict[JobId, Job] = {}  # those of which something runs
        self.wall_ms = 0
        self.running = 0
        self.tasks = 0
        self.spec_bytes = 0
        self.outcome_bytes = 0
        self.story_bytes = 0
        self.ended_bytes = 0
        self._needs: dict[JobId, bytes] = {}
        self._after: dict[JobId, dict[JobId, None]] = {}
        self._due: list[tuple[int, int, JobId]] = []
        self._ready: dict[tuple[int, int], dict[JobId, Job]] = {}
        self._keys: list[tuple[int, int]] = []

    def tick(self, wall_ms: int) -> None:
        """Let time pass: what was not begun by its deadline is dropped, what ended long ago is forgotten."""
        self.wall_ms = wall_ms
        while self._due and self._due[0][0] <= wall_ms:
            due_ms, _, name = heappop(self._due)
            job = self.jobs.get(name)
            if job is not None and not job.ended and job.deadline_ms == due_ms:
                job.late = True
                self._drop_waiting(job, "its deadline passed before it could begin")
                self.settle(job)
        self._forget_old()

    def ready(self) -> Iterator[Job]:
        """Give the jobs whose tasks can be begun: by priority, then by how soon they must begin, then as they came."""
        for key in self._keys:
            yield from (job for job in self._ready[key].values() if job.waiting)

    def need_of(self, job: Job) -> bytes:
        """Return what an open job needs, as bytes to compare: each plan asks, so they are kept."""
        need = self._needs.get(job.id)
        if need is None:
            need = self._needs[job.id] = _encode(job.spec.need)
        return need

    def weigh(self, job: Job) -> None:
        """Take in that the sets of a job have changed."""
        before, job.story_bytes = job.story_bytes, job.weigh()
        self.story_bytes += job.story_bytes - before
        if job.ended:
            self.ended_bytes += job.story_bytes - before

    def learn(self, job: Job, wall_us: int, memory_bytes: int = 0) -> None:
        """Take in how long a task took, and how much memory (0: nobody knows); what is old weighs less and less."""
        tasks, sum_us, most = self.worked.pop(job.kind, Worked(0, 0))
        if tasks >= WORKED_TASKS:
            tasks, sum_us = tasks // 2, sum_us // 2
        if memory_bytes:
            most = max(memory_bytes, most - max(0, most - memory_bytes) // LEARNED_FALL)
        self.worked[job.kind] = Worked(tasks + 1, sum_us + min(wall_us, WORKED_US_MAX), most)
        if len(self.worked) > WORKED_MAX:
            del self.worked[next(iter(self.worked))]

    def known_us(self, kind: int) -> int:
        """Return how long tasks of such a command took of late; 0: nobody knows."""
        worked = self.worked.get(kind)
        return max(1, worked.wall_us // worked.tasks) if worked else 0

    def learned_bytes(self, job: Job) -> int:
        """Return how much memory a task of a job is taken to need, as earlier ones of its command did; 0: it is not placed by it.

        A job that says itself how much leases that, and is held to it.
        """
        worked = self.worked.get(job.kind)
        if worked is None or worked.memory_bytes < LEARNED_BYTES_MIN:
            return 0
        return 0 if job.spec.need.memory_bytes or job.spec.need.kind == Kind.MEMORY else worked.memory_bytes

    def begin(self, job: Job, index: int, run: Running) -> None:
        """Let a task run; where it does already, beside that."""
        before = job.running.get(index)
        if before is not None:
            job.beside[index] = before
        job.running[index] = run
        self.running += 1
        self.busy[job.id] = job

    def cease(self, job: Job, index: int, number: int) -> bool:
        """Let an attempt run no more; False if it did not. Of two side by side the other goes on, from now on alone."""
        other = job.beside.pop(index, None)
        if other is not None:
            if other.number != number:
                other.alone = True
                job.running[index] = other
        elif job.running.pop(index, None) is None:
            return False
        self.running -= 1
        if not job.running:
            del self.busy[job.id]
        return True

    # -- one job -------------------------------------------------------------------------------------------------------------

    def take_in(self, job: Job) -> None:
        """Take a job into all that is not in a snapshot."""
        self.spec_bytes += job.spec_bytes
        self.outcome_bytes += job.outcome_bytes
        job.story_bytes = job.weigh()
        self.story_bytes += job.story_bytes
        for name in job.blocked:
            self._after.setdefault(name, {})[job.id] = None
        if job.ended:
            self.ended_bytes += _bytes_of(job)
        else:
            self._open(job)

    def _open(self, job: Job) -> None:
        self.tasks += _tasks(job)
        self.running += job.at_once
        if job.running:
            self.busy[job.id] = job
        if job.deadline_ms and not job.late:
            heappush(self._due, (job.deadline_ms, job.order, job.id))
        if len(self._due) > 2 * len(self.jobs) + _DUE_SPARE:
            awaited = [job for job in self.jobs.values() if job.deadline_ms and not job.late and not job.ended]
            self._due = sorted((job.deadline_ms, job.order, job.id) for job in awaited)
        if not job.blocked:
            self._enter(job)

    def _enter(self, job: Job) -> None:
        key = job.key
        bucket = self._ready.get(key)
        if bucket is None:
            bucket = self._ready[key] = {}
            insort(self._keys, key)
        bucket[job.id] = job

    def _leave(self, job: Job) -> None:
        bucket = self._ready.get(job.key)
        if bucket is not None and bucket.pop(job.id, None) is not None and not bucket:
            del self._ready[job.key]
            self._keys.remove(job.key)

    def is_well(self, name: JobId) -> bool:
        """Tell whether a job has ended, and every task of it well."""
        job = self.jobs.get(name)
        return job is not None and bool(job.ended) and not job.failed and not job.dropped

    def broken(self, job: Job) -> Job | None:
        """Return one that it waits for and that has ended, but not well."""
        found = (self.jobs[name] for name in job.blocked)
        return next((other for other in found if other.ended), None)

    def _drop_waiting(self, job: Job, why: str) -> None:
        job.why = job.why or why
        spans.merge(job.dropped, job.waiting)
        job.waiting.clear()
        job.votes = {index: votes for index, votes in job.votes.items() if index in job.running}
        self.weigh(job)

    def drop_all(self, job: Job, why: str) -> None:
        """Drop every task of a job that has not ended; say ``settle`` afterwards."""
        self._drop_waiting(job, why)
        for index, run in sorted(job.running.items()):
            spans.add(job.dropped, index)
            past = job.past.setdefault(index, Past(run.number))
            past.number, past.word = max(past.number, run.number), Word.UNWANTED
        self.running -= job.at_once
        job.running.clear()
        job.beside.clear()
        job.votes = {}
        self.busy.pop(job.id, None)
        self.weigh(job)

    def drop_for(self, job: Job, broken: Job) -> None:
        """Drop a job because one that it waits for did not end well."""
        job.cause = broken.id
        how = "failed" if broken.failed else "was dropped"
        self.drop_all(job, f"job {broken.id}, which it waits for, {how}")

    def settle(self, first: Job) -> None:
        """Let a job end that has nothing more to do, and with it all that waits for it, in vain or no more."""
        over = [first]
        while over:
            job = over.pop()
            if job.ended or job.waiting or job.running:
                continue
            self._end(job)
            for name in self._after.get(job.id, ()):
                other = self.jobs[name]
                if other.ended:
                    continue
                if job.failed or job.dropped:
                    self.drop_for(other, job)
                    over.append(other)
                else:
                    other.blocked.remove(job.id)
                    if not other.blocked:
                        self._enter(other)
            if not job.failed and not job.dropped:
                self._after.pop(job.id, None)

    def _end(self, job: Job) -> None:
        self._leave(job)
        self._needs.pop(job.id, None)
        self.orders += 1
        job.ended, job.ended_ms = self.orders, self.wall_ms
        self.tasks -= _tasks(job)
        self.ended[job.id] = None
        self.ended_bytes += _bytes_of(job)

    def reopen(self, first: Job) -> None:
        """Let what failed or was dropped wait again, also in the jobs that were dropped because of it."""
        again = [first]
        while again:
            job = again.pop()
            self._leave(job)
            if job.ended:
                del self.ended[job.id]
                self.ended_bytes -= _bytes_of(job)
            else:
                self.tasks -= _tasks(job)
                self.running -= job.at_once
            rest_ms = job.ended_ms + self._stopping_ms(job)
            job.ended = job.ended_ms = 0
            self._wipe(job)
            if rest_ms > self.wall_ms:
                job.rest_ms, job.lost_why = rest_ms, "dropped while it ran, it may not have stopped yet"
            self.weigh(job)
            job.blocked = [name for name in job.blocked if not self.is_well(name)]
            self._open(job)
            waiting = (self.jobs[name] for name in self._after.get(job.id, ()))
            again += (other for other in waiting if other.ended and other.cause == job.id and self._is_whole(other))

    def _stopping_ms(self, job: Job) -> int:
        """Return how long attempts that were dropped may run on, that must not run beside their successors."""
        runs_on = any(past.word is Word.UNWANTED and spans.has(job.dropped, index) for index, past in job.past.items())
        return max(STOPS_MS, job.spec.grace_s * 1000 + STOPS_NEAR_MS) if runs_on and not job.spec.twice else 0

    def _is_whole(self, job: Job) -> bool:
        return all(name in self.jobs for name in job.blocked)

    def _wipe(self, job: Job) -> None:
        """Forget how the tasks ended that did not end well, and let them wait."""
        for edges in (*job.failed.values(), job.dropped):
            for index in [index for index in job.outcomes if spans.has(edges, index)]:
                size = outcome_bytes(job.outcomes.pop(index))
                job.outcome_bytes -= size
                self.outcome_bytes -= size
            for index in [index for index in job.past if spans.has(edges, index)]:
                past = job.past[index]
                past.failures = past.losses = past.ended_by = 0
                past.word = Word.UNWANTED if past.word is Word.AWAITED else past.word
            spans.subtract(job.filed, edges)
            spans.subtract(job.logged, edges)
            for agreed in job.agreed.values():
                spans.subtract(agreed, edges)
            spans.merge(job.waiting, edges)
        job.failed, job.dropped = {}, []
        job.why, job.cause = "", JobId("")
        job.strikes = job.rest_ms = 0
        job.late = False
        if job.deadline_ms <= self.wall_ms:
            job.deadline_ms = 0

    # -- forgetting ----------------------------------------------------------------------------------------------------------

    def _forget_old(self) -> None:
        while self.ended:
            job = self.jobs[next(iter(self.ended))]
            many = len(self.ended) > ENDED_MAX or self.ended_bytes > ENDED_BYTES_MAX
            if not many and job.ended_ms + ENDED_MS > self.wall_ms:
                return
            self.forget(job)

    def forget(self, job: Job) -> None:
        """Drop all that is known of a job that has ended, but its id."""
        del self.jobs[job.id], self.ended[job.id]
        self.spec_bytes -= job.spec_bytes
        self.outcome_bytes -= job.outcome_bytes
        self.story_bytes -= job.story_bytes
        self.ended_bytes -= _bytes_of(job)
        self._after.pop(job.id, None)
        for name in job.blocked:
            self._after.get(name, {}).pop(job.id, None)
        self.forgotten[job.id] = None
        if len(self.forgotten) > FORGOTTEN_MAX:
            del self.forgotten[next(iter(self.forgotten))]


def _bytes_of(job: Job) -> int:
    return job.spec_bytes + job.outcome_bytes + job.story_bytes


def _tasks(job: Job) -> int:
    return spans.count(array_of(job.spec) or [])
