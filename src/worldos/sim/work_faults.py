"""Faults of a world that keeps work: what befalls machines (faults.py), and what befalls who leads, runners, disks and clocks.

The whole site may lose its power at once. Neither the site's council nor the replicas of its work ever lose a majority of their
disks, for nothing could bring that back; everything else is fair. All of it ends when the healing phase begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from worldos.kernel.raft.raft import Raft
from worldos.model.limits import MS, SECOND
from worldos.sim.councils import council_of, seats_of
from worldos.sim.faults import WALL_JUMP_NS, Faults
from worldos.sim.machine import Machine
from worldos.sim.seats import FLUSH_MAX_NS
from worldos.sim.world import WALL_NS

if TYPE_CHECKING:
    from worldos.sim.world import World

BETWEEN_NS: Final = 1500 * MS
COUNCIL_MIN: Final = 3
CHURN: Final = 10  # times as often
LONG_MIN_NS: Final = 15 * SECOND
LONG_MAX_NS: Final = 40 * SECOND
SKEW_NS: Final = 2 * SECOND  # of people's clocks, where nothing jumped


class WorkFaults(Faults):
    """What is broken now. ``calm``: nobody sleeps. ``churn``: machines and disks go and come more often than all else."""

    def __init__(self, world: World, *, calm: bool, churn: bool = False) -> None:
        super().__init__(world, harsh=False)
        self.between_ns = BETWEEN_NS
        self.may_lose = self._nobody_needs
        sleeps = {self._pause, self._pause_leader, self._sleep}
        moves = {self._leave, self._lose_disk, self._revoke, self._forget}
        self.kinds = tuple(
            (kind, weight * (CHURN if churn and kind in moves else 1))
            for kind, weight in (
                *self.kinds,
                (self._pause_leader, 3),
                (self._crash_leader, 4),
                (self._cut_leader, 4),
                (self._cut_long, 3),
                (self._sleep, 2),
                (self._kill_runner, 5),
                (self._blackout, 1),
                (self._stall_disk, 2),
                (self._forget, 2),
            )
            if not (calm and kind in sleeps)
        )
        for machine in world.machines:
            machine.clock.wall_error_ns = WALL_NS + int((self.dice.random() - 0.5) * 2 * SKEW_NS)
            world.scan(machine)

    # -- who leads ---------------------------------------------------------------------------------------------------------

    def leader(self) -> Machine | None:
        """Return a machine that leads the work, as it believes."""
        return self._some([each for each in self._running() if each.work is not None and each.work.table.leads])

    def _pause_leader(self) -> None:
        leader = self.leader()
        if leader is not None:
            boot = leader.boot
            self.world.pause(leader)
            self._until(lambda: self.world.resume(leader) if leader.paused and leader.boot == boot else None)

    def _crash_leader(self) -> None:
        leader = self.leader()
        if leader is not None and len(self._running()) > 1:
            self.world.crash(leader)
            self._start_later(leader)

    def _cut_leader(self) -> None:
        leader = self.leader()
        if leader is not None:
            self._wall([leader.number], f"leader {leader.name}", stops_in=self.dice.random() < 0.8)

    def _cut_long(self) -> None:
        """Cut a machine off for so long that what runs there is given to others."""
        machine = self._some(self._running())
        if machine is None:
            return
        sessions = self.world.sessions
        self.world.note(f"cut for long: {machine.name}")
        wall = sessions.raise_wall([machine.number])
        self.world.later(self._long(), lambda: None if self.stopped else sessions.take_down(wall))

    # -- machines ----------------------------------------------------------------------------------------------------------

    def _sleep(self) -> None:
        """Stop a machine for so long that what runs there is given to others."""
        machine = self._some(self._running())
        if machine is None:
            return
        boot = machine.boot
        self.world.pause(machine)

        def wake() -> None:
            if machine.paused and machine.boot == boot and not self.stopped:
                self.world.resume(machine)

        self.world.later(self._long(), wake)

    def _long(self) -> int:
        return LONG_MIN_NS + int(self.dice.random() * (LONG_MAX_NS - LONG_MIN_NS))

    def _kill_runner(self) -> None:
        machine = self._some([each for each in self._running() if each.work is not None and each.work.host.runner])
        if machine is not None and machine.work is not None:
            self.world.note(f"the runner of {machine.name} is killed")
            machine.work.host.kill()

    def _blackout(self) -> None:
        """Let the power of the whole site fail."""
        self.world.note("the power fails")
        for machine in self.world.alive():
            self.world.crash(machine)
            self._start_later(machine)

    def _jump(self) -> None:
        machine = self._some(self._running())
        if machine is not None:
            self.world.note(f"the wall clock of {machine.name} jumps")
            machine.clock.wall_error_ns = WALL_NS + int((self.dice.random() - 0.5) * 2 * WALL_JUMP_NS)
            self.world.scan(machine)

    # -- disks --------------------------------------------------------------------------------------------------------------

    def _stall_disk(self) -> None:
        machine = self._some(self._running())
        if machine is not None:
            machine.seats.flush_max_ns = 100 * FLUSH_MAX_NS
            self._until(lambda: setattr(machine.seats, "flush_max_ns", FLUSH_MAX_NS))

    def _forget(self) -> None:
        """Let a bit rot on the disk of one that keeps work, or its old backup come back."""
        machine = self._some([each for each in self._running() if each.seats.seats])
        if machine is None:
            return
        if self.dice.random() < 0.5:
            machine.seats.save()
            return
        if not self._nobody_needs(machine):
            return
        self.world.crash(machine)
        if self.dice.random() < 0.5:
            machine.seats.go_back()
        else:
            for realm in sorted(machine.seats.seats):
                machine.seats.rot(realm)
        self._start_later(machine)

    def _nobody_needs(self, machine: Machine) -> bool:
        """Tell whether the council and the replicas have each a majority of others that are up and have all their memory."""
        for realm in seats_of(machine):
            others = [(voter, seats_of(voter).get(realm)) for voter in council_of(self.world, realm)]
            if not _can_spare(machine, others):
                return False
        raft = work_of(machine)
        if raft is None:
            return not any(
                each.work is not None and machine.id in each.work.site.founders() for each in self._running()
            )
        latest = max(
            (known for each in self.world.alive() if (known := work_of(each)) is not None),
            key=lambda known: (known.log.last_term, known.log.last),
        )
        voters = [self.world.by_id[voter] for voter in latest.log.config.voters]
        return _can_spare(machine, [(voter, work_of(voter)) for voter in voters])


def work_of(machine: Machine) -> Raft | None:
    """Return a machine's member of the group that keeps the work."""
    if not machine.up or machine.work is None or machine.work.table.replica is None:
        return None
    return machine.work.table.replica.raft


def _can_spare(machine: Machine, voters: Iterable[tuple[Machine, Raft | None]]) -> bool:
    """Tell whether a group goes on without a machine for good."""
    group = list(voters)
    whole = [
        voter
        for voter, raft in group
        if voter is not machine and voter.up and not voter.lost and raft is not None and not raft.mending
    ]
    return len(group) >= COUNCIL_MIN and len(whole) > len(group) // 2
