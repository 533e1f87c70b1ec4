"""The checkers of work see bugs: each of these is planted in the real kernel, or in what stands around it, and is found."""

from __future__ import annotations

import pytest
from tests.sim.work_worlds import after, has_ended, said, site_of, submit, until

from worldos.kernel.effects import Persist
from worldos.kernel.line.job import Job
from worldos.kernel.line.line import Line
from worldos.kernel.queues.queue import OneQueue
from worldos.kernel.work.replica import Applied as Happened
from worldos.kernel.work.replica import Outcome as Happenings
from worldos.kernel.work.replica import Replica
from worldos.model.limits import SECOND
from worldos.model.work import Ack, Applied, Attempt, Message, Put, QueueMade, Take, WorkAnswer, WorkCommand
from worldos.sim.checkers import Violation
from worldos.sim.machine import Machine
from worldos.sim.runner import Runner
from worldos.sim.seats import Seats
from worldos.sim.work_checkers import WorkSafety
from worldos.sim.work_run import WorkSettings, run_work_seed
from worldos.sim.world import World

Patch = pytest.MonkeyPatch


def runs_at(safety: WorkSafety) -> list[Machine]:
    """Return where attempts run now."""
    return [lane.machine for names in safety.running.values() for lane in names.values()]


def cut_off_what_runs(world: World, safety: WorkSafety) -> None:
    """Cut off the machine that runs the one attempt there is, which does not lead, until another has been given it."""
    until(world, lambda: runs_at(safety))
    (machine,) = runs_at(safety)
    world.sessions.raise_wall([machine.number])
    after(world, 40 * SECOND)


def cut_and_heal(world: World, safety: WorkSafety) -> None:
    until(world, lambda: runs_at(safety))
    (machine,) = runs_at(safety)
    wall = world.sessions.raise_wall([machine.number])
    until(world, lambda: len(runs_at(safety)) == 2)
    until(world, lambda: len(runs_at(safety)) == 1)  # the old one has come to its end, and cannot say so
    world.sessions.take_down(wall)
    until(world, lambda: has_ended(safety))


def test_without_a_bug_a_task_of_a_machine_that_is_cut_off_stops_and_runs_elsewhere() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=30_000)
    cut_off_what_runs(world, safety)
    until(world, lambda: has_ended(safety))
    assert safety.history.outcomes == {("job-1", 0): (2, 0)}


def test_a_runner_that_goes_on_in_silence_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Runner, "_mind_silence", lambda _: None)
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=60_000)
    with pytest.raises(Violation, match=r"begins at n\d while there runs job-1.0.1"):
        cut_off_what_runs(world, safety)


def test_an_old_attempt_that_ends_its_task_is_seen(monkeypatch: Patch) -> None:
    def any_counts(self: Line, job: Job, attempt: Attempt) -> bool:
        return attempt.index in job.running

    monkeypatch.setattr(Line, "_counts", any_counts)
    monkeypatch.setattr(Runner, "_mind_silence", lambda _: None)
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=30_000, twice=True)
    with pytest.raises(Violation, match=r"job-1.0.1 ends its task, and only attempt 2 may"):
        cut_and_heal(world, safety)


def test_an_end_that_nobody_reached_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(WorkSafety, "ended", lambda *_, **__: None)  # so that no worker is seen to come to an end
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0])
    with pytest.raises(Violation, match=r"job-1.0.1 ended its task and never ran to an end"):
        until(world, lambda: has_ended(safety))


def test_a_message_that_is_handed_out_after_its_ack_is_seen(monkeypatch: Patch) -> None:
    def forgetful(self: OneQueue, said: Ack, wall_ms: int) -> WorkAnswer:
        return Applied()

    monkeypatch.setattr(OneQueue, "ack", forgetful)
    world, _ = site_of(1)
    message = Message(b"message1", b"body")
    home = world.machines[0]
    take = Take(queue="q", consumer="cons", request=1, visible_ms=500)
    said(world, home, QueueMade(queue="q"), Put(queue="q", messages=(message,)), take)
    said(world, home, Ack(queue="q", consumer="cons", ids=(message.id,)))
    after(world, SECOND)
    with pytest.raises(Violation, match="handed to other after its ack"):
        said(world, home, Take(queue="q", consumer="other", request=1))


def test_a_message_that_two_consumers_hold_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(
        OneQueue, "_hold", lambda self, entry, until_ms: self._back.append((entry.order, entry.message.id))
    )
    world, _ = site_of(1)
    home = world.machines[0]
    said(world, home, QueueMade(queue="q"), Put(queue="q", messages=(Message(b"message1", b"body"),)))
    said(world, home, Take(queue="q", consumer="cons", request=1))
    with pytest.raises(Violation, match="handed to other while cons holds it"):
        said(world, home, Take(queue="q", consumer="other", request=1))


def test_what_is_told_before_it_is_on_the_disk_is_seen(monkeypatch: Patch) -> None:
    honest = Seats.persist

    def hasty(self: Seats, effect: Persist) -> None:
        honest(self, effect)
        world, machine = self._world, self._machine
        if machine.work is not None and effect.realm == machine.work.realm:
            world.later(0, world.on, machine, machine.work.persisted, effect.number)

    monkeypatch.setattr(Seats, "persist", hasty)
    world, _ = site_of(1, 1, 1)
    with pytest.raises(Violation, match=r"and its disk does not|is not on its disk"):
        said(world, world.machines[0], QueueMade(queue="q"))


def test_an_answer_before_a_majority_has_it_is_seen(monkeypatch: Patch) -> None:
    honest = Replica.propose

    def hasty(self: Replica, now_ns: int, command: WorkCommand) -> tuple[int, Happenings]:
        index, outcome = honest(self, now_ns, command)
        if index:
            outcome.happenings.append(Happened(index, tuple(Applied() for _ in command.said)))
        return index, outcome

    monkeypatch.setattr(Replica, "propose", hasty)
    assert "the log does not have it" in run_work_seed(0, WorkSettings(nodes=3, seconds=4)).failure


def test_a_replica_that_goes_its_own_way_is_seen() -> None:
    world, _ = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=20_000)
    work = world.machines[1].work
    assert work is not None
    assert work.table.replica is not None
    work.table.replica.work.line.book.jobs.clear()
    with pytest.raises(Violation, match="holds another state than the log says"):
        after(world, 10 * SECOND)
