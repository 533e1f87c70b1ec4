"""What must hold of a site's work after every step, whatever happened: seen from outside, in all replicas and runners at once.

- What Raft promises (realm_checkers.py) holds of the log of the work as of the councils'; what it says is judged word by word
  (work_history.py).
- Replicas that have applied as much hold the same bytes, and so does a state made from the log alone.
- Nobody is told that something was done which the log does not have: a job, a message, an ack, the end of a task.
- Where clocks are true and nobody sleeps, no two attempts of a task run at one time, unless the job says that they may; or two,
  of different owners, where the line has begun the second beside the first.
- No table is woken again and again while time stands still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worldos.kernel.work.asks import Drop, Out, Say
from worldos.model.limits import SECOND
from worldos.model.realm import RaftSaid
from worldos.model.work import Finished, WorkAnswer
from worldos.model.work_wire import WorkRaft
from worldos.sim.attempt import name_of
from worldos.sim.checkers import Violation
from worldos.sim.lanes import Lane
from worldos.sim.machine import Machine
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.runner import Word
from worldos.sim.work_history import History, taken_in

if TYPE_CHECKING:
    from worldos.sim.world import World

COMPARE_NS: Final = 2 * SECOND
STEPS_MAX: Final = 5_000  # of all tables, in one moment


class WorkSafety:
    """The checks of the work. ``strict``: no two attempts of a task may run at one time."""

    def __init__(self, world: World, realms: RealmSafety, *, strict: bool) -> None:
        self.world = world
        self.strict = strict
        self.ran: set[str] = set()  # attempts that came to their own end at a worker
        self.running: dict[str, dict[str, Lane]] = {}  # by task: the attempts that run now, and where
        self.history = History(self.ran)
        self.checks = 0
        self.runs = 0
        self._realms = realms
        self._compare_ns = 0
        self._moment_ns = 0
        self._steps = 0
        world.work_watchers.append(self)
        world.lanes.ears.append(self)

    def worked(self, machine: Machine, out: list[Out]) -> None:
        """Look at the machine whose table took something in."""
        self._steps += 1
        if self.world.now_ns != self._moment_ns:
            self._moment_ns, self._steps = self.world.now_ns, 0
        elif self._steps > STEPS_MAX:
            raise Violation(f"the work of {machine.name} spins")
        door = machine.work
        assert door is not None
        for each in out:
            if isinstance(each, Say) and isinstance(each.message, WorkRaft):
                said = RaftSaid(realm=door.realm, message=each.message.message)
                self._realms.raft_said(machine, each.node, said)
            elif isinstance(each, Drop):
                self._realms.forget(machine, door.realm)
        replica = door.table.replica
        if replica is not None:
            self._realms.look_at(machine, door.realm, replica.raft)
            self.history.follow(replica)
        if self.world.now_ns >= self._compare_ns:
            self._compare_ns = self.world.now_ns + COMPARE_NS
            self.compare()

    def compare(self) -> None:
        """Compare the state of all replicas that know as much as the history does."""
        self.checks += 1
        mine = self.history.work.snapshot()
        for machine in self.world.machines:
            replica = machine.work.table.replica if machine.up and machine.work is not None else None
            if replica is None or replica.raft.log.committed != self.history.index:
                continue
            if replica.broken:
                raise Violation(f"{machine.name} cannot read its state: {replica.broken}")
            if replica.work.snapshot() != mine:
                raise Violation(f"{machine.name} holds another state than the log says")
        for job in self.history.work.line.book.jobs.values():
            if not job.is_sound():
                raise Violation(f"a task of job {job.id} is in two sets, or in none")

    # -- runners and workers -----------------------------------------------------------------------------------------------

    def answered(self, word: Word, answer: WorkAnswer) -> None:
        """The line answered a runner: what it took in must be in the log."""
        if isinstance(word, Finished) and taken_in(answer):
            attempt = word.attempt
            job = self.history.job(attempt.job)
            if job is not None and job.number(attempt.index) < attempt.number:
                raise Violation(f"the end of {name_of(attempt)} was taken in, and the log does not have it")

    def began(self, name: str, lane: Lane) -> None:
        """A call began to run at a lane."""
        task, _, number = name.rpartition(".")
        if not number:
            return  # a call of a program
        self.runs += 1
        others = self.running.setdefault(task, {})
        job = self.history.job(task.rpartition(".")[0])
        if others and self.strict and job is not None and not job.spec.twice and not self._beside(name, lane, others):
            where = ", ".join(f"{other} at {at.machine.name}" for other, at in others.items())
            raise Violation(f"{name} begins at {lane.machine.name} while there runs {where}")
        others[name] = lane

    def _beside(self, name: str, lane: Lane, others: dict[str, Lane]) -> bool:
        """Tell whether the line has said that these two shall run side by side."""
        ((other, at),) = list(others.items())[:1]
        pair = {int(each.rpartition(".")[2]) for each in (name, other)}
        task = name.rpartition(".")[0]
        return (
            len(others) == 1
            and lane.machine.owner != at.machine.owner
            and max(pair) in self.history.copies.get(task, ())
            and min(pair) >= self.history.copies[task][max(pair)]
        )

    def ended(self, name: str, lane: Lane, *, whole: bool) -> None:
        """It runs no more."""
        del lane
        task = name.rpartition(".")[0]
        self.running.get(task, {}).pop(name, None)
        if whole:
            self.ran.add(name)

    def check_still(self) -> None:
        """At the end: nothing runs any more."""
        left = [name for names in self.running.values() for name in names]
        if left:
            raise Violation(f"{left[:3]} run on though all jobs have ended")
