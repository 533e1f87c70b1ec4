"""Links: with which nodes of other accounts this one may be linked, as its seats and reigns have it."""

from __future__ import annotations

from worldos.kernel.effects import Effect
from worldos.kernel.house import House
from worldos.kernel.realms.table import GUEST, Table
from worldos.model import limits
from worldos.model.realm import (
    Contact,
)


def rewelcome(table: Table, now_ns: int, house: House) -> list[Effect]:
    """Let those come whom this node's seats and reigns are about, and nobody else for these reasons."""
    wanted: dict[str, list[Contact]] = {}
    for realm, seat in table.seats.items():
        if realm != table.site:
            wanted[f"council of {realm}"] = list(seat.contacts)
        for child, record in seat.charter.children.items():
            wanted[f"child {child}"] = list(record.council)
    for reign in table.reigns.values():
        if reign.epoch.provisional and reign.realm != table.site:
            wanted[f"council of {reign.realm}"] = list(reign.center.council)  # who stands in resigns to them
        wanted[f"superiors of {reign.realm}"] = list(reign.superiors.wanted())
        for registered in reign.children.children.values():
            wanted.setdefault(f"child {registered.realm}", list(registered.council))
    effects: list[Effect] = []
    for reason in sorted({*wanted, *table.kin.counts} - {GUEST}):
        contacts = [contact for contact in wanted.get(reason, ()) if not house.is_member(contact.node)]
        effects += table.kin.replace(now_ns, reason, contacts)
    return effects


def part_with_guests(table: Table, now_ns: int, house: House) -> list[Effect]:
    """Part with guests whose time is over, except those with whom there is business."""
    for node, kinsman in table.kin.table.items():
        if kinsman.reasons.get(GUEST, limits.NEVER_NS) <= now_ns and house.has_business(node):
            table.kin.welcome(now_ns, kinsman.contact, GUEST, now_ns + limits.GUEST_NS)
    return table.kin.expire(now_ns)
