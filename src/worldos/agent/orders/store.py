"""Orders about stores: which there are and how to reach them, and what this machine lends. ``orders`` finds them by name."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import BadRequest, NotAllowed, WorldError
from worldos.model.ids import LeaseId, NodeId
from worldos.model.offer import Offer
from worldos.model.resource import Kind, Resource, ResourceState

LENT_BYTES_MAX = 1 << 60


class StoreOrders:
    """The orders about stores, by name."""

    async def order_stores(
        self,
        agent: Agent,
        call: Call,
        others: bool = False,  # noqa: FBT001, FBT002 - an order's arguments are its JSON
    ) -> list[dict[str, Any]]:
        """Every store that is known, and the socket that leads to its depot: this machine's own first.

        With ``others`` the nodes of other accounts that are linked as well: their depots answer to who knows an id, if they
        give anything away.
        """
        node = agent.node
        if agent.depots is not None:
            agent.tenancies.look(clock.now_ns(), secrets.randbits(63))
        held = [held.terms for held in node.uses.held.leases.values() if held.terms.need.kind == Kind.STORE]
        held.sort(key=lambda terms: terms.need.amount)  # of two leases there the larger one counts
        foreign = {
            terms.node: terms.lease for terms in held if not node.is_member(terms.node) and terms.node != node.node
        }
        rows = [await _row(agent, offer.node, offer, _store_of(offer)) for offer in _with_stores(agent)]
        if others:
            kin = [there for there in node.paths if there not in foreign and not node.is_member(there)]
            foreign |= {there: LeaseId("") for there in kin if node.realms.kin.has(there)}
        for there, lease in sorted(foreign.items()):
            rows.append(await _row(agent, there, None, None, lease))
        return sorted(rows, key=lambda row: (not row["here"], not row["linked"], row["rtt_us"], row["node"]))

    async def order_lend(
        self,
        agent: Agent,
        call: Call,
        amount_bytes: int = -1,
        for_: Literal["", "me", "family", "others"] = "",
    ) -> dict[str, Any]:
        """Lend so many bytes of this machine's disk to stores (-1: what it can spare, 0: none), and to whom."""
        if agent.depots is None:
            raise BadRequest("an embedded node keeps nothing", hint="start an agent: wos up")
        if not -1 <= amount_bytes <= LENT_BYTES_MAX:
            raise BadRequest(
                f"{amount_bytes} bytes cannot be lent", hint="say 50GB, 0 for nothing, -1 for what can be spared"
            )
        settings = agent.depots.lend(amount_bytes, for_ or agent.depots.settings.store_for)
        agent.scanner.look_anew()
        return {"amount_bytes": settings.store_bytes, "for": settings.store_for}


def _with_stores(agent: Agent) -> list[Offer]:
    """Return the offers of this site's nodes that keep files, this node's too where it has a depot and lends nothing."""
    node = agent.node
    known = {n: offer for n, offer in node.registry.offers.items() if n == node.node or node.is_member(n)}
    here = known.get(node.node)
    return [
        offer
        for _, offer in sorted(known.items())
        if _store_of(offer) is not None or (offer is here and agent.depots is not None and agent.depots.is_there)
    ]


def _store_of(offer: Offer) -> Resource | None:
    stores = (resource for resource in offer.resources if resource.kind == Kind.STORE)
    return next((store for store in stores if store.state is not ResourceState.OFFLINE), None)


async def _row(
    agent: Agent, there: NodeId, offer: Offer | None, store: Resource | None, lease: str = ""
) -> dict[str, Any]:
    node = agent.node
    here = there == node.node
    path = node.paths.get(there)
    contact = node.realms.kin.contact(there)
    try:
        door = await _door(agent, there, lease)
    except (WorldError, OSError):
        door = ""
    return {
        "node": there,
        "name": offer.name if offer is not None else contact.name if contact is not None else "",
        "here": here,
        "linked": here or path is not None,
        "account": node.registry.owner if here or node.is_member(there) else str(contact.site) if contact else "",
        "place": offer.place if offer is not None else "",
        "facts": {**offer.facts, **(store.facts if store is not None else {})} if offer is not None else {},
        "rtt_us": path.rtt_us if path is not None else 0,
        "capacity": store.capacity if store is not None else 0,
        "free": store.free if store is not None else 0,
        "path": door,
        "lease": lease,
    }


async def _door(agent: Agent, there: NodeId, lease: str) -> str:
    """Return the socket that leads to a depot; nothing where no way does now."""
    if there == agent.node.node:
        if agent.depots is None:
            raise NotAllowed("this node keeps nothing")
        await agent.depots.stands()
        return agent.depots.door
    if agent.network is None or there not in agent.node.paths:
        return ""
    return await agent.network.open_depot(there, lease)
