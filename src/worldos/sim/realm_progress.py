"""What must come about in a hierarchy when nothing stands in its way: one tree, one history, needs that are filled.

Pure questions to the tables of all nodes; who asks says by when (realm_run.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.kernel.charter import encode_state
from worldos.kernel.leases import Leases
from worldos.model.need import Need
from worldos.model.realm import RealmId
from worldos.sim.checkers import Violation
from worldos.sim.councils import all_primaries, centers_of, charters_of, council_of, reigns_of
from worldos.sim.founding import lineage_of, path_of
from worldos.sim.machine import Machine, Site
from worldos.sim.tree import TOP, Tree

if TYPE_CHECKING:
    from worldos.sim.world import World


def why_no_tree(world: World, tree: Tree) -> str:
    """Return why the realms are not one tree, or nothing."""
    found = all_primaries(world)
    realms = [RealmId(site.account) for site in world.sites if _is_there(site)]
    for realm in [*realms, *(plan.realm for plan in tree.realms)]:
        reigning = found.get(realm, [])
        if len(reigning) != 1:
            return f"realm {name_of(world, tree, realm)} has {len(reigning)} primaries: {[m.name for m in reigning]}"
        if reigns_of(reigning[0])[realm].epoch.provisional:
            return f"realm {name_of(world, tree, realm)} is an island still"
    primary = {realm: reigning[0] for realm, reigning in found.items()}
    return _why_not_joined(world, tree, primary) or _why_not_known(world, tree, primary)


def parents_of(world: World, tree: Tree) -> dict[RealmId, RealmId]:
    """Return the realm right above each, of those that anybody is in."""
    above: dict[RealmId, RealmId] = {}
    for plan in tree.realms:
        for number in plan.sites:
            if _is_there(world.sites[number]):
                above[RealmId(world.sites[number].account)] = plan.realm
        if plan.parent != TOP:
            above[plan.realm] = tree.realms[plan.parent].realm
    return above


def _why_not_joined(world: World, tree: Tree, primary: dict[RealmId, Machine]) -> str:
    for realm, parent in parents_of(world, tree).items():
        known = reigns_of(primary[parent])[parent].children.children.get(realm)
        names = f"{name_of(world, tree, parent)} and {name_of(world, tree, realm)}"
        if known is None:
            return f"{names}: not registered"
        if (known.primary, known.epoch) != (primary[realm].id, reigns_of(primary[realm])[realm].epoch):
            return f"{names}: {world.by_id[known.primary].name} is taken for {primary[realm].name}"
    return ""


def _why_not_known(world: World, tree: Tree, primary: dict[RealmId, Machine]) -> str:
    for number, plan in enumerate(tree.realms):
        for below in plan.sites:
            site = world.sites[below]
            realm = RealmId(site.account)
            path = f"{path_of(tree, number)}/{site.name}"
            lineage = (*lineage_of(tree, number), realm)
            for machine in site.machines:
                if not machine.up:
                    continue
                center = centers_of(machine).known.get(realm)
                if center is None:
                    return f"{machine.name} knows no center of {site.name}"
                if center.primary.node != primary[realm].id:
                    return f"{machine.name} takes {center.primary.name} for the center of {site.name}"
                if (center.path, center.lineage) != (path, lineage):
                    return f"{machine.name} believes to be at {center.path}, and is at {path}"
    return ""


def _is_there(site: Site) -> bool:
    return any(machine.up for machine in site.machines)


def name_of(world: World, tree: Tree, realm: RealmId) -> str:
    """Return what a realm is called."""
    names = {plan.realm: plan.name for plan in tree.realms}
    return names.get(realm) or next((s.name for s in world.sites if RealmId(s.account) == realm), realm[:12])


def check_charters(world: World) -> None:
    """After healing: all seats of a council have one charter, and all devices of an account one key log."""
    charters: dict[RealmId, tuple[Machine, bytes]] = {}
    for machine in world.machines:
        if not machine.up:
            continue
        for realm, charter in charters_of(machine).items():
            if machine not in council_of(world, realm):
                continue  # its seat was given away while it was gone
            other, state = charters.setdefault(realm, (machine, encode_state(charter)))
            if encode_state(charter) != state:
                raise Violation(f"{machine.name} and {other.name} have different charters of {realm[:12]}")
    for site in world.sites:
        logs = [machine.node.keylog.entries.keys() for machine in site.machines if machine.up and machine.node]
        if any(log != logs[0] for log in logs[1:]):
            raise Violation(f"the devices of {site.name} have different key logs")


def can_be_filled(world: World, home: Machine, need: Need) -> Machine | None:
    """Return a machine that has what is needed free, and that links inside sites and between centers lead to."""
    reached = {home.number}
    edge = [home]
    while edge:
        machine = edge.pop()
        for stream in machine.streams.values():
            other = stream.target
            among = machine.site is other.site or (reigns_of(machine) and reigns_of(other))
            if among and stream.session.up and other.running and other.number not in reached:
                reached.add(other.number)
                edge.append(other)
    able = [world.machines[number] for number in sorted(reached) if _has_free(world.machines[number], need)]
    return able[0] if able else None


def _has_free(machine: Machine, need: Need) -> bool:
    assert machine.node is not None
    table: Leases = machine.node.leases
    return not table.drained and any(
        resource.endswith(f"{need.kind.lower()}/0") and capacity - table.lent.get(resource, 0) >= need.amount
        for resource, capacity in table.capacity.items()
    )
