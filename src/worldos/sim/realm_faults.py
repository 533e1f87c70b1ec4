"""Faults of the hierarchy by chance: sites, realms and centers that are cut off, that flap, sleep, crash, or forget.

These come on top of what befalls single machines (faults.py). No council ever loses a majority of its disks, for nothing could
bring it back; everything else is fair. All of it ends when the healing phase begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worldos.model.limits import MS, SECOND
from worldos.model.realm import RealmId
from worldos.sim.councils import all_primaries, council_of, seats_of
from worldos.sim.faults import Faults
from worldos.sim.machine import Machine, Place, Site
from worldos.sim.seats import FLUSH_MAX_NS
from worldos.sim.tree import Tree

if TYPE_CHECKING:
    from worldos.sim.world import World

BETWEEN_NS: Final = 1500 * MS
FLAPS_MAX: Final = 12
FLAP_NS: Final = 1500 * MS
LONG_SLEEP_NS: Final = 30 * SECOND
COUNCIL_MIN: Final = 3  # so many voters, before one of them may lose its memory


class RealmFaults(Faults):
    """What is broken now in a world with a tree of realms, and what will be."""

    def __init__(self, world: World, tree: Tree) -> None:
        super().__init__(world, harsh=False)
        self.tree = tree
        self.between_ns = BETWEEN_NS
        self.may_lose = self._no_council_needs
        self.kinds = (
            *self.kinds,
            (self._cut_site, 4),
            (self._cut_realm, 3),
            (self._cut_third, 1),
            (self._cut_center, 5),
            (self._flap, 3),
            (self._pause_center, 4),
            (self._crash_center, 3),
            (self._stall_disk, 2),
            (self._forget, 2),
            (self._move, 2),
        )

    # -- ways -----------------------------------------------------------------------------------------------------------

    def _site(self) -> Site:
        return self.world.sites[int(self.dice.random() * len(self.world.sites))]

    def _cut_site(self) -> None:
        site = self._site()
        share = self.dice.random()
        self._wall(
            [machine.number for machine in site.machines],
            f"site {site.name}" + (" > all others" if share < 0.2 else " < all others" if share < 0.4 else ""),
            stops_out=share < 0.2 or share >= 0.4,
            stops_in=share >= 0.2,
        )

    def _cut_realm(self) -> None:
        number = int(self.dice.random() * len(self.tree.realms))
        self._wall(machines_under(self.world, self.tree, number), f"realm {self.tree.realms[number].name}")

    def _cut_third(self) -> None:
        sites = [site for site in self.world.sites if self.dice.random() < 1 / 3]
        self._wall([machine.number for site in sites for machine in site.machines], "a third of all sites")

    def _cut_center(self) -> None:
        center = self.center()
        if center is not None:
            self._wall([center.number], f"center {center.name}", stops_in=self.dice.random() < 0.8)

    def _flap(self) -> None:
        inside = [machine.number for machine in self._site().machines]
        self.world.note(f"machines {inside} flap")
        self._flap_on(inside, 1 + int(self.dice.random() * FLAPS_MAX))

    def _flap_on(self, inside: list[int], times: int) -> None:
        world = self.world
        if self.stopped or not times:
            return
        wall = world.sessions.raise_wall(inside)
        open_ns, shut_ns = (20 * MS + int(self.dice.random() * FLAP_NS) for _ in range(2))

        def mend() -> None:
            world.sessions.take_down(wall)
            world.later(open_ns, self._flap_on, inside, times - 1)

        world.later(shut_ns, mend)

    def _move(self) -> None:
        """Let a site be somewhere else, as a laptop is: its links break, and stand again at other distances."""
        site = self._site()
        other = self._site()
        self.world.note(f"site {site.name} moves to {other.name}")
        site.place = Place(other.place.east_us + 100, other.place.north_us)
        for machine in site.machines:
            for session in self.world.sessions.of(machine):
                if session.one.site is not session.other.site:
                    self.world.sessions.end(session)
        self.world.sessions.reconsider()

    # -- centers ----------------------------------------------------------------------------------------------------------

    def center(self) -> Machine | None:
        """Return a machine that is the primary of some realm; of an upper one more often than not."""
        upper = [plan.realm for plan in self.tree.realms]
        sites = [RealmId(site.account) for site in self.world.sites]
        realms = upper if self.dice.random() < 0.7 else sites
        reigning = all_primaries(self.world)
        found = [machine for realm in realms for machine in reigning.get(realm, ()) if machine.running]
        return self._some(found)

    def _pause_center(self) -> None:
        center = self.center()
        if center is None:
            return
        boot, center_ns = center.boot, int(self.dice.random() ** 2 * LONG_SLEEP_NS)
        self.world.pause(center)

        def wake() -> None:
            if center.paused and center.boot == boot and not self.stopped:
                self.world.resume(center)

        self.world.later(center_ns, wake)

    def _crash_center(self) -> None:
        center = self.center()
        if center is not None and len(self._running()) > 1:
            self.world.crash(center)
            self._start_later(center)

    # -- disks --------------------------------------------------------------------------------------------------------------

    def _stall_disk(self) -> None:
        machine = self._some(self._running())
        if machine is not None:
            machine.seats.flush_max_ns = 100 * FLUSH_MAX_NS
            self._until(lambda: setattr(machine.seats, "flush_max_ns", FLUSH_MAX_NS))

    def _forget(self) -> None:
        """Let a bit rot on one disk of a council, or its old backup come back."""
        machine = self._some([each for each in self._running() if seats_of(each)])
        if machine is None:
            return
        if self.dice.random() < 0.5:
            machine.seats.save()
            return
        if not self._no_council_needs(machine):
            return
        self.world.crash(machine)
        if self.dice.random() < 0.5:
            machine.seats.go_back()
        else:
            for realm in seats_of(machine):
                machine.seats.rot(realm)
        self._start_later(machine)

    def _no_council_needs(self, machine: Machine) -> bool:
        """Tell whether each council that it sits in has a majority of others that are up and have all their memory."""
        for realm in seats_of(machine):
            voters = council_of(self.world, realm)
            whole = [
                voter
                for voter in voters
                if voter is not machine and voter.up and not voter.lost and not seats_of(voter)[realm].mending
            ]
            if len(voters) < COUNCIL_MIN or len(whole) <= len(voters) // 2:
                return False
        return True


def machines_under(world: World, tree: Tree, number: int) -> list[int]:
    """Return the numbers of all machines of all sites below the ``number``-th realm."""
    plan = tree.realms[number]
    inside = [machine.number for site in plan.sites for machine in world.sites[site].machines]
    for other, child in enumerate(tree.realms):
        if child.parent == number:
            inside += machines_under(world, tree, other)
    return inside
