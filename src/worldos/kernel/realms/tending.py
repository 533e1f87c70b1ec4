"""Tending: what a primary does as time goes on: looks after its children, its council, its summary and its superior."""

from __future__ import annotations

from worldos.kernel.effects import Effect
from worldos.kernel.house import House
from worldos.kernel.realms import reigns, seating
from worldos.kernel.realms.table import Table
from worldos.kernel.reign import Reign
from worldos.kernel.summary import differs, summarize
from worldos.model import limits
from worldos.model.realm import (
    Contact,
    Register,
    rank,
)

SPEAKERS_MAX = 8  # a site's superior is told its council, then the fittest others


def tend(table: Table, now_ns: int, reign: Reign, house: House) -> list[Effect]:
    """Look after one realm: children that are silent, the superior, the council, what is told."""
    if not table.may_act(now_ns, reign.realm):
        return reigns.end(table, now_ns, reign.realm, house)
    effects: list[Effect] = []
    if reign.children.due_ns <= now_ns:
        effects += reign.children.tick(now_ns)
    if rank(reign.superiors.seen) > rank(reign.epoch) and not reign.epoch.provisional:
        effects += seating.outbid(table, now_ns, reign.realm, reign.superiors.seen, house)
    if reign.look_ns <= now_ns:
        reign.look_ns = now_ns + limits.CENTER_LOOK_NS
        effects += reigns.rebuild(table, now_ns, reign, house)
        _sum_up(table, now_ns, reign, house)
        seat = table.seats.get(reign.realm)
        if seat is not None and not reign.epoch.provisional:
            effects += seating.sat(table, now_ns, seat, seat.tend(now_ns, seating.seatable(table, reign, house)), house)
    effects += reigns.stand_in_above(table, now_ns, reign, house)
    if now_ns - reign.told_ns >= limits.CENTER_TELL_NS:
        effects += reigns.tell(table, now_ns, reign, house)
    effects += _register_above(table, now_ns, reign, house)
    return effects


def _sum_up(table: Table, now_ns: int, reign: Reign, house: House) -> None:
    """Say anew what the realm has free; the superior is told if that changed by more than a tenth."""
    if reign.realm == table.site:
        summary = summarize(house.site_offers().values(), lend=reign.center.lend == "kin")
    else:
        summary = reign.children.summary()
    if reign.superiors.said is None or differs(reign.superiors.said.summary, summary):
        reign.superiors.due_ns = min(reign.superiors.due_ns, now_ns)
    reign.summary = summary


def _register_above(table: Table, now_ns: int, reign: Reign, house: House) -> list[Effect]:
    """Be registered with the best superior that there is."""
    if reign.superiors.due_ns > now_ns:
        return []
    if not (reign.center.parents or reign.superiors.parents):
        reign.superiors.due_ns = limits.NEVER_NS  # until a parent is allowed
        return []
    register = Register(
        parent=reign.realm,
        child=reign.realm,
        name=reign.center.name,
        level=reign.center.level,
        epoch=reign.epoch,
        council=_speakers(table, reign, house),
        fitness=reigns.own_fitness(table, house),
        summary=reign.summary,
    )
    return reign.superiors.tick(now_ns, register)


def _speakers(table: Table, reign: Reign, house: House) -> tuple[Contact, ...]:
    """Return who may speak for a realm, its primary first: its council, then who would stand in."""
    contacts = {contact.node: contact for contact in (reign.center.primary, *reign.center.council)}
    if reign.realm == table.site:
        for node in reigns.ranked(house.alive(), house):
            contact = house.contact_of(node)
            if contact is not None and len(contacts) < SPEAKERS_MAX:
                contacts.setdefault(node, contact)
    else:
        for contact in reign.center.heirs:
            if len(contacts) < SPEAKERS_MAX:
                contacts.setdefault(contact.node, contact)
    return tuple(contacts.values())[:SPEAKERS_MAX]
