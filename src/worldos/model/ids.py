"""Names for things: each its own type, so that a lease id is never passed where a node id belongs.

A node's id *is* its Ed25519 public key (52 characters of base32). A lease id is made by the node that grants it, from its own
id, its boot number and a counter, so no two nodes ever make the same one.
"""

from __future__ import annotations

from typing import NewType

NodeId = NewType("NodeId", str)
AccountId = NewType("AccountId", str)
ResourceId = NewType("ResourceId", str)
LeaseId = NewType("LeaseId", str)
UseId = NewType("UseId", str)
ClientId = NewType("ClientId", str)

NODE_PREFIX_CHARS = 8


def short(node: str) -> str:
    """Return the first characters of an id, enough for people and for lease ids."""
    return node[:NODE_PREFIX_CHARS]


def lease_id(node: NodeId, boot: int, number: int) -> LeaseId:
    """Name the ``number``-th lease that ``node`` granted in its life number ``boot``."""
    return LeaseId(f"{short(node)}-{boot:x}-{number:x}")
