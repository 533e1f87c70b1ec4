"""The load: programs on every machine, also on one that comes later, and none after the end."""

from __future__ import annotations

from worldos.model.limits import SECOND
from worldos.sim.checkers import Safety
from worldos.sim.load import PROGRAMS_AT_ONCE, Load
from worldos.sim.world import World


def test_programs_begin_on_every_machine_and_no_more_after_the_end() -> None:
    world = World(7, 3)
    load = Load(world, Safety(world), SECOND // 4)
    load.begin()
    world.run_until(world.now_ns + 10 * SECOND)
    assert {program.home for program in load.programs} == set(world.machines)
    for machine in world.machines:
        assert sum(p.home is machine and not p.over for p in load.programs) <= PROGRAMS_AT_ONCE
    load.stop()
    began = len(load.programs)
    world.run_until(world.now_ns + 10 * SECOND)
    assert len(load.programs) == began > 10
