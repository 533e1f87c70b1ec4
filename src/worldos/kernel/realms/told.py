"""What other primaries say of themselves. Of two that meet, the one of the newer epoch stays; a council outbids an island.

Two *councils* of one realm that have no member in common come about when an account was recovered on a bare machine while its
other devices were away. Then the one with more seats stays, of equals the one of the newer epoch; the other gives up its seats.
"""

from __future__ import annotations

from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.house import House
from worldos.kernel.realms import reigns, seating
from worldos.kernel.realms.table import Table
from worldos.kernel.reign import Reign
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Center,
    CenterTold,
    RealmId,
    rank,
)


def center_told(table: Table, now_ns: int, peer: NodeId, center: Center, house: House) -> list[Effect]:
    """A primary says who it is. Of two that meet, the one of the newer epoch stays; a legitimate one outbids an island."""
    realm = center.realm
    if peer != center.primary.node or peer == table.me or not _concerns(table, peer, realm, house):
        return []
    mine = table.reigns.get(realm)
    if mine is None:
        return _believe(table, now_ns, center, house)
    if not mine.epoch.provisional and not center.epoch.provisional and _are_rivals(table, realm, center):
        return _rival_told(table, now_ns, mine, center, house)
    newer = rank(center.epoch) > rank(mine.epoch) or (center.epoch == mine.epoch and center.primary.node < table.me)
    if not newer:
        return [Send(node=peer, message=CenterTold(center=mine.center))]
    if table.may_act(now_ns, realm) and not mine.epoch.provisional and center.epoch.provisional:
        return seating.outbid(table, now_ns, realm, center.epoch, house)
    return [*reigns.end(table, now_ns, realm, house, center), *_believe(table, now_ns, center, house)]


def _are_rivals(table: Table, realm: RealmId, center: Center) -> bool:
    """Tell whether another council than this node's claims the realm."""
    seat = table.seats.get(realm)
    if seat is None or not center.council:
        return False
    config = seat.raft.log.config
    here = {*config.voters, *config.learners}
    return here.isdisjoint(contact.node for contact in center.council)


def _rival_told(table: Table, now_ns: int, mine: Reign, center: Center, house: House) -> list[Effect]:
    """Give way to the stronger of two councils, or outbid the weaker one; both sides come to the same result."""
    if _strength(center) < _strength(mine.center):
        told: list[Effect] = [Send(node=center.primary.node, message=CenterTold(center=mine.center))]
        return told + seating.outbid(table, now_ns, center.realm, center.epoch, house)
    effects: list[Effect] = [Notice(name="council given up", fields={"realm": center.path, "to": center.primary.node})]
    effects += reigns.end(table, now_ns, center.realm, house, center)
    effects += seating.give_up(table, now_ns, center.realm, house)
    return effects + _believe(table, now_ns, center, house)


def _strength(center: Center) -> tuple[int, tuple[int, bool], NodeId]:
    return (len(center.council), rank(center.epoch), center.primary.node)


def _believe(table: Table, now_ns: int, center: Center, house: House) -> list[Effect]:
    if not table.centers.hear(center):
        return []
    table.site_changed(center.realm)
    effects: list[Effect] = []
    seat = table.seats.get(center.realm)
    if seat is not None:
        effects += seating.sat(table, now_ns, seat, seat.center_told(now_ns, center), house)
    for reign in table.reigns.values():
        if center.realm in reign.superiors.parents:
            effects += reign.superiors.center_told(now_ns, center.primary.node, center)
            effects += reigns.rebuild(table, now_ns, reign, house)
    table.soon(now_ns)
    return effects


def _concerns(table: Table, peer: NodeId, realm: RealmId, house: House) -> bool:
    if realm == table.site:
        return house.is_member(peer)
    return realm in table.seats or realm in table.reigns or table.is_above(realm, peer) or table.is_allowed(realm)
