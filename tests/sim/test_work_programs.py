"""Programs that use the work: what they were promised is known, and looked for in the log."""

from __future__ import annotations

import pytest
from tests.sim.work_worlds import after, site_of, until

from worldos.model.limits import SECOND
from worldos.sim.checkers import Violation
from worldos.sim.work_checkers import WorkSafety
from worldos.sim.work_programs import QUEUES, WorkLoad
from worldos.sim.world import World


def loaded(seconds: int) -> tuple[World, WorkSafety, WorkLoad]:
    world, safety = site_of(4, 4, 4)
    load = WorkLoad(world, safety)
    load.begin()
    after(world, seconds * SECOND)
    return world, safety, load


def test_programs_submit_put_take_and_come_to_an_end() -> None:
    world, safety, load = loaded(10)
    load.stop()
    assert len(load.jobs) > 3
    assert all(load.put.values())
    queues = safety.history.work.queues
    until(world, lambda: all((view := queues.view(made.queue)) and not view.waiting + view.held for made in QUEUES))
    assert load.done
    for queue, names in load.put.items():
        assert all(load.has(queue, name) for name in names)


def test_a_promise_that_the_log_does_not_hold_is_seen() -> None:
    _, safety, load = loaded(5)
    safety.history.acked.clear()
    with pytest.raises(Violation, match="was acknowledged, and the log does not have it"):
        load.acknowledged("many", [b"nothing1"])


def test_programs_end_with_their_machine_and_others_begin_with_its_next_life() -> None:
    world, _, load = loaded(3)
    machine = world.machines[2]
    world.crash(machine)
    said = load.said
    after(world, SECOND)
    world.start(machine)
    until(world, lambda: (machine.number, machine.boot) in load._consumers)
    assert load.said > said
