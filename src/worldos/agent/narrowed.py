"""Narrowed programs: what is left to a program of this machine that came with a grant.

The grant's holder is this machine, so a program can be given less than all by whoever starts it (``wos --grant FILE``), and takes
nothing along that would be worth anything elsewhere. It is looked at again with each order: it may end, or be revoked.
"""

from __future__ import annotations

from worldos.agent.orders.rights import RIGHTS
from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.kernel.authority import Asked
from worldos.node import Node

OF_ITSELF = frozenset({"whoami"})  # what every program may ask: what it may do


def why_not_narrowed(node: Node, now_ns: int, grant: bytes) -> str:
    """Say why a grant is not one of this account for this machine, or nothing."""
    try:
        node.authority.check(now_ns, node.node, grant, node)
    except (PeerBroke, BadSignature, NotAllowed) as error:
        return str(error)
    return ""


def refusal(node: Node, now_ns: int, grant: bytes, order: str) -> str:
    """Say why a program with this grant may not give an order, or nothing; one without has all rights of this machine."""
    if not grant or order in OF_ITSELF:
        return ""
    right = RIGHTS.get(order)
    if right is None:
        return "no grant is for this order"
    asked = Asked(node.node, right.op, right.path(node.registry.owner, node.node), right.impact, grant)
    ruling = node.authority.weigh(now_ns, asked, node)
    return "" if ruling.allowed else ruling.why
