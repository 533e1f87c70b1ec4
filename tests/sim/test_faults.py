"""Faults: every kind strikes, and all of them end."""

from __future__ import annotations

from worldos.model.limits import SECOND
from worldos.sim.checkers import check_well
from worldos.sim.faults import Faults
from worldos.sim.world import World


def test_every_kind_of_fault_can_strike_and_all_of_them_can_be_mended() -> None:
    world = World(8, 4)
    world.run_until(3 * SECOND)
    faults = Faults(world, harsh=True)
    for strike, _ in faults.kinds:
        strike()
        world.run_until(world.now_ns + SECOND // 2)
    faults.stop()
    world.run_until(world.now_ns + 30 * SECOND)
    assert not world.sessions.cuts
    assert not world.sessions.rules.rules
    assert all(machine.running for machine in world.machines if not machine.lost)
    check_well(world)


def test_after_the_end_nothing_strikes_any_more() -> None:
    world = World(8, 3)
    faults = Faults(world, harsh=False)
    world.run_until(10 * SECOND)
    faults.stop()
    noted = len(world.notes)
    world.run_until(60 * SECOND)
    assert len(world.notes) == noted
