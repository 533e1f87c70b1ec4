"""A reign: what a node keeps while it is the primary of one realm. Soft state, all of it: it ends with the reign.

``center`` is what the realm's members are told. Of a site realm nobody is a child; the offers of its devices are known anyway.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.charter import Charter
from worldos.kernel.children import Children
from worldos.kernel.superior import Superiors
from worldos.model.realm import COUNCIL_MAX, Center, Contact, Epoch, RealmId
from worldos.model.summary import Summary


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
    summary_told_ns: int = 0


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
        parents=tuple(charter.parents[realm] for realm in sorted(charter.parents)),
        lend=charter.lend,
        owner=charter.owner,
    )


def below(center: Center, superior: Center | None) -> Center:
    """Return a center as it stands below its superior, or as it was while none is known."""
    if superior is None or center.realm in superior.lineage:
        return center
    path, lineage = f"{superior.path}/{center.name}", (*superior.lineage, center.realm)
    return msgspec.structs.replace(center, path=path, lineage=lineage)
