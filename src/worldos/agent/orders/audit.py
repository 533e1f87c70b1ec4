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
from worldos.agent.orders.named import named_node
from worldos.errors import BadRequest
from worldos.kernel.decisions import Acted
from worldos.model.audit import ForkTold
from worldos.trust.note import read_checkpoint, read_note

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
            return [await asyncio.to_thread(lambda: auditing.detail(auditing.one(shelf, number)))]
        first = max(0, shelf.durable - min(max(1, count), SHOWN_MAX))
        rows = await asyncio.to_thread(lambda: [auditing.row(entry) for entry in auditing.entries(shelf, first)])
        return rows[::-1]

    async def order_audit_erase(self, agent: Agent, call: Call, number: int, why: str = "") -> dict[str, Any]:
        """Take the words of a decision out of the log; that it was made, and when, stays provable."""
        await agent.decisions.flush()
        entry = await asyncio.to_thread(auditing.one, agent.decisions.whole(), number)
        if len(why) > 200:
            raise BadRequest("a reason has at most 200 characters")
        await agent.decisions.erase(number)
        fields: dict[str, str | int] = {"number": number, "kind": entry.leaf.kind.name.lower()}
        agent.decisions.take([Acted(what="erased", about=str(number), why=why or "its owner asked", fields=fields)])
        await agent.decisions.flush()
        return {"number": number, "kind": entry.leaf.kind.name.lower()}

    async def order_audit_verify(self, agent: Agent, call: Call, node: str) -> dict[str, Any]:
        """Fetch another node's log and check it: its leaves, what we cosigned of it, and what it granted to us."""
        log = named_node(agent.node, node)
        known = agent.cosigning.known.get(log)
        found = await agent.cosigning.pieces.audit(log, (known.size, known.root) if known is not None else None)
        if log in agent.cosigning.forks:
            found["wrong"] = ["it signed two histories: wos audit witness", *found["wrong"]]
        return found

    async def order_audit_witness(self, agent: Agent, call: Call) -> dict[str, list[dict[str, Any]]]:
        """Who cosigns the log of this node, whose logs it cosigns, and which were found to tell two stories."""
        node, cosigning = agent.node, agent.cosigning
        owner = {peer: str(kin.site) for peer in node.paths if (kin := node.realms.kin.contact(peer)) is not None}
        ours = [
            {
                "node": peer,
                "owner": owner.get(peer, "us" if node.is_member(peer) else ""),
                "size": cosigning.cosigned.get(peer, (0, 0))[0],
                "at_s": cosigning.cosigned.get(peer, (0, 0))[1],
                "refuses_at": cosigning.refusing.get(peer, 0),
            }
            for peer in sorted({*cosigning.witnesses(), *cosigning.cosigned})
        ]
        theirs = [{"node": log, "size": known.size} for log, known in sorted(cosigning.known.items())]
        forks = [{"node": log, "sizes": fork_sizes(fork)} for log, fork in sorted(cosigning.forks.items())]
        return {"by": ours, "of": theirs, "forks": forks}


def fork_sizes(fork: ForkTold) -> list[int]:
    """Return the two sizes at which a log told two stories."""
    return [read_checkpoint(read_note(data).text).size for data in (fork.first, fork.second)]
