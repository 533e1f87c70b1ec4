"""Dispatch: who leads the work brings its tasks to nodes, and sees to it that what was given is held.

The plan (kernel/line/plan.py) says which waiting task goes where; it is proposed, and once it stands the node is told. A node's
runner says every other second which attempts it has: what it lacks is given again, what it has in vain it is told to stop, and
what it had and has no more is lost. All of this is soft: another leader begins with none of it and comes to the same.

Times in ns of the leader's own clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from worldos.kernel.line.job import Job, Running
from worldos.kernel.line.plan import plan
from worldos.kernel.line.scene import QUIET_MS, Scene
from worldos.kernel.line.votes import apart
from worldos.kernel.work.limits import (
    COMPARE_NS,
    GIVE_AGAIN_NS,
    NOT_BEGUN_NS,
    NOT_HELD_AFAR_NS,
    NOT_HELD_NS,
    PLAN_IDLE_NS,
    PLAN_JOB_NS,
    PLAN_NS,
    TIME_IDLE_NS,
    TIME_NS,
)
from worldos.kernel.work.site import Site
from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.limits import MS, NEVER_NS
from worldos.model.raft import NOBODY
from worldos.model.work import BATCH_MAX, Attempt, JobId, LineCommand, Lost, WorkAnswer
from worldos.model.work import Applied as AppliedAnswer
from worldos.model.work_wire import GIVEN_MAX, HELD_MAX, HeldAsk, Task, TasksGiven, TasksHeld, TasksStop

GONE = "the runner of its node does not have it any more"
NEVER_BEGUN = "the runner of its node did not take it"
IN_VAIN = "nobody waits for it any more"


class Said(msgspec.Struct, frozen=True):
    """What a node is to be told."""

    node: NodeId
    message: TasksGiven | TasksStop | HeldAsk


class Dispatch(msgspec.Struct, kw_only=True):
    """What this leader knows of runners. Nothing is due before ``due_ns``.

    ``holds``, ``leased``: what each said last, at ``heard_ns``. ``told_ns``: when an attempt was given last, ``seen_ns``: when it
    was first looked for, was seen to have ``begun``, or last held. ``fresh``: this node itself, while its runner was given
    nothing in this life: what it began in an earlier one is gone. ``scene``: what the last plan was made of; ``pace_ns``: how
    long until the next: a long line that found nothing to do is not gone through at each change.
    """

    holds: dict[NodeId, frozenset[Attempt]] = {}
    leased: dict[NodeId, dict[str, int]] = {}
    heard_ns: dict[NodeId, int] = {}
    told_ns: dict[Attempt, int] = {}
    seen_ns: dict[Attempt, int] = {}
    begun: dict[Attempt, None] = {}
    fresh: NodeId = NOBODY
    stopped_ns: dict[Attempt, int] = {}
    asked_ns: dict[NodeId, int] = {}
    planned_ns: int = -NEVER_NS
    pace_ns: int = PLAN_NS
    compared_ns: int = -NEVER_NS
    timed_ns: int = 0
    scene: Scene | None = None
    due_ns: int = 0

    def soon(self, now_ns: int) -> None:
        """Something changed: look soon what follows."""
        self.due_ns = min(self.due_ns, max(now_ns, self.planned_ns + self.pace_ns))

    def held(self, now_ns: int, node: NodeId, message: TasksHeld) -> None:
        """A runner says what it has."""
        self.holds[node] = frozenset(message.attempts)
        self.leased[node] = message.leased
        self.heard_ns[node] = now_ns
        self.soon(now_ns)

    def turn(self, now_ns: int, wall_ms: int, work: Work, site: Site) -> tuple[list[LineCommand], list[Said]]:
        """Do what is due: return what is to be proposed, and who is to be told what."""
        said: list[Said] = []
        lost: list[Lost] = []
        next_ns = self.compared_ns + COMPARE_NS
        if now_ns >= next_ns:
            alive = site.alive()
            self.holds = {node: held for node, held in self.holds.items() if node in alive}
            said, lost = self._reconcile(now_ns, work), self._lost(now_ns, work)
            self.compared_ns, next_ns = now_ns, now_ns + PLAN_IDLE_NS
        self.planned_ns = now_ns
        open_jobs = len(work.line.book.jobs) > len(work.line.book.ended)
        self.due_ns = next_ns if open_jobs or any(self.holds.values()) else NEVER_NS
        commands: list[LineCommand] = [*lost]
        if open_jobs:
            self.scene = self._scene(now_ns, wall_ms, work, site)
            steps = plan(work.line, self.scene)
            commands += steps
            waiting = len(work.line.book.jobs) - len(work.line.book.ended)
            self.pace_ns = PLAN_NS if steps else min(PLAN_IDLE_NS, PLAN_NS + waiting * PLAN_JOB_NS)
        return commands[:BATCH_MAX], said

    def lets_time_pass(self, now_ns: int, work: Work) -> bool:
        """Tell whether the line must be told the time now: each second while something waits, else each half minute."""
        book = work.line.book
        period_ns = TIME_NS if next(book.ready(), None) is not None else TIME_IDLE_NS
        if len(book.jobs) == len(book.ended) or now_ns - self.timed_ns < period_ns:
            return False
        self.timed_ns = now_ns
        return True

    def assigned(self, now_ns: int, work: Work, answers: tuple[WorkAnswer, ...]) -> list[Said]:
        """What was planned stands: tell the nodes."""
        fresh: dict[tuple[NodeId, str], list[Attempt]] = {}
        for answer in answers:
            for attempt in answer.attempts if isinstance(answer, AppliedAnswer) else ():
                run = work.line.run_of(attempt)
                if run is not None:
                    self.told_ns[attempt] = self.seen_ns[attempt] = now_ns
                    self.fresh = NOBODY if run.node == self.fresh else self.fresh
                    fresh.setdefault((run.node, attempt.job), []).append(attempt)
        return [said for (node, _), attempts in fresh.items() for said in _given(work, node, attempts)]

    # -- what is given, and what is held ---------------------------------------------------------------------------------------

    def _reconcile(self, now_ns: int, work: Work) -> list[Said]:
        said: list[Said] = []
        again: dict[tuple[NodeId, str], list[Attempt]] = {}
        running: set[Attempt] = set()
        nodes: set[NodeId] = set()
        for job, attempt, run in _running(work):
            running.add(attempt)
            nodes.add(run.node)
            if run.begun_ms and attempt not in self.begun:  # what its node said before it began may come only now
                self.begun[attempt] = None
                self.seen_ns[attempt] = now_ns
            self.seen_ns.setdefault(attempt, now_ns)
            if attempt in self.holds.get(run.node, ()):
                self.seen_ns[attempt] = max(self.seen_ns[attempt], self.heard_ns[run.node])
                if run.asked and self._may_stop(now_ns, attempt):
                    said.append(Said(run.node, TasksStop(attempts=(attempt,), why=run.asked, preempt=True)))
            elif not run.begun_ms and now_ns - self.told_ns.get(attempt, self.seen_ns[attempt]) >= GIVE_AGAIN_NS:
                self.told_ns[attempt] = now_ns
                self.fresh = NOBODY if run.node == self.fresh else self.fresh
                again.setdefault((run.node, job.id), []).append(attempt)
        for (node, _), attempts in again.items():
            said += _given(work, node, attempts)
        for node, held in self.holds.items():
            vain = [a for a in _in_order(held) if a not in running and self._may_stop(now_ns, a)]
            if vain:
                said.append(Said(node, TasksStop(attempts=tuple(vain[:HELD_MAX]), why=IN_VAIN)))
        said += self._ask_silent(now_ns, nodes)
        self._clean(running)
        return said

    def _ask_silent(self, now_ns: int, nodes: set[NodeId]) -> list[Said]:
        """Ask those that have something and say nothing: one whose runner ended may not know that it should speak."""
        silent = []
        for node in sorted(nodes):
            last_ns = max(self.heard_ns.get(node, -NEVER_NS), self.asked_ns.get(node, -NEVER_NS))
            if now_ns - last_ns >= GIVE_AGAIN_NS:
                self.asked_ns[node] = now_ns
                silent.append(Said(node, HeldAsk()))
        return silent

    def _may_stop(self, now_ns: int, attempt: Attempt) -> bool:
        """Tell whether a runner is to be told (again) to stop an attempt."""
        if now_ns - self.stopped_ns.get(attempt, -NEVER_NS) < GIVE_AGAIN_NS:
            return False
        self.stopped_ns[attempt] = now_ns
        return True

    def _lost(self, now_ns: int, work: Work) -> list[Lost]:
        """Return the attempts that their nodes, which are heard, do not have."""
        lost = []
        for job, attempt, run in _running(work):
            heard_ns = self.heard_ns.get(run.node, -NEVER_NS)
            afar = run.at != run.node and not job.spec.twice  # its lease there may outlive its runner for a while
            begun_ns = NOT_HELD_AFAR_NS if afar else NOT_HELD_NS
            patience_ns = begun_ns if run.begun_ms else NOT_BEGUN_NS
            since_ns = self.seen_ns.get(attempt, now_ns)
            if run.node == self.fresh and run.begun_ms and not afar and heard_ns > since_ns:
                lost.append(Lost(attempt=attempt, why=GONE))
            elif now_ns - since_ns >= patience_ns and heard_ns > since_ns and now_ns - heard_ns < patience_ns:
                lost.append(Lost(attempt=attempt, why=GONE if run.begun_ms else NEVER_BEGUN))
        return lost[: BATCH_MAX // 2]

    def _scene(self, now_ns: int, wall_ms: int, work: Work, site: Site) -> Scene:
        silent_ms: dict[NodeId, int] = {}
        near = {node for node, heard_ns in self.heard_ns.items() if now_ns - heard_ns < QUIET_MS * MS}
        for job in work.line.book.busy.values():
            for index, run in job.runs():
                if run.node in near:
                    continue  # nothing there is lost yet, and there may be thousands
                attempt = Attempt(job.id, index, run.number)
                since_ns = max(self.heard_ns.get(run.node, -NEVER_NS), self.seen_ns.get(attempt, now_ns))
                silent_ms[run.node] = max(silent_ms.get(run.node, 0), (now_ns - since_ns) // MS)
        return Scene(
            offers=site.offers(),
            view=site.view(now_ns),
            wall_ms=wall_ms,
            runners=frozenset(site.alive()),
            leased=self.leased,
            silent_ms=silent_ms,
            elsewhere=site.looks_further(),
        )

    def _clean(self, running: set[Attempt]) -> None:
        """Forget attempts that are over."""
        tables: tuple[dict[Attempt, Any], ...] = (self.told_ns, self.seen_ns, self.begun)
        for table in tables:
            for attempt in [attempt for attempt in table if attempt not in running]:
                del table[attempt]
        held = set().union(*self.holds.values())
        for attempt in [attempt for attempt in self.stopped_ns if attempt not in held]:
            del self.stopped_ns[attempt]


def _running(work: Work) -> Iterator[tuple[Job, Attempt, Running]]:
    for job in work.line.book.busy.values():
        for index, run in job.runs():
            yield job, Attempt(job.id, index, run.number), run


def _in_order(attempts: frozenset[Attempt]) -> list[Attempt]:
    return sorted(attempts, key=lambda attempt: (attempt.job, attempt.index, attempt.number))


def _given(work: Work, node: NodeId, attempts: list[Attempt]) -> Iterator[Said]:
    """Give the words that bring attempts of one job to a node."""
    job = work.line.book.jobs[JobId(attempts[0].job)]
    for at in range(0, len(attempts), GIVEN_MAX):
        tasks = []
        for attempt in attempts[at : at + GIVEN_MAX]:
            past = job.past.get(attempt.index)
            checkpoint = past.checkpoint if past is not None else ""
            tasks.append(Task(attempt.index, attempt.number, checkpoint))
        others = {
            task.index: apart(job, task.index, task.number)
            for task in tasks
            if task.index in job.votes or task.index in job.beside
        }
        yield Said(node, TasksGiven(job=job.id, spec=job.spec, tasks=tuple(tasks), apart=others))
