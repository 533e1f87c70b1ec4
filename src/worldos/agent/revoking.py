"""Revoking: what the center of a site tells others of devices that its account put out.

Our own devices read it in the key log; nodes of other accounts, where such a device may be a guest, hear it as a statement that
carries its proof. The center says it, since whoever it is linked with hears it first; a new center says what the old one did not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.errors import PeerBroke
from worldos.model.ids import NodeId
from worldos.model.statements import Topic
from worldos.trust.keylog import DeviceStatus
from worldos.trust.revocation import DeviceRevoked, device_revoked, read_revocation, write_revocation

if TYPE_CHECKING:
    from worldos.agent.agent import Agent
    from worldos.node import Node

AT_ONCE_MAX = 16


def tell_revoked(agent: Agent) -> None:
    """Say of each device that was put out that it was, if this node is the center and nobody did."""
    node = agent.node
    if node.realms.site not in node.realms.reigns:
        return
    revoked = {d.node for d in node.keylog.members().devices if d.status is DeviceStatus.REVOKED}
    for device in sorted(revoked - _told(node) if revoked else ())[:AT_ONCE_MAX]:
        agent.state(Topic.REVOKED, write_revocation(device_revoked(node.keylog, device)))


def _told(node: Node) -> set[NodeId]:
    told: set[NodeId] = set()
    for statement in node.statements.of(Topic.REVOKED).values():
        try:
            said = read_revocation(statement.body)
        except PeerBroke:  # kept by an older version
            continue
        if isinstance(said, DeviceRevoked) and said.account == node.registry.owner:
            told.add(said.device)
    return told
