"""A planet: many sites under a deep tree, a part of it cut off for long, and healed.

At the true pace for ``EDGE_NS`` around the cut and the heal, where things happen; at a slower one in the quiet hours between
(pace.py). The checkers of councils, reigns and leases look after every step. Programs ask on both sides all the time.
Says what it took: how long until new primaries, until one tree, events, memory.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.realm import RealmId
from worldos.sim import pace
from worldos.sim.checkers import Safety, Violation
from worldos.sim.councils import all_primaries
from worldos.sim.founding import Founding
from worldos.sim.machine import Machine
from worldos.sim.programs import Program
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.realm_progress import can_be_filled, check_charters, name_of, parents_of, why_no_tree
from worldos.sim.realm_run import AGAIN_NS, more_than_here, probe_for
from worldos.sim.tree import Tree, even_tree
from worldos.sim.world import World

FOUND_NS: Final = 300 * SECOND
MERGE_NS: Final = 30 * SECOND
EDGE_NS: Final = 20 * SECOND
LOOK_NS: Final = 200 * MS
FILL_NS: Final = 5 * SECOND
PROBES: Final = 20
SITE_SIZE: Final = 5
FAN: Final = 8


class PlanetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run. ``cut_parts``: one part of so many is cut off; ``slower``: the pace of the quiet hours."""

    nodes: int = 10_000
    levels: int = 5
    site_size: int = SITE_SIZE
    fan: int = FAN
    cut_parts: int = 3
    cut_seconds: int = 3600
    slower: int = 60


class Figures(msgspec.Struct, kw_only=True):
    """What it took, in the order in which it came about; times of the simulated world in ms."""

    nodes: int = 0
    sites: int = 0
    realms: int = 0
    start_wall_s: float = 0.0
    founded_ms: int = 0
    stands_in_ms: int = 0
    merged_ms: int = 0
    filled: int = 0
    asked: int = 0
    filled_ms: list[int] = []
    steps: int = 0
    wall_s: float = 0.0
    rss_mb: int = 0
    failure: str = ""


class Planet:
    """One planet, run."""

    def __init__(self, seed: int, settings: PlanetSettings) -> None:
        began_s = time.perf_counter()
        self.settings = settings
        sites = settings.nodes // settings.site_size
        self.tree: Tree = even_tree(sites, settings.site_size, settings.fan, settings.levels, Random(seed))
        self.world = World(seed, self.tree.sites, with_realms=True)
        self.safety = Safety(self.world)
        self.safety.all_every_ns = 600 * SECOND
        self.world.watchers += [self.safety, RealmSafety(self.world)]
        self.programs = 0
        gc.freeze()
        self.figures = Figures(
            nodes=settings.nodes,
            sites=sites,
            realms=len(self.tree.realms),
            start_wall_s=round(time.perf_counter() - began_s, 1),
        )

    def run(self) -> Figures:
        """Found, cut, wait, heal; what did not hold stands in ``failure``."""
        began_s = time.perf_counter()
        try:
            self._run()
        except Violation as violation:
            self.figures.failure = str(violation)
        self.figures.steps = self.world.steps
        self.figures.wall_s = round(time.perf_counter() - began_s, 1)
        self.figures.rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return self.figures

    def _run(self) -> None:
        world, settings = self.world, self.settings
        world.run_until(world.now_ns + 3 * SECOND)
        founding = Founding(world, self.tree)
        began_ns = world.now_ns
        self.figures.founded_ms = self._until(
            lambda: "; ".join(founding.open()[:3]) or why_no_tree(world, self.tree), FOUND_NS
        )
        world.note(f"founded after {(world.now_ns - began_ns) // MS} ms")
        sites = world.sites[: max(1, len(world.sites) // settings.cut_parts)]
        inside = [machine for site in sites for machine in site.machines]
        self._probe(world.machines)
        before = {realm: reigning[0] for realm, reigning in all_primaries(world).items()}
        wall = world.sessions.raise_wall([machine.number for machine in inside])
        cut_ns = world.now_ns
        outside = [machine for machine in world.machines if machine.number not in wall.inside]
        sides = (wall.inside, frozenset(machine.number for machine in outside))
        self.figures.stands_in_ms = self._until(
            lambda: self._why_headless(sides[0], before) or self._why_headless(sides[1], before), EDGE_NS
        )
        world.run_until(cut_ns + EDGE_NS)
        self._probe(inside)
        self._probe(outside)
        with pace.slower(settings.slower, world):
            end_ns = cut_ns + settings.cut_seconds * SECOND - EDGE_NS
            while world.now_ns < end_ns:
                world.run_until(min(end_ns, world.now_ns + 300 * SECOND))
                self._probe(inside, 2)
                self._probe(outside, 2)
        world.run_until(cut_ns + settings.cut_seconds * SECOND)
        world.sessions.take_down(wall)
        self.figures.merged_ms = self._until(lambda: why_no_tree(world, self.tree), MERGE_NS)
        self._probe(world.machines)
        self.safety.look_at_all()
        check_charters(world)

    def _until(self, why_not: Callable[[], str], bound_ns: int) -> int:
        world = self.world
        began_ns = world.now_ns
        while why := why_not():
            if world.now_ns - began_ns > bound_ns:
                raise Violation(f"not within {bound_ns // SECOND} s: {why}")
            world.run_until(world.now_ns + LOOK_NS)
        return (world.now_ns - began_ns) // MS

    def _why_headless(self, here: frozenset[int], before: dict[RealmId, Machine]) -> str:
        """Return which realm nobody stands for on this side of the wall, of those with a child whose primary is on it.

        Not asked for: realms of which only grandchildren are there. Nobody there knows their center well enough to stand in.
        """
        found = all_primaries(self.world)
        above = parents_of(self.world, self.tree)
        wanted = {realm for realm, primary in before.items() if primary.number in here}
        wanted |= {above[realm] for realm in wanted if realm in above}
        for realm in sorted(wanted):
            if not any(machine.number in here for machine in found.get(realm, ())):
                return f"nobody stands for {name_of(self.world, self.tree, realm)} on this side"
        return ""

    def _probe(self, machines: list[Machine], probes: int = PROBES) -> None:
        """Let some programs ask for more than most machines have; who can be helped is helped in bounded time."""
        world = self.world
        for _ in range(probes):
            machine = machines[int(world.dice.random() * len(machines))]
            need = more_than_here(machine)
            helper = can_be_filled(world, machine, need)
            program = self._ask(machine, need)
            asked_ns = world.now_ns
            while world.now_ns < asked_ns + FILL_NS and not program.granted:
                world.run_until(world.now_ns + 50 * MS)
                if program.refusal:
                    world.run_until(world.now_ns + AGAIN_NS)
                    program = self._ask(machine, need)
            self.figures.asked += 1
            if program.granted:
                self.figures.filled += 1
                self.figures.filled_ms.append((world.now_ns - asked_ns) // MS)
            elif helper is not None:
                raise Violation(
                    f"{machine.name} got no {need.amount >> 30} GB, and {helper.name} has it: {program.refusal or 'no answer'}"
                )
            program.finish()

    def _ask(self, machine: Machine, need: Need) -> Program:
        self.programs += 1
        program = Program(self.world, machine, self.programs, probe_for(need))
        program.begin()
        return program
