"""Bidding: needs of this site that go up, and needs of others that come down; and who may come as a guest because of them."""

from __future__ import annotations

import msgspec

from worldos.kernel.bid_route import ChildRoute, Route
from worldos.kernel.bids import BidResult, ChildDoubted
from worldos.kernel.candidates import candidates
from worldos.kernel.decisions import decided
from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.house import House
from worldos.kernel.realms.table import GUEST, Table
from worldos.kernel.reign import Reign
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.realm import (
    BidAnswer,
    BidAsk,
    Candidate,
    Contact,
    GuestTold,
)


def look_further(table: Table, now_ns: int, needs: tuple[Need, ...], house: House) -> tuple[int, list[Effect]]:
    """Ask for candidates of other sites; ``found`` has them later under this number. 0: nobody can be asked."""
    center = table.centers.known.get(table.site)
    me = house.contact_of(table.me)
    if center is None or me is None:
        return 0, []
    bid, sends = table.bids.start(now_ns, me, needs, needs[0].realm, center.primary.node, table.site)
    table.soon(now_ns)
    return bid, list(sends)


def asked(table: Table, now_ns: int, peer: NodeId, ask: BidAsk, house: House) -> list[Effect]:
    """Somebody asks this node as the center of a realm."""
    reign = table.reigns.get(ask.realm)
    if reign is None or not table.may_act(now_ns, ask.realm):
        why = "this node is not the center of that realm"
        answer = BidAnswer(bid=ask.bid, home=ask.home.node, realm=ask.realm, candidates=(), why=why, hops=ask.hops)
        return [Send(node=peer, message=answer)]
    here: tuple[Candidate, ...] | None = None
    effects: list[Effect] = []
    if ask.realm == table.site and ask.home.site != table.site:
        here = _candidates(table, now_ns, ask, reign, house)
        effects += _introduce(table, now_ns, ask.home, here, reign)
        nodes = " ".join(candidate.contact.node for candidate in here)
        why = "the best of this site for what another asked"
        effects.append(decided("named", ask.home.node, why, bid=ask.bid, needs=len(ask.needs), nodes=nodes))
    results = table.bids.asked(now_ns, peer, ask, _route(table, now_ns, reign, house), here)
    return effects + came(table, now_ns, results, house)


def _candidates(table: Table, now_ns: int, ask: BidAsk, reign: Reign, house: House) -> tuple[Candidate, ...]:
    view = house.view(ask.bid)
    view = msgspec.structs.replace(view, account=ask.home.site, home=ask.home.node)
    return candidates(
        needs=ask.needs,
        offers=house.offers_to(ask.home.node),
        view=view,
        contact_of=house.contact_of,
        realm=reign.realm,
        epoch=reign.epoch,
    )


def _introduce(table: Table, now_ns: int, guest: Contact, found: tuple[Candidate, ...], reign: Reign) -> list[Effect]:
    """Let the nodes that were named know who may come."""
    effects: list[Effect] = []
    if found:
        table.introduced[guest.node] = guest.site
        if len(table.introduced) > limits.KIN_MAX:
            del table.introduced[next(iter(table.introduced))]
    for candidate in found:
        node = candidate.contact.node
        told = GuestTold(guest=guest, realm=reign.realm, epoch=reign.epoch, ttl_ns=limits.GUEST_NS)
        if node == table.me:
            effects += table.kin.welcome(now_ns, guest, GUEST, now_ns + limits.GUEST_NS)
        else:
            effects.append(Send(node=node, message=told))
    return effects


def guest_told(table: Table, now_ns: int, peer: NodeId, message: GuestTold, house: House) -> list[Effect]:
    """The center of this site sends a guest; an older center's word counts for nothing.

    To who stands in for a realm, its council may send a guest as well: one that wants to register there.
    """
    reign = table.reigns.get(message.realm)
    if reign is not None and reign.epoch == message.epoch and reign.epoch.provisional:
        may_vouch = any(contact.node == peer for contact in reign.center.council)
        until_ns = now_ns + min(message.ttl_ns, limits.GUEST_NS)
        return table.kin.welcome(now_ns, message.guest, GUEST, until_ns) if may_vouch else []
    known = table.centers.known.get(table.site)
    if message.realm != table.site or known is None or known.primary.node != peer or not house.is_member(peer):
        return []
    if table.centers.is_stale(table.site, message.epoch):
        return [Notice(name="stale center", fields={"node": peer, "epoch": message.epoch.number})]
    until_ns = now_ns + min(message.ttl_ns, limits.GUEST_NS)
    return table.kin.welcome(now_ns, message.guest, GUEST, until_ns)


def _route(table: Table, now_ns: int, reign: Reign, house: House) -> Route:
    superior = reign.superiors.superior()
    if superior is not None and superior[1] != table.me and not house.is_linked(superior[1]):
        superior = None  # cut off: better no answer now than none until the asker gives up
    return Route(
        realm=reign.realm,
        path=reign.center.path,
        superior=superior,
        children=tuple(
            ChildRoute(
                realm=child.realm,
                node=child.primary,
                path=f"{reign.center.path}/{child.name}",
                summary=child.summary,
                credibility=reign.children.credibility(now_ns, child.realm),
            )
            for child in reign.children.children.values()
        ),
    )


def came(table: Table, now_ns: int, results: list[BidResult], house: House) -> list[Effect]:
    """Carry out what bids came to."""
    effects: list[Effect] = []
    for result in results:
        if isinstance(result, Send):
            effects.append(result)
        elif isinstance(result, ChildDoubted):
            reign = table.reigns.get(result.realm)
            if reign is not None:
                reign.children.failed(now_ns, result.child)
        else:
            for candidate in result.candidates:
                if not house.is_member(candidate.contact.node):
                    until_ns = now_ns + limits.GUEST_NS
                    effects += table.kin.welcome(now_ns, candidate.contact, GUEST, until_ns)
            table.found.append(result)
    table.due_ns = min(table.due_ns, table.bids.due_ns)
    return effects
