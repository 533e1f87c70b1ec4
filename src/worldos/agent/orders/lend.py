"""Orders about what this machine lends to others: show it, and change it. ``orders`` finds them by name."""

from __future__ import annotations

from typing import Any

import msgspec

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.lend import audience_called, set_lend, shown, with_rule, without_rule
from worldos.model.lend import Lend, LendRule


class LendOrders:
    """The orders about lending, by name."""

    async def order_lend_show(self, agent: Agent, call: Call) -> dict[str, Any]:
        """The rules, which of them hold now, what guests have, and why not now."""
        return shown(agent)

    async def order_lend_rule(self, agent: Agent, call: Call, rule: LendRule) -> dict[str, Any]:
        """Lend by one more rule from now on; who is lent to may be named as people do."""
        named = msgspec.structs.replace(rule, to=audience_called(agent, rule.to))
        set_lend(agent, with_rule(agent.node.lend.lend, named))
        return shown(agent)

    async def order_lend_forget(self, agent: Agent, call: Call, number: int) -> dict[str, Any]:
        """Drop a rule; 0 drops all of them, and the realm's word alone holds again."""
        lend = agent.node.lend.lend
        set_lend(agent, without_rule(lend, number) if number else Lend())
        return shown(agent)

    async def order_lend_off(self, agent: Agent, call: Call, off: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Lend nothing to others, or by the rules again; the rules stay."""
        set_lend(agent, msgspec.structs.replace(agent.node.lend.lend, off=off))
        return shown(agent)
