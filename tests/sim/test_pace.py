"""Pace: quiet rounds less often, and back again."""

from __future__ import annotations

from worldos.kernel import membership
from worldos.model.limits import SECOND
from worldos.sim import pace
from worldos.sim.checkers import check_well
from worldos.sim.world import World


def events_in(world: World, seconds: int) -> int:
    before = world.steps
    world.run_until(world.now_ns + seconds * SECOND)
    return world.steps - before


def test_quiet_hours_are_cheap_at_a_slower_pace_and_nobody_is_missed() -> None:
    world = World(1, 4)
    events_in(world, 5)
    true = events_in(world, 60)
    with pace.slower(20, world):
        events_in(world, 20)
        assert events_in(world, 60) < true / 12
        check_well(world)
    events_in(world, 20)
    assert events_in(world, 60) > true * 0.9
    check_well(world)


def test_a_crash_is_told_at_once_at_any_pace() -> None:
    world = World(1, 4)
    with pace.slower(20, world):
        world.run_until(world.now_ns + 60 * SECOND)
        world.crash(world.machines[0])
        world.run_until(world.now_ns + 20 * SECOND)
        assert world.machines[0].id not in world.machines[1].node.membership.alive()


def test_the_true_pace_comes_back_whatever_happens() -> None:
    before = membership.PROBE_PERIOD_NS
    try:
        with pace.slower(7, World(1, 1)):
            assert before * 7 == membership.PROBE_PERIOD_NS
            raise KeyError
    except KeyError:
        assert before == membership.PROBE_PERIOD_NS
