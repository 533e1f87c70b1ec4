"""Orders about the decision log: write down what was decided, and take words out of it. ``orders`` finds them by name.

What only reads is done beside the agent, from the files (``agent/auditing.py``): an audit must not slow what it audits,
and must work where no agent runs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from worldos.agent import auditing
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import BadRequest
from worldos.kernel.decisions import Acted

SHOWN_MAX = 500


class AuditOrders:
    """The orders about the decision log, by name."""

    async def order_audit_flush(self, agent: Agent, call: Call) -> int:
        """Write down all that was decided up to now; return how many decisions there are."""
        await agent.decisions.flush()
        return agent.decisions.whole().durable

    async def order_audit_show(
        self, agent: Agent, call: Call, count: int = 20, number: int = -1
    ) -> list[dict[str, Any]]:
        """The last decisions, newest first, or one with all that is known of it."""
        await agent.decisions.flush()
        shelf = agent.decisions.whole()
        if number >= 0:
            return [auditing.detail(auditing.one(shelf, number))]
        first = max(0, shelf.durable - min(max(1, count), SHOWN_MAX))
        rows = await asyncio.to_thread(lambda: [auditing.row(entry) for entry in auditing.entries(shelf, first)])
        return rows[::-1]

    async def order_audit_erase(self, agent: Agent, call: Call, number: int, why: str = "") -> dict[str, Any]:
        """Take the words of a decision out of the log; that it was made, and when, stays provable."""
        await agent.decisions.flush()
        entry = auditing.one(agent.decisions.whole(), number)
        if len(why) > 200:
            raise BadRequest("a reason has at most 200 characters")
        await agent.decisions.erase(number)
        fields: dict[str, str | int] = {"number": number, "kind": entry.leaf.kind.name.lower()}
        agent.decisions.take([Acted(what="erased", about=str(number), why=why or "its owner asked", fields=fields)])
        await agent.decisions.flush()
        return {"number": number, "kind": entry.leaf.kind.name.lower()}
