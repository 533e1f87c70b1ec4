"""The charters as a person on this machine changes them: what this node's realms are to others, and the commands for both sides.

A command goes to the realm's primary, wherever it is, and is in the charter when the call returns; refused it raises the reason.
"""

from __future__ import annotations

from typing import Protocol

from worldos.errors import NotAllowed
from worldos.kernel.charter import (
    ChildAdmitted,
    ChildLeft,
    Command,
    Named,
    ParentAdded,
    ParentLeft,
    PolicySet,
    encode_command,
)
from worldos.model.ids import NodeId
from worldos.model.parentage import Child, Parent
from worldos.model.realm import COUNCIL_MAX, Center, Contact, Level, ParentRecord, RealmId
from worldos.node import Node


class Owner(Protocol):
    """The agent, as the charters see it."""

    node: Node

    async def propose(self, realm: RealmId, command: bytes) -> None:
        """Have a command put into a realm's charter; raise Refused with the reason where it is not."""


class Charters:
    """What a person may do to the realms of one agent (``realm_door.Realms``)."""

    def __init__(self, agent: Owner) -> None:
        self._agent = agent

    def parent_record(self, realm: RealmId) -> Parent:
        """Say what a realm is to one that goes below it."""
        node = self._agent.node
        center = self._center(realm)
        if realm == node.realms.site:
            why = f"{center.name} is a realm of devices: no realm goes below it"
            raise NotAllowed(why, hint="begin one over it: wos realm create NAME")
        if realm not in node.realms.seats:
            hint = f"run it on a machine of its council: {_names(center)}"
            raise NotAllowed(f"this machine has no seat in the council of {center.name}", hint=hint)
        return Parent(
            realm=realm,
            name=center.name,
            level=center.level,
            path=center.path,
            lineage=center.lineage,
            council=_speakers(center),
        )

    def child_record(self, realm: RealmId) -> Child:
        """Say what a realm is to one that it goes below."""
        center = self._center(realm)
        return Child(realm=realm, name=center.name, level=center.level, council=_speakers(center))

    async def admit_child(self, realm: RealmId, child: Child, node: NodeId) -> None:
        """Have a realm's charter admit a child. One that is there already is replaced by those who speak for it alone."""
        seat = self._agent.node.realms.seats.get(realm)
        record = seat.charter.children.get(child.realm) if seat is not None else None
        if record is not None and all(contact.node != node for contact in record.council):
            hint = f"if it is the same all the same, put the old one out first: wos realm remove {record.name}"
            raise NotAllowed(f"{record.name} is here already, and this machine does not speak for it", hint=hint)
        known = self._agent.node.realms.centers.known.get(realm)
        command = ChildAdmitted(
            realm=child.realm,
            name=child.name,
            level=child.level,
            council=child.council,
            lineage=known.lineage[:-1] if known is not None else (),
        )
        await self._propose(realm, command)

    async def add_parent(self, realm: RealmId, parent: Parent) -> None:
        """Have a realm's charter allow a parent."""
        record = ParentRecord(
            realm=parent.realm, name=parent.name, level=parent.level, path=parent.path, contacts=parent.council
        )
        await self._propose(realm, ParentAdded(parent=record, lineage=parent.lineage))

    async def leave_parent(self, realm: RealmId, parent: RealmId) -> None:
        """Have a realm's charter allow a parent no more."""
        await self._propose(realm, ParentLeft(realm=parent))

    async def let_child_go(self, realm: RealmId, child: RealmId) -> None:
        """Have a realm's charter forget a child."""
        await self._propose(realm, ChildLeft(realm=child))

    async def set_policy(self, realm: RealmId, key: str, value: str) -> None:
        """Change a rule of a realm."""
        await self._propose(realm, PolicySet(key=key, value=value))

    async def name(self, realm: RealmId, name: str, level: Level) -> None:
        """Say what a realm is called, and how much it holds together."""
        await self._propose(realm, Named(name=name, level=level))

    def own_top(self) -> RealmId:
        """Return the topmost realm that was begun on this account, whoever leads it now: what one means by "my realm"."""
        realms = self._agent.node.realms
        known = realms.centers.known
        top, seen = realms.site, {realms.site}
        while (center := known.get(top)) is not None:
            above = [known[parent.realm] for parent in center.parents if parent.realm in known]
            ours = [each.realm for each in above if each.owner == realms.site and each.realm not in seen]
            if len(ours) != 1:
                break
            top = ours[0]
            seen.add(top)
        return top

    def center(self, realm: RealmId) -> Center:
        """Return who is the center of a realm; raise NotAllowed where that is not known here."""
        return self._center(realm)

    def _center(self, realm: RealmId) -> Center:
        center = self._agent.node.realms.centers.known.get(realm)
        if center is None:
            hint = "see what is known here: wos realm tree"
            raise NotAllowed("this machine does not know who is the center of that realm", hint=hint)
        return center

    async def _propose(self, realm: RealmId, command: Command) -> None:
        await self._agent.propose(realm, encode_command(command))


def next_level(level: Level) -> Level:
    """Return the level above; raise NotAllowed at the top."""
    if level is Level.PLANET:
        raise NotAllowed("there is no level above planet")
    return Level(level + 1)


def _speakers(center: Center) -> tuple[Contact, ...]:
    contacts = {contact.node: contact for contact in (center.primary, *center.council)}
    return tuple(contacts.values())[:COUNCIL_MAX]


def _names(center: Center) -> str:
    return ", ".join(sorted(contact.name for contact in _speakers(center)))
