"""The realms around a node as rows that commands draw and programs read: one row a realm, each with what is known of it here.

A node knows the way from the top to its own site; the primary of a realm knows the children too. What is not known is empty, 0 or
``None``. Amounts in the kinds' base units, ``heard_s`` how long ago its registration (below or above) was renewed.
"""

from __future__ import annotations

from typing import Any

from worldos.kernel.children import Child
from worldos.kernel.reign import Reign
from worldos.kernel.summary import summarize
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import Center, Contact, ParentRecord, RealmId
from worldos.model.resource import Kind
from worldos.model.summary import Summary
from worldos.node import Node

Row = dict[str, Any]
SECOND = 1_000_000_000


def rows(node: Node, now_ns: int) -> list[Row]:
    """Return a row for every realm that this node knows of, the topmost first."""
    known: dict[RealmId, Row] = {}
    centers = _around(node)
    for center in centers:
        for row in _way(center):
            known.setdefault(row["realm"], row)
        for parent in center.parents:
            known[parent.realm] = _of_parent(parent, known.get(parent.realm))
    for reign in node.realms.reigns.values():
        for child in reign.children.children.values():
            known[child.realm] = _of_child(node, now_ns, reign, child)
    for center in centers:
        row = _of_center(node, now_ns, center)
        if row["heard_s"] is None and center.realm in known:  # below one of ours, it was heard there
            row["heard_s"] = known[center.realm]["heard_s"]
        known[center.realm] = row
    mine = node.realms.centers.known.get(node.realms.site)
    lineage = mine.lineage if mine is not None else ()
    for realm, row in known.items():
        row["mine"] = realm == node.realms.site
        row["here"] = realm in lineage
    return sorted(known.values(), key=lambda row: (row["path"].count("/"), row["path"], row["realm"]))


def _around(node: Node) -> list[Center]:
    """Return the centers of the realms that concern this node now: its site, its seats and reigns, and all above them."""
    realms = node.realms
    wanted, found = [realms.site, *realms.seats, *realms.reigns], dict[RealmId, Center]()
    while wanted:
        realm = wanted.pop()
        center = realms.centers.known.get(realm)
        if center is not None and realm not in found:
            found[realm] = center
            wanted += [*center.lineage, *(parent.realm for parent in center.parents)]
    return [found[realm] for realm in sorted(found)]


def detail(node: Node, now_ns: int, row: Row) -> Row:
    """Return all that is known of one realm: its council, parents, children and policy too."""
    realm = RealmId(row["realm"])
    center, seat = node.realms.centers.known.get(realm), node.realms.seats.get(realm)
    reign = node.realms.reigns.get(realm)
    council = center.council if center is not None else ()
    policy = {"lend": center.lend} if center is not None else {}
    return {
        **row,
        "council": [contact.name for contact in council],
        "voters": len(seat.raft.log.config.voters) if seat is not None else 0,  # the others are still learning
        "parents": [parent.path for parent in center.parents] if center is not None else [],
        "children": [] if reign is None else [_of_child(node, now_ns, reign, child) for child in _sorted(reign)],
        "policy": {**policy, **(seat.charter.policy if seat is not None else {})},
    }


def _way(center: Center) -> list[Row]:
    """Return a row for each realm on the way from the top: its name, and nothing else that is known."""
    names = center.path.split("/")
    if len(names) != len(center.lineage):
        return []
    return [
        _row(realm, name, "/".join(names[: at + 1]), center.lineage[at - 1] if at else "")
        for at, (realm, name) in enumerate(zip(center.lineage, names, strict=True))
    ]


def _of_parent(parent: ParentRecord, known: Row | None) -> Row:
    row = known or _row(parent.realm, parent.name, parent.path, "")
    return {**row, "level": parent.level.name.lower(), "rank": int(parent.level)}


def _of_child(node: Node, now_ns: int, reign: Reign, child: Child) -> Row:
    row = _row(child.realm, child.name, f"{reign.center.path}/{child.name}", reign.realm)
    return {
        **row,
        "level": child.level.name.lower(),
        "rank": int(child.level),
        **_led(node, child.council[0], child.epoch.number, provisional=child.epoch.provisional),
        **_free(child.summary),
        "heard_s": _ago(now_ns, child.end_ns - limits.REGISTER_TTL_NS),
        "rtt_us": child.rtt_us or _rtt_us(node, child.primary),
    }


def _of_center(node: Node, now_ns: int, center: Center) -> Row:
    above = center.lineage[-2] if len(center.lineage) > 1 else ""
    row = _row(center.realm, center.name, center.path, above)
    return {
        **row,
        "level": center.level.name.lower(),
        "rank": int(center.level),
        **_led(node, center.primary, center.epoch.number, provisional=center.epoch.provisional),
        **_free(_summary(node, center.realm)),
        "heard_s": _renewed_s(node, now_ns, center.realm),
        "rtt_us": _rtt_us(node, center.primary.node),
        "load_permille": center.load_permille,
        "lend": center.lend,
    }


def _row(realm: RealmId, name: str, path: str, parent: str) -> Row:
    return {
        "realm": realm,
        "name": name,
        "path": path,
        "parent": parent,
        "level": "",
        "rank": 0,
        "primary": "",
        "primary_name": "",
        "epoch": 0,
        "provisional": False,
        "leads": False,
        "nodes": 0,
        "cpu_free": 0,
        "memory_free": 0,
        "heard_s": None,
        "rtt_us": 0,
        "load_permille": 0,
        "lend": "",
    }


def _led(node: Node, primary: Contact, number: int, *, provisional: bool) -> Row:
    return {
        "primary": primary.node,
        "primary_name": primary.name,
        "epoch": number,
        "provisional": provisional,
        "leads": primary.node == node.node,
    }


def _free(summary: Summary | None) -> Row:
    if summary is None:
        return {"nodes": 0, "cpu_free": 0, "memory_free": 0}
    return {
        "nodes": summary.nodes,
        "cpu_free": sum(line.free for line in summary.lines if line.kind == Kind.CPU),
        "memory_free": sum(line.free for line in summary.lines if line.kind == Kind.MEMORY),
    }


def _summary(node: Node, realm: RealmId) -> Summary | None:
    if realm == node.realms.site:
        return summarize(node.site_offers().values(), lend=False)
    reign = node.realms.reigns.get(realm)
    return None if reign is None else reign.children.summary()


def _renewed_s(node: Node, now_ns: int, realm: RealmId) -> float | None:
    """Return how long ago one of our realms registered with this one."""
    for reign in node.realms.reigns.values():
        superiors = reign.superiors
        if superiors.active == realm and superiors.said is not None:
            return _ago(now_ns, superiors.said_ns)
    return None


def _rtt_us(node: Node, primary: NodeId) -> int:
    path = node.paths.get(primary)
    return path.rtt_us if path is not None else 0


def _ago(now_ns: int, then_ns: int) -> float:
    return round(max(0, now_ns - then_ns) / SECOND, 1)


def _sorted(reign: Reign) -> list[Child]:
    return sorted(reign.children.children.values(), key=lambda child: (child.name, child.realm))
