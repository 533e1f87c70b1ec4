"""One run with realms: sites under a tree of realms, faults at all levels, then what must come about in bounded time.

1. Founding: people found the realms and join them; within ``FOUND_NS`` it is one tree.
2. Faults: programs come and go on every machine while things break at all levels. The checkers look after every step.
3. Healing: no new program, no fault. Within ``HEAL_NS`` it is one tree again, and every program has its answers.
4. An island: a wall goes up around some sites. After ``ISLAND_NS`` a need that some node on the same side can fill, and can be
   reached from there over centers, is filled within ``FILL_NS``.
5. The wall comes down: within ``MERGE_NS`` it is one tree again, and needs are filled across it.
6. Rest: nobody uses anything; whatever was lent has come back, and all seats of a council have one charter.

*One tree*: each realm has one primary, a legitimate one; each child is registered at its parent's primary; every node knows the
center of its site, and that center knows the way from the top.
"""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.resource import Kind
from worldos.sim.checkers import Safety, Violation, check_answers, check_calls, check_empty, check_well
from worldos.sim.founding import Founding
from worldos.sim.load import Load
from worldos.sim.machine import Machine
from worldos.sim.programs import Plan, Program
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.realm_faults import RealmFaults, machines_under
from worldos.sim.realm_progress import can_be_filled, check_charters, why_no_tree
from worldos.sim.run import Outcome, failure_of, story
from worldos.sim.tree import Tree, tree_by_chance
from worldos.sim.world import SIZES, World

FOUND_NS: Final = 60 * SECOND
HEAL_NS: Final = 30 * SECOND  # as in run.py
ISLAND_NS: Final = 5 * SECOND
FILL_NS: Final = 10 * SECOND  # what was given back a moment ago is known two seconds later at each level
MERGE_NS: Final = 5 * SECOND
REST_NS: Final = 13 * SECOND
LOOK_NS: Final = 100 * MS
PROGRAMS_EVERY_NS: Final = 6 * SECOND  # on each machine
AGAIN_NS: Final = 500 * MS  # until a program that was refused asks again
PROBES: Final = 6
MOST_BYTES: Final = max(memory for _, memory in SIZES)  # the largest machines have so much


class RealmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run: all but the seed."""

    nodes: int = 50
    levels: int = 3
    seconds: int = 20


class RealmOutcome(Outcome, frozen=True, kw_only=True):
    """What came out of one seed; how long (ms) until one tree after founding, after all faults, and after an island."""

    founded_ms: int = 0
    healed_ms: int = 0
    merged_ms: int = 0
    filled_ms: tuple[int, ...] = ()


class RealmRun:
    """One seed, run."""

    def __init__(self, seed: int, settings: RealmSettings) -> None:
        self.settings = settings
        self.tree: Tree = tree_by_chance(settings.nodes, settings.levels, Random(seed))
        self.world = World(seed, self.tree.sites, in_bytes=seed % 8 == 0, with_realms=True)
        self.safety = Safety(self.world)
        self.realms = RealmSafety(self.world)
        self.world.watchers += [self.safety, self.realms]
        self.load = Load(self.world, self.safety, PROGRAMS_EVERY_NS)
        self.took_ms: dict[str, int] = {}
        self.filled_ms: list[int] = []

    @property
    def programs(self) -> list[Program]:
        """All programs that ever began."""
        return self.load.programs

    def run(self) -> None:
        """Run all phases; Violation says what did not hold."""
        world = self.world
        self._found()
        self.load.begin()
        faults = RealmFaults(world, self.tree)
        world.run_until(world.now_ns + self.settings.seconds * SECOND)
        self.load.stop()
        faults.stop()
        healed_ns = world.now_ns + HEAL_NS
        self._until_one_tree("healed", HEAL_NS)
        self._until_well(healed_ns)
        check_calls(world, self.programs)
        self._island(faults)
        self._probe()
        world.run_until(world.now_ns + REST_NS)
        self.safety.look_at_all()
        check_empty(world)
        check_charters(world)

    # -- phases -----------------------------------------------------------------------------------------------------------

    def _found(self) -> None:
        world = self.world
        world.run_until(world.now_ns + 3 * SECOND)
        founding = Founding(world, self.tree)
        began_ns = world.now_ns
        while not founding.done:
            if world.now_ns - began_ns > FOUND_NS:
                raise Violation(f"the realms do not come about: {founding.open()[:3]}")
            world.run_until(world.now_ns + LOOK_NS)
        self._until_one_tree("founded", began_ns + FOUND_NS - world.now_ns)

    def _until_one_tree(self, phase: str, bound_ns: int) -> None:
        world = self.world
        began_ns = world.now_ns
        while why := why_no_tree(world, self.tree):
            if world.now_ns - began_ns > bound_ns:
                raise Violation(f"not one tree {bound_ns // MS} ms after it could be ({phase}): {why}")
            world.run_until(world.now_ns + LOOK_NS)
        self.took_ms[phase] = (world.now_ns - began_ns) // MS

    def _until_well(self, end_ns: int) -> None:
        """Let every program have its answers, and every site be well."""
        while True:
            try:
                check_answers(self.programs)
                check_well(self.world)
            except Violation:
                if self.world.now_ns >= end_ns:
                    raise
                self.world.run_until(self.world.now_ns + SECOND)
            else:
                return

    def _island(self, faults: RealmFaults) -> None:
        """Cut some sites off; both sides go on."""
        world = self.world
        inside = self._some_machines(faults)
        world.note(f"an island of {len(inside)} machines")
        wall = world.sessions.raise_wall(inside)
        world.run_until(world.now_ns + ISLAND_NS)
        self._probe()
        world.note("the island is over")
        world.sessions.take_down(wall)
        self._until_one_tree("merged", MERGE_NS)

    def _some_machines(self, faults: RealmFaults) -> list[int]:
        world, dice = self.world, self.world.dice
        share = dice.random()
        if share < 0.3:
            return machines_under(world, self.tree, int(dice.random() * len(self.tree.realms)))
        if share < 0.5:
            center = faults.center()
            if center is not None:
                return [center.number]
        sites = [site for site in world.sites if dice.random() < 1 / 3]
        return [machine.number for site in sites for machine in site.machines]

    def _probe(self) -> None:
        """Let some programs ask for what their sites have not; who can be helped is helped in bounded time."""
        world = self.world
        for _ in range(PROBES):
            machine = world.machines[int(world.dice.random() * len(world.machines))]
            if not machine.running:
                continue
            need = more_than_here(machine)
            helper = can_be_filled(world, machine, need)
            probe = self.load.start(machine, probe_for(need))
            asked_ns = world.now_ns
            while world.now_ns < asked_ns + FILL_NS and not probe.granted:
                world.run_until(world.now_ns + 10 * MS)
                if (
                    probe.refusal
                ):  # summaries are up to a second old at each level: what was given back just now is not known yet
                    world.run_until(world.now_ns + AGAIN_NS)
                    probe = self.load.start(machine, probe_for(need))
            if helper is not None and not probe.granted:
                said = probe.refusal or "no answer"
                raise Violation(f"{machine.name} got no {need.amount >> 30} GB, and {helper.name} has it: {said}")
            if probe.granted:
                self.filled_ms.append((world.now_ns - asked_ns) // MS)
            world.run_until(world.now_ns + SECOND)
            if not probe.over:
                raise Violation(f"{probe} does not end though all is well")


def more_than_here(machine: Machine) -> Need:
    """Return a need for more memory than any machine of a site has, if there is any such anywhere."""
    most = max(mate.size[1] for mate in machine.site.machines)
    return Need(kind=Kind.MEMORY, amount=min(most + (1 << 30), MOST_BYTES))


def probe_for(need: Need) -> Plan:
    """Return the plan of a program that asks for this, calls once, and ends."""
    return Plan(needs=(need,), ttl_ns=5 * SECOND, calls=1, retries=3, service_ns=MS, rest_ns=MS)


def run_realm_seed(seed: int, settings: RealmSettings) -> RealmOutcome:
    """Run one seed to its end, or to the first thing that does not hold."""
    run = RealmRun(seed, settings)
    failure = failure_of(run.run)
    world = run.world
    return RealmOutcome(
        seed=seed,
        steps=world.steps,
        programs=len(run.programs),
        granted=sum(bool(program.granted) for program in run.programs),
        failure=failure,
        trace=() if not failure else story(world),
        founded_ms=run.took_ms.get("founded", -1),
        healed_ms=run.took_ms.get("healed", -1),
        merged_ms=run.took_ms.get("merged", -1),
        filled_ms=tuple(run.filled_ms),
    )
