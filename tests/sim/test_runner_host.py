"""The host of a simulated runner: one is started for the first task, and again when it was killed; meanwhile it speaks for it."""

from __future__ import annotations

from tests.sim.work_worlds import after, has_ended, site_of, submit, until

from worldos.kernel.line.job import Running
from worldos.model.limits import SECOND
from worldos.model.work import Attempt
from worldos.model.work_wire import TasksStop
from worldos.sim.work_checkers import WorkSafety


def test_no_runner_without_a_task_and_one_with_the_first() -> None:
    world, safety = site_of(1)
    work = world.machines[0].work
    assert work is not None
    assert work.host.runner is None
    submit(world, world.machines[0])
    until(world, lambda: has_ended(safety))
    assert work.host.runner is not None


def test_a_runner_that_is_killed_loses_what_it_had_and_another_gets_it() -> None:
    world, safety = site_of(2)
    submit(world, world.machines[0], tasks=2, ms=3_000)
    until(world, lambda: sum(map(len, safety.running.values())) == 2)
    after(world, SECOND)  # the line knows it
    work = world.machines[0].work
    assert work is not None
    work.host.kill()
    after(world, SECOND // 2)
    assert not sum(map(len, safety.running.values())), "its leases ended with it"
    until(world, lambda: has_ended(safety))
    assert set(safety.history.outcomes.values()) == {(2, 0)}


def test_until_a_runner_listens_the_host_says_what_waits_and_forgets_what_is_stopped() -> None:
    world, safety = site_of(1)
    submit(world, world.machines[0], ms=60_000)
    until(world, lambda: (job := safety.history.job("job-1")) and job.running)
    work = world.machines[0].work
    assert work is not None
    assert work.host.runner is None, "it is being started"
    attempt = Attempt("job-1", 0, 1)
    work.host.asked()
    assert work.table.dispatch.holds[world.machines[0].id] == {attempt}
    work.host.stop(TasksStop(attempts=(attempt,)))
    work.host.asked()
    assert not work.table.dispatch.holds[world.machines[0].id]
    until(world, lambda: work.host.runner)
    assert not safety.running.get("job-1.0"), "it was given and taken back before it began"


def test_a_runner_that_has_had_nothing_for_a_while_is_ended_and_the_next_task_starts_one() -> None:
    world, safety = site_of(1)
    submit(world, world.machines[0])
    until(world, lambda: has_ended(safety))
    work = world.machines[0].work
    assert work is not None
    assert work.host.runner is not None
    until(world, lambda: work.host.runner is None)
    assert not any(client.startswith("runner") for client in world.clients)
    submit(world, world.machines[0], "job-2")
    until(world, lambda: has_ended(safety, "job-2"))


def test_who_begins_anew_says_at_once_that_it_holds_nothing() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], tasks=3, ms=15_000)
    until(world, lambda: sum(map(len, safety.running.values())) == 3)
    machine = next(each for each in world.machines if each.work and not each.work.table.leads)
    after(world, SECOND)
    world.crash(machine)
    world.start(machine)
    until(world, lambda: any(run.number == 2 for run in _running(safety)), within_ns=8 * SECOND)


def _running(safety: WorkSafety) -> list[Running]:
    job = safety.history.job("job-1")
    return list(job.running.values()) if job is not None else []
