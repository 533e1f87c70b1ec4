"""Rendezvous: all who know the same nodes put them in the same order for a key, and ask nobody.

Each node draws a lot from the key and its own name; the highest comes first. A node that goes moves nobody but itself, and each
key has an order of its own, so that work for many keys is spread evenly. Source: D. Thaler and C. Ravishankar, "Using
name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

LOT_BYTES = 16


def order(key: bytes, nodes: Iterable[str]) -> list[str]:
    """Return the nodes in the order of their lots for ``key``."""
    return sorted(set(nodes), key=lambda node: (_lot(key, node), node), reverse=True)


def _lot(key: bytes, node: str) -> bytes:
    return blake2b(node.encode(), key=blake2b(key, digest_size=32).digest(), digest_size=LOT_BYTES).digest()
