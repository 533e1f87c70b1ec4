"""Simulated lanes: workers that run one call at a time, die alone or with their lane, and are counted."""

from __future__ import annotations

from tests.sim.worlds import after, begin, plan, world_of

from worldos.model.limits import MS, SECOND


def test_a_worker_runs_its_calls_one_after_the_other() -> None:
    world = world_of(1)
    program = begin(world, world.machines[0], plan(1000, calls=5, service_ns=100 * MS))
    after(world, 300 * MS)
    assert 1 <= len(program.ended) <= 3
    after(world, SECOND)
    assert [each.call for each in program.ended] == [0, 1, 2, 3, 4]
    assert program.over


def test_a_lane_has_a_worker_for_each_core() -> None:
    world = world_of(4)
    program = begin(world, world.machines[0], plan(4000, calls=99, rest_ns=SECOND))
    after(world, 200 * MS)
    (lane,) = world.lanes.lanes.values()
    assert len(lane.workers) == 4
    program.die()
    assert not world.lanes.lanes


def test_a_call_of_a_worker_that_dies_runs_again_on_the_next_one() -> None:
    world = world_of(1)
    program = begin(world, world.machines[0], plan(1000, calls=1, service_ns=200 * MS))
    after(world, 120 * MS)
    (lane,) = world.lanes.lanes.values()
    world.lanes.kill_worker(lane, 0)
    after(world, SECOND)
    assert [(each.call, each.failure) for each in program.ended] == [(0, "")]
    assert sum(world.lanes.started.values()) == 2


def test_a_call_that_must_not_run_twice_ends_with_an_error() -> None:
    world = world_of(1)
    program = begin(world, world.machines[0], plan(1000, calls=1, retries=0, service_ns=200 * MS))
    after(world, 120 * MS)
    (lane,) = world.lanes.lanes.values()
    world.lanes.kill_worker(lane, 0)
    after(world, SECOND)
    assert [(each.call, each.failure) for each in program.ended] == [(0, "worker lost")]
    assert sum(world.lanes.started.values()) == 1


def test_calls_of_a_machine_that_dies_run_on_another() -> None:
    world = world_of(1, 4, 4)
    program = begin(world, world.machines[0], plan(4000, calls=20, service_ns=300 * MS))
    after(world, 500 * MS)
    (lane,) = world.lanes.lanes.values()
    world.crash(lane.machine)
    after(world, 12 * SECOND)
    assert program.over
    assert sorted(each.call for each in program.ended) == list(range(20))
    assert not any(each.failure for each in program.ended)
