"""An agent turned against all, for attacks: its own guard and quarantine take everything, and it states what it is told to.

Run as ``hostile_agent.py PYTHON -m worldos.agent ...``: the rest of the line is that of an honest one.
"""

from __future__ import annotations

import sys
from typing import Any

from worldos.agent import __main__ as honest
from worldos.agent.orders.orders import Orders
from worldos.agent.orders.rights import RIGHTS
from worldos.kernel.guard.guard import Guard
from worldos.kernel.quarantine import Quarantine
from worldos.kernel.statements import Verdict
from worldos.model.statements import Topic


async def say(self: Orders, agent: Any, call: Any, topic: str, body: bytes) -> str:
    """State anything as this device."""
    return str(agent.state(Topic(topic), body))


def take(self: Any, now_ns: int, statement: Any, house: Any) -> Verdict:
    """Keep whatever is said, so that it spreads."""
    return Verdict(keep=True)


if __name__ == "__main__":
    say.__annotations__ = {"topic": str, "body": bytes, "agent": object, "call": object, "return": str}
    Orders.order_say = say  # type: ignore[attr-defined]
    RIGHTS["say"] = RIGHTS["status"]
    Guard.judge = take  # type: ignore[method-assign]
    Quarantine.judge = take  # type: ignore[method-assign]
    sys.argv = [sys.argv[0], *sys.argv[4:]]
    sys.exit(honest.main())
