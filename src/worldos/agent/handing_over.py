"""A machine that goes to a new owner, from its agent's side: it joins there with a fresh key, signs its old one out, and ends.

The ticket comes sealed from another of the owner's devices (``kernel/clones.py``: HandOver); a person at the machine itself has
it done by the command. What follows the end (wipe, move in, begin anew) is in ``run``: it comes also when the power went in
between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.agent.transfer import become_member, stage_of
from worldos.config import Settings, write_settings
from worldos.errors import WorldError
from worldos.kernel.effects import Notice
from worldos.model.ids import NodeId
from worldos.trust.keylog import remove_device
from worldos.trust.keys import public_of

if TYPE_CHECKING:
    from worldos.agent.agent import Agent
    from worldos.trust.pairing import ShowCode


def about(device: NodeId) -> bytes:
    """Return the purpose for which a ticket is sealed to a device."""
    return b"hand over" + public_of(device)


async def hand_over(agent: Agent, ticket: str) -> None:
    """Become a device of whoever made the ticket; what fails is noted, and nothing has changed then."""
    from worldos.agent.claims import join  # noqa: PLC0415 - pairing, which an agent does without until then
    from worldos.agent.home import open_key  # noqa: PLC0415
    from worldos.trust.pairing import Ticket  # noqa: PLC0415

    old = agent.started.settings
    stage = stage_of(agent.home)
    try:
        write_settings(stage, Settings(name=old.name, listen=old.listen))
        joined = await join(Ticket.parse(ticket), open_key(stage), agent.node.registry.name, _yes)
        become_member(stage, joined)
    except WorldError as error:
        agent.note(Notice(name="not handed over", fields={"why": str(error)}))
        return
    agent.note(Notice(name="handed over", fields={}))
    entry = remove_device(agent.node.keylog, agent.started.key, agent.node.node)
    agent.offer_entries(((entry.body, entry.signature),))  # which ends this agent


async def _yes(_: ShowCode) -> bool:
    """Nobody sits here: who holds the ticket was chosen by the owner, and the new owner compares what this machine is called."""
    return True
