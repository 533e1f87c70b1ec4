"""Contacts and centers for tests, in one line each."""

from __future__ import annotations

from worldos.model.ids import NodeId
from worldos.model.realm import Center, Contact, Epoch, Level, RealmId, Register
from worldos.model.summary import Line, Summary

SECOND = 10**9


def contact(node: str, site: str = "") -> Contact:
    return Contact(node=NodeId(node), name=node, site=RealmId(site or f"site of {node}"), root_cert=b"", addresses=())


def center(
    realm: str,
    *council: str,
    number: int = 1,
    provisional: bool = False,
    level: Level = Level.ENTERPRISE,
    above: tuple[str, ...] = (),
    load: int = 0,
) -> Center:
    seats = tuple(contact(node) for node in council)
    return Center(
        realm=RealmId(realm),
        name=realm,
        level=level,
        epoch=Epoch(number, provisional),
        primary=seats[0],
        council=seats,
        path="/".join((*above, realm)),
        lineage=tuple(RealmId(one) for one in (*above, realm)),
        load_permille=load,
    )


def register(
    child: str,
    *council: str,
    parent: str = "acme",
    number: int = 1,
    provisional: bool = False,
    level: Level = Level.HOME,
    fitness: int = 100,
    summary: Summary | None = None,
    others: int = 0,
) -> Register:
    return Register(
        parent=RealmId(parent),
        child=RealmId(child),
        name=child,
        level=level,
        epoch=Epoch(number, provisional),
        council=tuple(contact(node) for node in council),
        fitness=fitness,
        summary=summary or cpus(1000),
        others=others,
    )


def cpus(free: int, *, largest: int = 0, nodes: int = 1, depth: int = 0, lent: bool = True) -> Summary:
    line = Line(kind="CPU", speed=13, free=free, largest=largest or free, nodes=nodes, lent=lent)
    return Summary(lines=(line,) if free else (), nodes=nodes, depth=depth)
