"""The work at a simulated machine: founded when it is first needed, kept over lives, and mended after what disks do."""

from __future__ import annotations

from tests.sim.work_worlds import after, ask, has_ended, said, site_of, submit, until

from worldos.model.limits import SECOND
from worldos.model.work import Applied, Message, Put, QueueMade


def test_the_first_ask_founds_the_work_at_all_who_sit_in_the_council() -> None:
    world, safety = site_of(1, 1, 1)
    assert said(world, world.machines[2], QueueMade(queue="q")) == (Applied(),)
    after(world, 2 * SECOND)
    tables = [machine.work.table for machine in world.machines if machine.work is not None]
    assert [table.replica is not None for table in tables] == [True] * 3
    assert sum(table.leads for table in tables) == 1
    assert all(table.stood for table in tables if table.leads)
    safety.compare()


def test_the_power_of_all_machines_takes_nothing_that_was_acknowledged() -> None:
    world, safety = site_of(1, 1, 1)
    said(world, world.machines[0], QueueMade(queue="q"))
    message = Message(b"message1", b"body")
    assert said(world, world.machines[1], Put(queue="q", messages=(message,))) == (Applied(),)
    submit(world, world.machines[1], ms=2_000)
    for machine in world.machines:
        world.crash(machine)
    after(world, SECOND)
    for machine in world.machines:
        world.start(machine)
    until(world, lambda: has_ended(safety))
    (kept,) = safety.history.work.queues.kept()
    assert list(kept.entries) == [message.id]


def test_who_was_asked_and_died_answers_nobody() -> None:
    world, _ = site_of(1, 1, 1)
    replies = ask(world, world.machines[1], QueueMade(queue="q"))
    work = world.machines[1].work
    world.crash(world.machines[1])
    after(world, 20 * SECOND)
    assert not replies
    assert work is not None
    assert work.over


def test_a_machine_that_sleeps_does_late_what_was_due() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=100)
    until(world, lambda: has_ended(safety))
    for machine in world.machines:
        world.pause(machine)
    after(world, 5 * SECOND)
    replies = ask(world, world.machines[0], QueueMade(queue="q"))
    after(world, 5 * SECOND)
    assert not replies
    for machine in world.machines:
        world.resume(machine)
    until(world, lambda: replies)
    assert not replies[0].error


def test_without_a_majority_who_asks_is_told_so() -> None:
    world, _ = site_of(1, 1, 1)
    said(world, world.machines[0], QueueMade(queue="q"))
    after(world, SECOND)
    world.sessions.raise_wall([0])
    replies = ask(world, world.machines[0], QueueMade(queue="r"))
    until(world, lambda: replies, within_ns=20 * SECOND)
    assert replies[0].error == "Unreachable"


def test_a_seat_whose_disk_went_back_is_mended_by_the_others() -> None:
    world, safety = site_of(1, 1, 1)
    said(world, world.machines[0], QueueMade(queue="q"))
    after(world, SECOND)
    machine = world.machines[1]
    machine.seats.save()
    said(world, world.machines[0], Put(queue="q", messages=(Message(b"message1", b"body"),)))
    after(world, SECOND)
    world.crash(machine)
    machine.seats.go_back()
    world.start(machine)
    work = machine.work
    assert work is not None
    assert work.table.replica is not None
    assert work.table.replica.raft.mending
    until(world, lambda: work.table.replica and not work.table.replica.raft.mending)
    after(world, 3 * SECOND)
    safety.compare()
    assert work.table.replica.work.snapshot() == safety.history.work.snapshot()
