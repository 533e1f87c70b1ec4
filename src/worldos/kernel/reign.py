"""A reign: what a node keeps while it is the primary of one realm. Soft state, all of it: it ends with the reign.

``center`` is what the realm's members are told. Of a site realm nobody is a child; the offers of its devices are known anyway.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.charter import Charter
from worldos.kernel.children import Children
from worldos.kernel.superior import Superiors
from worldos.model.ids import NodeId
from worldos.model.realm import COUNCIL_MAX, Center, Contact, Epoch, ParentRecord, RealmId
from worldos.model.summary import Summary

FOUND_MAX = 4  # contacts of a parent that are told on


class Reign(msgspec.Struct, kw_only=True):
    """The primary's working table for one realm. ``look_ns``: when it looks after its council and its summary next."""

    realm: RealmId
    epoch: Epoch
    children: Children
    superiors: Superiors
    center: Center
    told_ns: int = 0
    look_ns: int = 0
    summary: Summary = Summary()


def center_by(charter: Charter, me: Contact, epoch: Epoch, old: Center | None) -> Center:
    """Return the center that a charter's primary is; the way from the top stays as it was until a superior says otherwise."""
    lineage, path = (old.lineage, old.path) if old is not None else ((charter.realm,), charter.name)
    if not charter.parents:
        lineage, path = (charter.realm,), charter.name
    elif path.rpartition("/")[2] != charter.name:
        path = "/".join((*path.split("/")[:-1], charter.name))
    return Center(
        realm=charter.realm,
        name=charter.name,
        level=charter.level,
        epoch=epoch,
        primary=me,
        council=charter.seats[:COUNCIL_MAX],
        path=path,
        lineage=lineage,
        heirs=old.heirs if old is not None else (),
        parents=_parents(charter, old),
        lend=charter.lend,
        owner=charter.owner,
    )


def below(center: Center, superior: Center | None) -> Center:
    """Return a center as it stands below its superior, or as it was while none is known."""
    if superior is None or center.realm in superior.lineage:
        return center
    path, lineage = f"{superior.path}/{center.name}", (*superior.lineage, center.realm)
    parents = tuple(
        _found_at(parent, superior.primary, *superior.council) if parent.realm == superior.realm else parent
        for parent in center.parents
    )
    return msgspec.structs.replace(center, path=path, lineage=lineage, parents=parents)


def _parents(charter: Charter, old: Center | None) -> tuple[ParentRecord, ...]:
    """Return the allowed parents, each where it was found last: who is in the charter may be long gone."""
    before = {parent.realm: parent.contacts for parent in (old.parents if old is not None else ())}
    records = [charter.parents[realm] for realm in sorted(charter.parents)]
    return tuple(_found_at(record, *before[record.realm]) if record.realm in before else record for record in records)


def _found_at(parent: ParentRecord, *contacts: Contact) -> ParentRecord:
    """Return a parent with these contacts first, and few in all: every node of a site is told, so that any can lead it next."""
    found: dict[NodeId, Contact] = {}
    for contact in (*contacts, *parent.contacts):
        found.setdefault(contact.node, contact)
    return msgspec.structs.replace(parent, contacts=tuple(found.values())[:FOUND_MAX])
