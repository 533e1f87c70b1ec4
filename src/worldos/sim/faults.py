"""Faults by chance: what goes wrong in a world, when, and for how long. All of it ends when the healing phase begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from worldos.kernel.events import DrainAsked, LaneFailed
from worldos.model.limits import MS, SECOND
from worldos.sim import rules
from worldos.sim.machine import Machine

if TYPE_CHECKING:
    from worldos.sim.world import World

BETWEEN_NS: Final = 2500 * MS  # mean time from one fault to the next
LASTS_NS: Final = 6 * SECOND
WALL_JUMP_NS: Final = 3600 * SECOND
MORE_MACHINES_MAX: Final = 7  # that come for those that lost their disk


class Faults:
    """What is broken now in a world, and what will be. ``stop`` mends everything."""

    def __init__(self, world: World, *, harsh: bool) -> None:
        self.world = world
        self.dice = world.dice
        self.stopped = False
        self.between_ns = BETWEEN_NS
        self.machines_max = len(world.machines) + MORE_MACHINES_MAX
        self.may_lose: Callable[[Machine], bool] = lambda _: True  # whether a machine may go for good
        self.kinds: tuple[tuple[Callable[[], None], int], ...] = (
            (self._cut_pair, 3),
            (self._cut_one_way, 2),
            (self._cut_off, 2),
            (self._pause, 4),
            (self._crash, 4),
            (self._leave, 1),
            (self._lose_disk, 1),
            (self._revoke, 1),
            (self._kill_worker, 4),
            (self._fail_lane, 1),
            (self._drain, 1),
            (self._jump, 1),
            (self._squeeze, 1),
            (self._slow, 2),
        )
        if harsh:
            world.sessions.rules.add(rules.loss(self.dice, 0.04))
            world.sessions.rules.add(rules.duplication(self.dice, 0.08, 3 * SECOND))
            world.sessions.rules.add(rules.delay(self.dice, 0.08, 2 * SECOND))
        world.later(self._pause_between(), self._strike)

    def stop(self) -> None:
        """End all faults: every machine on, every way open."""
        world = self.world
        self.stopped = True
        world.note("all faults end")
        world.sessions.rules.rules.clear()
        world.sessions.cuts.clear()
        world.sessions.walls.clear()
        world.sessions.relays = True
        for machine in world.machines:
            if machine.lost:
                if machine.up:
                    world.crash(machine)  # revoked, and cut off from the news of it
                continue
            if machine.paused:
                world.resume(machine)
            if not machine.up:
                world.start(machine)
        world.sessions.reconsider()
        world.join_again()
        for machine in world.machines:
            if machine.running:
                world.feed(machine, DrainAsked(now_ns=world.clock_of(machine), drained=False))
                world.scan(machine)

    def _pause_between(self) -> int:
        return int(self.dice.expovariate(1.0) * self.between_ns)

    def _strike(self) -> None:
        if self.stopped:
            return
        kinds = [kind for kind, weight in self.kinds for _ in range(weight)]
        kinds[int(self.dice.random() * len(kinds))]()
        self.world.later(self._pause_between(), self._strike)

    def _some(self, machines: list[Machine]) -> Machine | None:
        return machines[int(self.dice.random() * len(machines))] if machines else None

    def _running(self) -> list[Machine]:
        return [machine for machine in self.world.machines if machine.running]

    def _mates(self, machine: Machine) -> list[Machine]:
        """Return who else runs at its site."""
        return [other for other in machine.site.machines if other.running and other is not machine]

    def _has_room(self) -> bool:
        return len(self.world.machines) < self.machines_max

    def _a_while(self) -> int:
        return 20 * MS + int(self.dice.random() ** 2 * LASTS_NS)

    def _until(self, mend: Callable[[], None]) -> None:
        self.world.later(self._a_while(), lambda: None if self.stopped else mend())

    # -- the network ----------------------------------------------------------------------------------------------------------

    def _cut(self, ways: list[tuple[int, int]], what: str) -> None:
        sessions = self.world.sessions
        self.world.note(f"cut: {what}")
        for way in ways:
            sessions.cut(*way)

        def heal() -> None:
            self.world.note(f"healed: {what}")
            for way in ways:
                sessions.heal(*way)

        self._until(heal)

    def _wall(self, inside: list[int], what: str, *, stops_out: bool = True, stops_in: bool = True) -> None:
        sessions = self.world.sessions
        self.world.note(f"cut: {what}")
        wall = sessions.raise_wall(inside, stops_out=stops_out, stops_in=stops_in)

        def heal() -> None:
            self.world.note(f"healed: {what}")
            sessions.take_down(wall)

        self._until(heal)

    def _cut_pair(self) -> None:
        one, other = self._some(self._running()), self._some(self._running())
        if one is None or other is None or one is other:
            return
        self.world.sessions.relays = self.dice.random() < 0.5
        self._cut([(one.number, other.number), (other.number, one.number)], f"{one.name} - {other.name}")

    def _cut_one_way(self) -> None:
        one, other = self._some(self._running()), self._some(self._running())
        if one is not None and other is not None and one is not other:
            self._cut([(one.number, other.number)], f"{one.name} > {other.name}")

    def _cut_off(self) -> None:
        one = self._some(self._running())
        if one is not None:
            self._wall([one.number], f"{one.name} - everybody")

    def _slow(self) -> None:
        one, other = self._some(self._running()), self._some(self._running())
        if one is None or other is None or one is other:
            return
        self.world.note(f"slow: {one.name} - {other.name}")
        sessions = self.world.sessions
        rule = sessions.rules.add(
            rules.between(one.number, other.number, rules.delay(self.dice, 0.5, int(self.dice.random() * SECOND)))
        )
        self._until(lambda: sessions.rules.remove(rule))

    # -- the machines -----------------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        machine = self._some(self._running())
        if machine is None:
            return
        boot = machine.boot
        self.world.pause(machine)
        self._until(lambda: self.world.resume(machine) if machine.paused and machine.boot == boot else None)

    def _crash(self) -> None:
        machine = self._some(self.world.alive())
        if machine is None or len(self._running()) < 2:
            return
        self.world.crash(machine)
        self._start_later(machine)

    def _leave(self) -> None:
        machine = self._some(self._running())
        if machine is not None and len(self._mates(machine)) > 1 and self.may_lose(machine):
            self.world.leave(machine)
            self._start_later(machine)

    def _start_later(self, machine: Machine) -> None:
        self._until(lambda: self.world.start(machine) if not machine.up and not machine.lost else self._again(machine))

    def _again(self, machine: Machine) -> None:
        if not machine.lost and not machine.up:
            self._start_later(machine)

    def _lose_disk(self) -> None:
        machine = self._some(self.world.alive())
        if machine is not None and self._mates(machine) and self._has_room() and self.may_lose(machine):
            self.world.lose_disk(machine)

    def _revoke(self) -> None:
        machine = self._some(self._running())
        if machine is not None and len(self._mates(machine)) > 2 and self._has_room() and self.may_lose(machine):
            self.world.revoke(machine)

    def _jump(self) -> None:
        machine = self._some(self._running())
        if machine is not None:
            self.world.note(f"the wall clock of {machine.name} jumps")
            machine.clock.wall_error_ns = int((self.dice.random() - 0.5) * 2 * WALL_JUMP_NS)
            self.world.scan(machine)

    # -- what is on them --------------------------------------------------------------------------------------------------------

    def _kill_worker(self) -> None:
        lanes = list(self.world.lanes.lanes.values())
        if lanes:
            lane = lanes[int(self.dice.random() * len(lanes))]
            if lane.machine.running:
                self.world.note(f"a worker of {lane.lease} dies")
                self.world.lanes.kill_worker(lane, int(self.dice.random() * len(lane.workers)))

    def _fail_lane(self) -> None:
        lanes = [lane for lane in self.world.lanes.lanes.values() if lane.machine.running]
        if lanes:
            lane = lanes[int(self.dice.random() * len(lanes))]
            event = LaneFailed(now_ns=self.world.clock_of(lane.machine), lease=lane.lease, why="no worker starts")
            self.world.feed(lane.machine, event)

    def _drain(self) -> None:
        machine = self._some(self._running())
        if machine is None:
            return
        self.world.feed(machine, DrainAsked(now_ns=self.world.clock_of(machine), drained=True))
        boot = machine.boot

        def back() -> None:
            if machine.boot == boot and machine.running:
                self.world.feed(machine, DrainAsked(now_ns=self.world.clock_of(machine), drained=False))

        self._until(back)

    def _squeeze(self) -> None:
        machine = self._some(self._running())
        if machine is not None:
            self.world.scan(machine, memory_percent=int(self.dice.random() * 100))
