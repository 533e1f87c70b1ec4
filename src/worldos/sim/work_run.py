"""One run with work: a site of a few machines that keeps a line and queues, under faults; then what must come about in time.

1. Faults: programs submit, cancel and retry jobs, put and take messages, while machines, runners, links, disks and clocks fail.
   The checkers look after every step.
2. Healing: no new program, no fault. Within ``END_NS`` every job that was acknowledged has ended, and all that was put is done
   with by somebody, or a dead letter.
3. Rest: no lease is left, nothing runs, and all replicas are the same.

In three of eight seeds most faults are of machines that leave, come anew or lose what they wrote; in two some machines are of
other accounts, so that tasks are done by two or three. In every other seed clocks are true and nobody sleeps: there no two
attempts of a task may run at one time, unless the job says that this does no harm, or the line has begun one beside the other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.limits import MS, SECOND
from worldos.sim.checkers import Safety, Violation, check_empty
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.run import Outcome, failure_of, story
from worldos.sim.work_checkers import WorkSafety
from worldos.sim.work_faults import WorkFaults
from worldos.sim.work_programs import QUEUES, WorkLoad
from worldos.sim.world import World

SETTLE_NS: Final = 9 * SECOND  # by then three of them sit in the council ...
YOUNG_NS: Final = 3 * SECOND  # ... and here one alone, or two
END_NS: Final = 240 * SECOND
REST_NS: Final = 15 * SECOND  # as in run.py, and an idle lease before that
CHURNED: Final = (3, 6, 7)  # of eight seeds
STRANGE: Final = (1, 2)  # ... and in these every other machine is of another account
LOOK_NS: Final = 500 * MS


class WorkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run: all but the seed."""

    nodes: int = 0  # 0: three to five, by seed
    seconds: int = 25


class WorkOutcome(Outcome, frozen=True, kw_only=True):
    """What came out of one seed; how long (ms) until everything had ended after the last fault."""

    jobs: int = 0
    attempts: int = 0
    messages: int = 0
    ended_ms: int = 0


class WorkRun:
    """One seed, run."""

    def __init__(self, seed: int, settings: WorkSettings) -> None:
        self.settings = settings
        self.calm = seed % 2 == 0
        nodes = settings.nodes or 3 + seed % 3
        self.world = World(seed, nodes, drift=not self.calm, in_bytes=seed % 8 == 1, with_realms=True, with_work=True)
        for machine in self.world.machines[1::2] if seed % 8 in STRANGE else ():
            machine.owner = f"owner-{machine.number}"
        self.safety = Safety(self.world)
        self.realms = RealmSafety(self.world)
        self.world.watchers += [self.safety, self.realms]
        self.work = WorkSafety(self.world, self.realms, strict=self.calm)
        self.load: WorkLoad | None = None
        self.ended_ms = -1

    def run(self) -> None:
        """Run all phases; Violation says what did not hold."""
        world = self.world
        world.run_until(world.now_ns + (YOUNG_NS if world.seed % 8 < 2 else SETTLE_NS))
        self.load = load = WorkLoad(world, self.work)
        load.begin()
        faults = WorkFaults(world, calm=self.calm, churn=world.seed % 8 in CHURNED)
        world.run_until(world.now_ns + self.settings.seconds * SECOND)
        load.stop()
        faults.stop()
        self._until_ended(load)
        world.run_until(world.now_ns + REST_NS)
        self.safety.look_at_all()
        self.work.compare()
        self.work.check_still()
        check_empty(world)

    def _until_ended(self, load: WorkLoad) -> None:
        world = self.world
        began_ns = world.now_ns
        while why := self.why_not_ended(load):
            if world.now_ns - began_ns > END_NS:
                raise Violation(f"{END_NS // SECOND} s after the last fault, {why}")
            world.run_until(world.now_ns + LOOK_NS)
        self.ended_ms = (world.now_ns - began_ns) // MS

    def why_not_ended(self, load: WorkLoad) -> str:
        """Return what is not done yet of all that was acknowledged, or nothing."""
        history = self.work.history
        book = history.work.line.book
        for job in sorted(load.jobs):
            if history.job(job) is None and job not in book.forgotten:
                raise Violation(f"job {job} was acknowledged, and is lost")
        left = [job for job in book.jobs.values() if not job.ended]
        if left:
            return f"{len(left)} jobs have not ended, among them {left[0].id}: {left[0]}"
        for made in QUEUES:
            view = history.work.queues.view(made.queue)
            if view is None:
                return f"there is no queue {made.queue}"
            if view.waiting or view.held:
                return f"{view.waiting} messages wait in queue {made.queue}, {view.held} are held"
            for name in sorted(load.put[made.queue]):
                if not load.has(made.queue, name):
                    raise Violation(f"message {name.hex()} was acknowledged, and is lost")
        return ""


def run_work_seed(seed: int, settings: WorkSettings) -> WorkOutcome:
    """Run one seed to its end, or to the first thing that does not hold."""
    run = WorkRun(seed, settings)
    failure = failure_of(run.run)
    world, load = run.world, run.load
    return WorkOutcome(
        seed=seed,
        steps=world.steps,
        programs=load.said if load else 0,
        granted=run.work.runs,
        failure=failure,
        trace=() if not failure else story(world),
        jobs=len(load.jobs) if load else 0,
        attempts=run.work.runs,
        messages=sum(map(len, load.put.values())) if load else 0,
        ended_ms=run.ended_ms,
    )
