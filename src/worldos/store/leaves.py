"""Leaves: the 16 KiB pieces of a share that can be checked by themselves.

A share's list has 32 bytes for each leaf, its BLAKE3 keyed by its place, so that no leaf passes for another; the root is the
digest of the list and the share's length. Roots stand in the signed manifest; the list travels with the share (11 KiB for the
largest of a 3-of-6) and is believed only if it gives the root. So a reader checks any range of a share for 16 KiB, and an
auditor one leaf, without the rest. Source: docs/reference/formats/segment.md.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from worldos.errors import Damaged
from worldos.store.erasure import Buffer
from worldos.store.limits import LEAF_BYTES

DIGEST_BYTES: Final = 32
ROOT_CONTEXT: Final = "worldos 2026 store share root"


def leaf_count(size_bytes: int) -> int:
    """Return how many leaves a share of this length has; the last may be shorter."""
    return -(-size_bytes // LEAF_BYTES)


def leaf_digest(number: int, data: Buffer) -> bytes:
    """Return the digest of one leaf at its place."""
    return blake3(data, key=number.to_bytes(DIGEST_BYTES, "big")).digest()


def leaf_digests(share: Buffer, first: int = 0) -> bytes:
    """Return the list of a share, or of its part from leaf ``first`` on: 32 bytes a leaf."""
    view = memoryview(share).cast("B")
    starts = range(0, len(view), LEAF_BYTES)
    return b"".join([leaf_digest(first + start // LEAF_BYTES, view[start : start + LEAF_BYTES]) for start in starts])


def root_of(digests: Buffer, size_bytes: int) -> bytes:
    """Return the root of a share of ``size_bytes`` with this list: 32 bytes."""
    return blake3(size_bytes.to_bytes(8, "big") + bytes(digests), derive_key_context=ROOT_CONTEXT).digest()


def check_digests(digests: Buffer, size_bytes: int, root: bytes) -> None:
    """Raise Damaged unless this is the list of a share of ``size_bytes`` with this root."""
    if len(digests) != leaf_count(size_bytes) * DIGEST_BYTES or root_of(digests, size_bytes) != root:
        raise Damaged("the leaf digests of a share do not give its root")


def check_leaf(digests: Buffer, number: int, data: Buffer) -> None:
    """Raise Damaged unless ``data`` is the whole leaf ``number``; the list has been checked before."""
    place = number * DIGEST_BYTES
    if not 0 <= place < len(digests) or leaf_digest(number, data) != digests[place : place + DIGEST_BYTES]:
        raise Damaged(f"leaf {number} of a share is not what was written")


def leaves_around(offset: int, length: int, size_bytes: int) -> tuple[int, int]:
    """Widen a range of a share to whole leaves: (offset, length), what must be read to check it."""
    start = offset // LEAF_BYTES * LEAF_BYTES
    end = min(size_bytes, -(-(offset + length) // LEAF_BYTES) * LEAF_BYTES)
    return start, end - start


def check_range(digests: Buffer, offset: int, data: Buffer) -> None:
    """Raise Damaged unless ``data`` is what the share has from ``offset`` on: whole leaves, the last of the share excepted."""
    bad = bad_leaves(digests, data, offset)
    if bad:
        raise Damaged(f"leaves {bad[:8]} of a share are not what was written")


def bad_leaves(digests: Buffer, data: Buffer, offset: int = 0) -> list[int]:
    """Name the leaves in ``data``, which begins at ``offset`` of the share, that are not what was written."""
    if offset % LEAF_BYTES:
        raise ValueError(f"offset {offset} is not where a leaf begins")
    first = offset // LEAF_BYTES
    found = leaf_digests(data, first)
    right = bytes(digests[first * DIGEST_BYTES : first * DIGEST_BYTES + len(found)])
    if found == right:
        return []
    return [
        first + place // DIGEST_BYTES
        for place in range(0, len(found), DIGEST_BYTES)
        if found[place : place + DIGEST_BYTES] != right[place : place + DIGEST_BYTES]
    ]
