"""Programs: what they ask, what they are told, and how they end."""

from __future__ import annotations

from random import Random

from tests.sim.worlds import after, begin, plan, world_of

from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseLost
from worldos.sim.checkers import check_answers, check_calls, check_empty
from worldos.sim.programs import plan_by_chance


def test_a_program_that_ends_well_leaves_nothing_behind() -> None:
    world = world_of(2, 4)
    program = begin(world, world.machines[0], plan(3000, calls=20))
    after(world, 3 * SECOND)
    assert len(program.ended) == 20
    assert program.over
    check_calls(world, [program])
    check_answers([program])
    check_empty(world)


def test_a_program_that_dies_leaves_nothing_behind() -> None:
    world = world_of(2, 4)
    program = begin(world, world.machines[0], plan(3000, calls=2000, dies_after_ns=SECOND))
    after(world, 2 * SECOND)
    assert program.killed_early
    check_empty(world)


def test_a_gang_apart_is_on_two_machines() -> None:
    world = world_of(1, 4, 4)
    program = begin(world, world.machines[0], plan(2000, 2000, apart=True, calls=99, rest_ns=SECOND))
    after(world, SECOND)
    assert len({terms.node for terms in program.granted}) == 2


def test_what_is_too_large_for_all_is_refused_with_a_reason() -> None:
    world = world_of(1, 1)
    program = begin(world, world.machines[0], plan(64_000))
    after(world, SECOND)
    assert program.over
    assert "64 cores" in program.refusal


def test_without_a_fault_no_lease_is_lost_and_no_node_doubted() -> None:
    world = world_of(1, 4)
    told = []
    program = begin(world, world.machines[0], plan(4000, calls=60, rest_ns=SECOND, ttl_ns=2 * SECOND))
    hears = program.told
    program.told = lambda message: (told.append(message), hears(message))[1]
    after(world, 30 * SECOND)
    assert [type(message).__name__ for message in told] == ["UseGranted"]


def test_a_lost_lease_is_replaced_and_its_program_hears_of_both() -> None:
    world = world_of(1, 4, 4)
    told = []
    program = begin(world, world.machines[0], plan(4000, calls=60, rest_ns=SECOND))
    hears = program.told
    program.told = lambda message: (told.append(message), hears(message))[1]
    after(world, SECOND)
    world.crash(world.by_id[program.granted[0].node])
    after(world, 10 * SECOND)
    kinds = [type(message).__name__ for message in told]
    assert kinds.index("LeaseAdded") > 0
    assert any(isinstance(message, LeaseLost) for message in told)


def test_plans_by_chance_ask_for_all_sorts() -> None:
    dice = Random(1)
    plans = [plan_by_chance(dice) for _ in range(300)]
    assert {len(each.needs) for each in plans} == {1, 2, 3}
    assert any(each.needs[0].amount > 100_000 for each in plans)
    assert any(each.retries == 0 for each in plans)
    assert any(each.needs[0].memory_bytes for each in plans)
    assert any(each.needs[0].apart for each in plans)
    assert any(each.needs[0].kind == "Memory" for each in plans)


def test_a_node_that_was_only_silent_for_a_moment_loses_no_lease() -> None:
    """A place is looked for while it is silent, and no more once it is heard again: what is held stays held."""
    world = world_of(1, 4)
    told = []
    program = begin(world, world.machines[0], plan(4000, calls=60, rest_ns=SECOND))
    hears = program.told
    program.told = lambda message: (told.append(message), hears(message))[1]
    after(world, SECOND)
    sleeper = world.by_id[program.granted[0].node]
    world.pause(sleeper)
    after(world, 1300 * MS)
    world.resume(sleeper)
    after(world, 25 * SECOND)
    assert [type(message).__name__ for message in told] == ["UseGranted", "LeaseDoubted", "LeaseDoubted"]
    assert not world.machines[0].node.uses.pending
