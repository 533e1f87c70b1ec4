"""Small worlds for the tests of this folder: true clocks, nothing broken, sizes that are known."""

from __future__ import annotations

from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.sim.machine import Machine
from worldos.sim.programs import Plan, Program
from worldos.sim.world import World

GB = 1 << 30


def world_of(*cores: int, harsh: bool = False, seed: int = 1) -> World:
    """Machines with so many cores each, known to each other, their offers told."""
    world = World(seed, len(cores), harsh=harsh, drift=False)
    for machine, count in zip(world.machines, cores, strict=True):
        machine.size = (count * 1000, 4 * GB)
        machine.facts["speed_mips"] = 10_000
        world.scan(machine)
    world.run_until(world.now_ns + 2 * SECOND)
    return world


def plan(
    *milli: int,
    calls: int = 3,
    retries: int = 3,
    service_ns: int = 10 * MS,
    rest_ns: int = MS,
    ttl_ns: int = 4 * SECOND,
    apart: bool = False,
    dies_after_ns: int = 0,
) -> Plan:
    return Plan(
        needs=tuple(Need(kind="CPU", amount=amount, apart=apart) for amount in milli),
        ttl_ns=ttl_ns,
        calls=calls,
        retries=retries,
        service_ns=service_ns,
        rest_ns=rest_ns,
        dies_after_ns=dies_after_ns,
    )


def begin(world: World, home: Machine, what: Plan) -> Program:
    program = Program(world, home, len(world.clients) + world.steps, what)
    program.begin()
    return program


def after(world: World, delay_ns: int) -> None:
    world.run_until(world.now_ns + delay_ns)
