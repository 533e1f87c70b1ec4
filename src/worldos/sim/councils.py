"""What a simulated world sees of its councils and centers from outside: a few questions to the tables of the nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from worldos.kernel.centers import Centers
from worldos.kernel.charter import Charter
from worldos.kernel.raft.raft import Raft
from worldos.kernel.reign import Reign
from worldos.model.realm import RealmId
from worldos.sim.machine import Machine

if TYPE_CHECKING:
    from worldos.sim.world import World


def seats_of(machine: Machine) -> dict[RealmId, Raft]:
    """Return the seats of a machine's node: the Raft of each."""
    return {} if machine.node is None else {realm: seat.raft for realm, seat in machine.node.realms.seats.items()}


def reigns_of(machine: Machine) -> dict[RealmId, Reign]:
    """Return the realms of which this machine's node is the primary, provisional or not."""
    return {} if machine.node is None else machine.node.realms.reigns


def centers_of(machine: Machine) -> Centers:
    """Return who is the center of which realm, as a machine's node believes, and its fences."""
    assert machine.node is not None
    return machine.node.realms.centers


def charters_of(machine: Machine) -> dict[RealmId, Charter]:
    """Return the charters of the councils in which a machine's node sits."""
    return {} if machine.node is None else {realm: seat.charter for realm, seat in machine.node.realms.seats.items()}


def primaries(machines: Iterable[Machine], realm: RealmId) -> list[Machine]:
    """Return who of these machines believes to be the primary of a realm."""
    return [machine for machine in machines if machine.up and realm in reigns_of(machine)]


def all_primaries(world: World) -> dict[RealmId, list[Machine]]:
    """Return who believes to be the primary, of every realm."""
    found: dict[RealmId, list[Machine]] = {}
    for machine in world.machines:
        if machine.up:
            for realm in reigns_of(machine):
                found.setdefault(realm, []).append(machine)
    return found


def council_of(world: World, realm: RealmId) -> list[Machine]:
    """Return the voters of a realm, as the member with the longest log has them."""
    seats = [seats_of(machine)[realm] for machine in world.machines if machine.up and realm in seats_of(machine)]
    if not seats:
        return []
    latest = max(seats, key=lambda raft: (raft.log.last_term, raft.log.last))
    return [world.by_id[voter] for voter in latest.log.config.voters]
