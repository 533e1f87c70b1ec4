"""The load of a world: programs come and go on every machine, also on those that come later, until it is stopped."""

from __future__ import annotations

from typing import Final

from worldos.sim.checkers import Safety
from worldos.sim.machine import Machine
from worldos.sim.programs import Plan, Program, plan_by_chance
from worldos.sim.world import World

PROGRAMS_AT_ONCE: Final = 4


class Load:
    """Programs of one world, in the order in which they began; on each machine one every ``every_ns`` or so."""

    def __init__(self, world: World, safety: Safety, every_ns: int) -> None:
        self.programs: list[Program] = []
        self.busy = True
        self._world = world
        self._safety = safety
        self._every_ns = every_ns
        self._loaded = 0

    def begin(self) -> None:
        """Let programs begin on machines that are new in the world."""
        dice = self._world.dice
        for machine in self._world.machines[self._loaded :]:
            self._world.later(int(dice.random() * self._every_ns), self._turn, machine)
        self._loaded = len(self._world.machines)

    def stop(self) -> None:
        """Begin no more; those that run go on to their end."""
        self.busy = False

    def start(self, machine: Machine, plan: Plan) -> Program:
        """Begin one program now."""
        program = Program(self._world, machine, len(self.programs), plan)
        self.programs.append(program)
        self._safety.programs.append(program)
        program.begin()
        return program

    def _turn(self, machine: Machine) -> None:
        if not self.busy:
            return
        here = [program for program in self.programs if program.home is machine and not program.over]
        if machine.running and len(here) < PROGRAMS_AT_ONCE:
            self.start(machine, plan_by_chance(self._world.dice))
        self.begin()
        self._world.later(int(self._world.dice.expovariate(1.0) * self._every_ns), self._turn, machine)
