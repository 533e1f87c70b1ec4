"""Orders about private networks: how the program that holds a lease reaches what is inside. ``orders`` finds them by name."""

from __future__ import annotations

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import NotAllowed
from worldos.model.ids import LeaseId


class NetOrders:
    """The orders about private networks, by name."""

    async def order_net_way(self, agent: Agent, call: Call, lease: str) -> dict[str, str]:
        """The door of networks, and the key of a lease that this program holds."""
        if agent.node.uses.held.of(call.client.id, LeaseId(lease)) is None:
            raise NotAllowed("you hold no such lease", hint="only the program that holds a lease gets into its network")
        return agent.nets.way(LeaseId(lease))
