"""Losses: what becomes of the leases that programs here hold when their node is silent, heard again, or gone.

A silent node's leases are in doubt: programs are told, and another place is looked for at once where a lease can move. Nothing is
ended by doubt; what is lost is told with the reason.
"""

from __future__ import annotations

from typing import assert_never

from worldos.kernel.effects import Effect, Forget, Notice, Send
from worldos.kernel.held import Lost, can_move, tell_doubted, tell_lost
from worldos.kernel.household import Household
from worldos.kernel.question import node_key
from worldos.kernel.uses import Pending
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.offer import Offer
from worldos.model.swim import Status, StatusChanged
from worldos.model.wire import LeaseRelease


def doubt(house: Household, now_ns: int, node: NodeId) -> list[Effect]:
    """A silent node: tell the programs, and look for another place at once where a lease can move."""
    effects: list[Effect] = []
    for held in house.uses.held.doubt(node, doubted=True):
        effects.append(tell_doubted(held))
        if can_move(held) and not held.replaced:
            held.replaced = True
            effects.extend(_seek(house, now_ns, Lost(held=held, why="silent")))
    return effects


def trust(house: Household, node: NodeId) -> list[Effect]:
    """A node is heard again: tell the programs, and look no more for a place in the stead of what they have there."""
    effects: list[Effect] = []
    for held in house.uses.held.doubt(node, doubted=False):
        effects.append(tell_doubted(held))
        effects.extend(house.uses.stop_replacing(held))
    return effects


def replace(house: Household, now_ns: int, lost: list[Lost]) -> list[Effect]:
    """Tell the programs what they lost, and look for something in its place."""
    effects: list[Effect] = []
    for each in lost:
        movable = can_move(each.held)
        effects.extend(tell_lost(each, replacing=movable))
        if movable and not each.held.replaced:
            effects.extend(_seek(house, now_ns, each))
    if lost:
        house.membership.focus(house.uses.held.nodes())
    return effects


def status_changed(house: Household, now_ns: int, change: StatusChanged) -> list[Effect]:
    """A member is believed alive, silent, gone or to have left: say so, and see to what it held and what was held there."""
    node, status = change.node, change.status
    effects: list[Effect] = [Notice(name="node", fields={"node": node, "status": status.value})]
    match status:
        case Status.ALIVE:
            effects.extend(trust(house, node))
        case Status.SUSPECT:
            effects.extend(doubt(house, now_ns, node))
        case Status.DEAD | Status.LEFT:
            why = "its node is gone" if status is Status.DEAD else "its node left"
            lost = house.uses.held.node_dead(node, why)
            effects.extend(replace(house, now_ns, lost))
            if status is Status.DEAD:
                # It may only be cut off: the word waits for it, and frees its capacity at once.
                leases = [each.held.terms.lease for each in lost]
                effects.extend(Send(node=node, message=LeaseRelease(lease=lease)) for lease in leases)
            if status is Status.LEFT:
                effects.extend(house.leases.drop_holder(node, "its holder left"))
                house.dirty = True
                house.registry.drop(node)
                effects.append(Forget(node=node, why="it left"))
        case _:
            assert_never(status)
    house.realms.member_changed(now_ns)
    if status is not Status.ALIVE:
        effects.extend(house.uses.node_lost(now_ns, node, offers_without(house, node), house.view(now_ns)))
    return effects


# -- realms -------------------------------------------------------------------------------------------------------------


def _seek(house: Household, now_ns: int, lost: Lost) -> list[Effect]:
    held = lost.held
    pending = Pending(
        use=held.use,
        client=held.client,
        needs=(held.terms.need,),
        ttl_ns=held.terms.ttl_ns,
        nonce=node_key(NodeId(held.terms.lease)) >> 1,  # fixed before anybody could know what is lost
        asked_ns=now_ns,
        give_up_ns=now_ns + limits.REPLACE_FOR_NS,
        replaces=held.terms.lease,
        excluded=[held.terms.node],
        grant=held.grant,
    )
    return house.uses.ask(now_ns, pending, offers_without(house, held.terms.node), house.view(now_ns))


def offers_without(house: Household, node: NodeId) -> dict[NodeId, Offer]:
    """Return the offers that can be asked now, but for one node's."""
    return {n: offer for n, offer in house.usable_offers().items() if n != node}
