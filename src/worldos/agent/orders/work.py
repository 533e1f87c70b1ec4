"""Orders about the site's work: commands to its line and queues, and looks at them. ``orders`` finds them by name.

The words are msgpack of ``model/work`` in both directions: the agent passes them on as they are, and the table checks them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.model.work_wire import LOOK_CHARS_MAX, WorkAsk

_Ms = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_What = Annotated[str, msgspec.Meta(min_length=1, max_length=LOOK_CHARS_MAX)]


class WorkOrders:
    """The orders about work, by name."""

    async def order_work(self, agent: Agent, call: Call, command: bytes, wait_ms: _Ms = 0) -> bytes:
        """Have commands carried out (a WorkCommand); return their answers. A single Take may wait for a message."""
        return await agent.work.ask(WorkAsk(number=0, command=command, wait_ms=wait_ms))

    async def order_work_look(
        self, agent: Agent, call: Call, what: _What, first: _Count = 0, count: _Count = 1000
    ) -> bytes:
        """How the work stands now: ``jobs``, ``job ID``, ``queues`` or ``queue NAME``."""
        return await agent.work.ask(WorkAsk(number=0, look=what, first=first, count=count))
