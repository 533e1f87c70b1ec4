"""Reigns: how they begin, what they tell, how they end; and when this node stands in for a primary that is out of reach.

A site's island is for its members, an island of a realm above for the realms below it, kept by the first of its heirs.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.children import Children
from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.fitness import fitness
from worldos.kernel.house import House
from worldos.kernel.island import Island
from worldos.kernel.realms import links
from worldos.kernel.realms.table import Table
from worldos.kernel.reign import Reign, below, center_by
from worldos.kernel.superior import Superiors
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Center,
    CenterTold,
    Contact,
    Epoch,
    RealmId,
    RegisterRefused,
)


def begin(table: Table, now_ns: int, realm: RealmId, center: Center, house: House) -> list[Effect]:
    """This node is the primary of a realm from now on."""
    table.centers.hear(center)
    old = table.reigns.get(realm)
    if old is not None:
        reign = old
        reign.epoch, reign.center, reign.told_ns = center.epoch, center, 0
    else:
        reign = Reign(
            realm=realm,
            epoch=center.epoch,
            children=Children(realm=realm),
            superiors=Superiors(node=table.me, realm=realm),
            center=center,
        )
        table.reigns[realm] = reign
        for node, rtt_us in sorted(house.view(0).rtt_us.items()):  # links that were there before the reign
            reign.superiors.path_measured(now_ns, node, rtt_us)
    table.islands.pop(realm, None)
    table.site_changed(realm)
    fields: dict[str, str | int] = {"realm": center.path, "epoch": center.epoch.number, "primary": table.me}
    name = "island" if center.epoch.provisional else "center"
    effects: list[Effect] = [Notice(name=name, fields=fields)]
    effects += rebuild(table, now_ns, reign, house)
    effects += _tell_strays(table, reign, house)
    for other in table.reigns.values():
        if realm in other.superiors.parents:  # a realm of this node's is below this one: it hears of it as others do
            effects += other.superiors.center_told(now_ns, table.me, reign.center)
    table.soon(now_ns)
    return effects


def _tell_strays(table: Table, reign: Reign, house: House) -> list[Effect]:
    """Say it also to those who may speak for children and are not registered: one of them may stand in for this center."""
    seat = table.seats.get(reign.realm)
    records = seat.charter.children.values() if seat is not None else ()
    told = set(audience(table, reign, house))
    strays = sorted({contact.node for record in records for contact in record.council} - told - {table.me})
    return [Send(node=node, message=CenterTold(center=reign.center)) for node in strays if house.is_linked(node)]


def end(table: Table, now_ns: int, realm: RealmId, house: House, successor: Center | None = None) -> list[Effect]:
    """This node is the primary of a realm no more; its children are told where to go, if that is known."""
    reign = table.reigns.pop(realm, None)
    if reign is None:
        return []
    for parent in reign.superiors.parents:
        table.islands.pop(parent, None)
    effects: list[Effect] = [
        Notice(name="center ended", fields={"realm": reign.center.path, "epoch": reign.epoch.number})
    ]
    for child in reign.children.children.values():
        refused = RegisterRefused(parent=realm, child=child.realm, why="its center changed", center=successor)
        effects.append(Send(node=child.primary, message=refused))
    table.site_changed(realm)
    effects += links.rewelcome(table, now_ns, house)
    table.soon(now_ns)
    return effects


def rebuild(table: Table, now_ns: int, reign: Reign, house: House) -> list[Effect]:
    """Say anew what the center is; tell it where it changed."""
    me = house.contact_of(table.me)
    if me is None:
        return []
    old, seat = reign.center, table.seats.get(reign.realm)
    if seat is not None and not reign.epoch.provisional:
        center = center_by(seat.charter, me, reign.epoch, old)
    else:
        center = msgspec.structs.replace(old, primary=me, epoch=reign.epoch)
    center = below(center, reign.superiors.center())
    heirs = reign.children.heirs() or center.heirs
    center = msgspec.structs.replace(center, heirs=heirs, load_permille=reign.children.load_permille())
    reign.superiors.allow(now_ns, _contacts_above(table, center))
    if center == old and reign.told_ns:
        return []
    reign.center = center
    table.centers.known[reign.realm] = center
    table.site_changed(reign.realm)
    effects = links.rewelcome(table, now_ns, house)
    return effects + tell(table, now_ns, reign, house)


def _contacts_above(table: Table, center: Center) -> dict[RealmId, tuple[Contact, ...]]:
    """Return who may know the center of each allowed parent: its council as it was last, its heirs, and who is in the charter."""
    above: dict[RealmId, tuple[Contact, ...]] = {}
    seat = table.seats.get(center.realm)
    for parent in center.parents:
        known = table.centers.known.get(parent.realm)
        record = seat.charter.parents.get(parent.realm) if seat is not None else None
        heirs, named = known.heirs if known is not None else (), record.contacts if record is not None else ()
        above[parent.realm] = tuple({contact.node: contact for contact in (*parent.contacts, *heirs, *named)}.values())
    return above


def tell(table: Table, now_ns: int, reign: Reign, house: House) -> list[Effect]:
    """Say to all whom it concerns who the center is."""
    reign.told_ns = now_ns
    told = CenterTold(center=reign.center)
    return [Send(node=node, message=told) for node in audience(table, reign, house)]


def audience(table: Table, reign: Reign, house: House) -> list[NodeId]:
    """Return who is to know of a reign: a site's members; of a realm above, its council and who speaks for its children."""
    if reign.realm == table.site:
        return [node for node in house.members() if node != table.me]
    contacts = [*reign.center.council, *reign.center.heirs]
    nodes = {contact.node for contact in contacts} | {child.primary for child in reign.children.children.values()}
    return sorted(node for node in nodes if node != table.me)


def look_for_center(table: Table, now_ns: int, house: House) -> list[Effect]:
    """Stand in where the site's center cannot be reached; and where this node is no center, look again when told."""
    table.look_ns = now_ns + limits.CENTER_LOOK_NS
    known = table.centers.known.get(table.site)
    alive = house.alive()
    reachable = table.site in table.reigns or (
        known is not None and known.primary.node != table.me and known.primary.node in alive
    )
    ranking = [] if reachable else ranked(alive, house)
    if not table.island.look(now_ns, reachable=reachable, ranking=ranking, me=table.me):
        return []
    me = house.contact_of(table.me)
    if me is None:
        return []
    epoch = table.centers.next_provisional(table.site)
    old = known or _unknown_site(table, me)
    center = msgspec.structs.replace(old, epoch=epoch, primary=me)
    table.island.look(now_ns, reachable=True, ranking=[], me=table.me)
    return begin(table, now_ns, table.site, center, house)


def _unknown_site(table: Table, me: Contact) -> Center:
    return Center(
        realm=table.site,
        name=table.name,
        level=table.level,
        epoch=Epoch(),
        primary=me,
        council=(),
        path=table.name,
        lineage=(table.site,),
    )


def stand_in_above(table: Table, now_ns: int, reign: Reign, house: House) -> list[Effect]:
    """Keep a realm above together where its council cannot be reached and this node is the first of the heirs that can."""
    effects: list[Effect] = []
    me = house.contact_of(table.me)
    for parent in list(reign.superiors.parents.values()):
        center = table.centers.known.get(parent.realm)
        heirs = center.heirs if center is not None and parent.realm not in table.reigns else ()
        ranking = [heir.node for heir in heirs if house.is_linked(heir.node)]
        if center is None or me is None or table.me not in ranking:
            table.islands.pop(parent.realm, None)
            continue
        island = table.islands.setdefault(parent.realm, Island())
        reachable = bool(reign.superiors.active)
        if island.look(now_ns, reachable=reachable, ranking=ranking, me=table.me):
            epoch = table.centers.next_provisional(parent.realm)
            stand_in = msgspec.structs.replace(center, epoch=epoch, primary=me)
            effects += begin(table, now_ns, parent.realm, stand_in, house)
    return effects


def own_fitness(table: Table, house: House) -> int:
    """Return how fit this node is."""
    offer = house.site_offers().get(table.me)
    return 0 if offer is None else fitness(offer)


def ranked(nodes: list[NodeId], house: House) -> list[NodeId]:
    """Return nodes of the site, the fittest first, by what all of them know of each other alike."""
    offers = house.site_offers()
    return sorted(nodes, key=lambda node: (-fitness(offers[node]) if node in offers else 0, node))
