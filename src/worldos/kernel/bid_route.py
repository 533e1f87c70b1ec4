"""Where a bid goes from a center: to which children, in which order, and whether further up.

A center knows of each child only its summary and how often that came true; the path of a realm limits where a bid that says
``within`` may go. Source: DESIGN.md section 6.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.question import is_within
from worldos.kernel.summary import may_fill, promises
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import BidAsk, RealmId
from worldos.model.summary import Summary


class ChildRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A child that may be asked: its primary, where it is, what it has free, and how far that is believed (0 to 1000)."""

    realm: RealmId
    node: NodeId
    path: str
    summary: Summary
    credibility: int = limits.CREDIT_MAX


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What the center of ``realm`` knows around itself: its superior (realm and primary), and its children."""

    realm: RealmId
    path: str = ""
    superior: tuple[RealmId, NodeId] | None = None
    children: tuple[ChildRoute, ...] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A realm that will be asked, and its primary. ``promised``: its summary said outright that it can."""

    realm: RealmId
    node: NodeId
    is_child: bool = False
    promised: bool = False


def children_to_ask(ask: BidAsk, route: Route) -> list[Target]:
    """Return the children that might fill the needs, best first: by summary times credibility, near ones before others."""
    ranked: list[tuple[int, RealmId, ChildRoute]] = []
    passed = {*ask.trail, route.realm}
    for child in route.children:
        if child.realm in passed or not may_contain(ask.within, child.path, deepest=child.summary.depth == 0):
            continue
        points = may_fill(child.summary, ask.needs, stranger=child.realm != ask.home.site and not _is_named(ask, child))
        if not points:
            continue
        near = 1 + any(need.near and is_within(need.near, child.path) for need in ask.needs)
        weight = points * near * max(1, min(child.credibility, limits.CREDIT_MAX))
        ranked.append((-weight, child.realm, child))
    ranked.sort(key=lambda each: each[:2])
    return [_target(ask, child) for _, _, child in ranked[: limits.BID_FANOUT * limits.BID_ROUNDS_MAX]]


def keeping(ask: BidAsk, route: Route) -> list[str]:
    """Return the names of children that seem to have room, but lend it to nobody of another account."""
    names: list[str] = []
    for child in route.children:
        if child.realm in {*ask.trail, route.realm, ask.home.site} or not may_contain(
            ask.within, child.path, deepest=child.summary.depth == 0
        ):
            continue
        if may_fill(child.summary, ask.needs, stranger=False) and not may_fill(child.summary, ask.needs, stranger=True):
            names.append(child.path.rpartition("/")[2])
    return sorted(names)


def _is_named(ask: BidAsk, child: ChildRoute) -> bool:
    """Tell whether just this site was asked for: it knows itself to whom it gives what it does not lend to all."""
    if not ask.within or child.summary.depth or not is_within(ask.within, child.path):
        return False
    named = ask.within.strip("/").rpartition("/")[2]
    return named.casefold() == child.path.rpartition("/")[2].casefold()


def _target(ask: BidAsk, child: ChildRoute) -> Target:
    promised = not ask.within and promises(child.summary, ask.needs, stranger=child.realm != ask.home.site)
    return Target(realm=child.realm, node=child.node, is_child=True, promised=promised)


def superior_to_ask(ask: BidAsk, route: Route) -> Target | None:
    """Return the superior if the bid may go further up: it did not come down, and there is more above than is asked for."""
    if route.superior is None or ask.down:
        return None
    realm, node = route.superior
    if realm in ask.trail or realm == route.realm:
        return None
    above = "/".join(route.path.strip("/").split("/")[:-1])
    if ask.within and is_within(ask.within, route.path) and not is_within(ask.within, above):
        return None  # this is the realm that was meant, so all of it lies here
    return Target(realm=realm, node=node)


def may_contain(within: str, path: str, *, deepest: bool) -> bool:
    """Tell whether a realm of this path, or one below it, may lie in ``within``; ``deepest``: there is none below it.

    ``acme/berlin`` names a part of a path, wherever it begins, so a realm whose path does not name ``acme`` may still hold it
    further down; one whose path names ``acme`` and goes on with ``paris`` does not.
    """
    if not within or not path or is_within(within, path):
        return True
    if deepest:
        return False
    outer = within.casefold().strip("/").split("/")
    inner = path.casefold().strip("/").split("/")
    starts = [at for at, name in enumerate(inner) if name == outer[0]]
    return not starts or any(inner[at:] == outer[: len(inner) - at] for at in starts)
