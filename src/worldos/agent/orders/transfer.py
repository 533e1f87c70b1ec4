"""The order that hands another machine of the account to a new owner. ``orders`` finds it by name."""

from __future__ import annotations

import asyncio
from typing import Any

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.handing_over import about
from worldos.agent.orders.named import device_called
from worldos.errors import BadRequest, NotAllowed, Unreachable
from worldos.kernel.clones import tell_hand_over
from worldos.model.statements import Topic
from worldos.trust.hybrid import seal_hybrid
from worldos.trust.keys import public_of

GONE_S = 75.0
LOOK_S = 0.1


class TransferOrders:
    """One order, by name."""

    async def order_transfer(self, agent: Agent, call: Call, device: str, ticket: str) -> dict[str, Any]:
        """Tell a machine, sealed, whose it is from now on; wait until it has signed itself out."""
        from worldos.trust.pairing import Ticket  # noqa: PLC0415 - pairing, which an agent does without until then

        node = agent.node
        target, me = device_called(agent.node, device), node.keylog.members().get(node.node)
        if target == node.node:
            raise BadRequest("this is the machine itself", hint="there: wos transfer here TICKET")
        if me is None or me.young:
            hint = "do it on a grown one, or approve this one: wos account approve"
            raise NotAllowed("a machine that was admitted by another one alone hands none over", hint=hint)
        public = node.clones.public_of(target)
        if public is None:
            raise BadRequest("that machine has never said what to seal to it", hint="is it on? see: wos nodes")
        box = seal_hybrid(public, Ticket.parse(ticket).encode().encode("ascii"), about=about(target))
        agent.state(Topic.DEVICE, tell_hand_over(public_of(target), box))
        try:
            async with asyncio.timeout(GONE_S):
                while node.is_member(target):  # noqa: ASYNC110 - the node's tables ring no bell
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as cause:
            hint = "is it on, and the ticket good? see there: wos log; it goes yet, if the ticket is good when it hears of it"
            raise Unreachable(f"{device} has not gone over yet", hint=hint) from cause
        return {"transferred": target, "told": len(node.members()) + 1}
