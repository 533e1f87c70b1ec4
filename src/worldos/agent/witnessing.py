"""Witnessing: a device says now and then when it saw the key log, so that admissions by devices ripen.

It looks after a while that differs from device to device, longer in a large account: mostly one has looked when the next
would. A log in which nothing is young gets no looks at all.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from worldos.agent import clock
from worldos.errors import WorldError
from worldos.trust.sayings import wants_witness, witness

if TYPE_CHECKING:
    from worldos.agent.agent import Agent

PAUSE_S = 15.0
PAUSE_PER_DEVICE_S = 2.0


async def witness_forever(agent: Agent) -> None:
    """Look for as long as the agent lives."""
    while True:
        devices = len(agent.node.keylog.members().active)
        await asyncio.sleep(random.uniform(PAUSE_S / 3, PAUSE_S) + random.uniform(0, PAUSE_PER_DEVICE_S * devices))
        look(agent)


def look(agent: Agent) -> bool:
    """Say what this device sees, if it helps an admission to ripen and the machine knows what time it is."""
    log, node = agent.node.keylog, agent.node.node
    now_s = agent.node.wall_s(clock.now_ns())
    if not now_s or not log.is_member(node) or not wants_witness(log, node, now_s):
        return False
    try:
        entry = witness(log, agent.started.key, now_s)
    except WorldError:
        return False  # the log is full: what is young stays so until it is compacted
    agent.offer_entries(((entry.body, entry.signature),))
    return True
