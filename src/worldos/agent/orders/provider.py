"""Orders about providers: whether what a machine of another account did is to be checked, and what came of it."""

from __future__ import annotations

from typing import Any

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.kernel.auditing import PROBATION_CHECKS
from worldos.kernel.work.look import ProviderView, read_providers
from worldos.model.ids import NodeId
from worldos.model.work_wire import WorkAsk


class ProviderOrders:
    """The orders about those who work for us, by name."""

    async def order_provider_owner(self, agent: Agent, call: Call, node: str) -> dict[str, Any]:
        """Whose machine this is (empty: nobody we know), whether ours, and why it gets no more jobs."""
        id_ = NodeId(node)
        if id_ == agent.node.node or agent.node.is_member(id_):
            return {"own": True, "owner": agent.node.registry.owner, "out": ""}
        contact = agent.node.realms.kin.contact(id_)
        tasks = {row.node: row.out for row in await _of_tasks(agent)} if contact else {}
        out = agent.providers.why_out(id_) or tasks.get(id_, "")
        return {"own": False, "owner": contact.site if contact else "", "out": out}

    async def order_provider_did(self, agent: Agent, call: Call, node: str) -> bool:
        """It has done a job; tell whether that is to be done again elsewhere and compared."""
        return agent.providers.wants_check(NodeId(node))

    async def order_provider_checked(self, agent: Agent, call: Call, node: str, right: bool) -> str:  # noqa: FBT001 - by name
        """What came of the check; returns why it gets no more jobs."""
        agent.providers.checked(NodeId(node), is_right=right)
        return agent.providers.why_out(NodeId(node))

    async def order_providers(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """All that have worked for programs of this home, then those that did tasks of the site, with what checks found."""
        return [*agent.providers.rows(), *(_row(provider) for provider in await _of_tasks(agent))]


async def _of_tasks(agent: Agent) -> tuple[ProviderView, ...]:
    """Return what the line knows of machines of others; nothing where there is no line."""
    if agent.node.realms.off or agent.work.site.works() is False:
        return ()
    return read_providers(await agent.work.ask(WorkAsk(number=0, look="providers")))


def _row(provider: ProviderView) -> dict[str, Any]:
    return {
        "node": provider.node,
        "of": "tasks",
        "jobs": provider.jobs,
        "checks": provider.checks,
        "probation": provider.checks < PROBATION_CHECKS,
        "checked_ppm": provider.rate_ppm,
        "out": provider.out,
    }
