"""Merkle trees that only grow: what a log commits to in 32 bytes, and the short proofs that a root vouches for something.

A tree is a list of leaves; its root is the hash of its two halves, the left one the largest power of two that is less than
the whole. So each complete subtree, once hashed, stays as it is for ever, and ``HashAt`` (level, index) names it: level 0
are the leaves, a hash of level n covers 2**n of them. From these alone every root and every proof of every older size is made.
A hash of a leaf can never be taken for one of a node: the one is made over a 0 byte and the leaf, the other over a 1.

Proofs come from strangers: a check takes O(log n) hashes whatever it is given, and raises ``Damaged`` for what does not fit.
Source: RFC 9162 sections 2.1.1 to 2.1.4 (and RFC 6962, whose trees are the same).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from worldos.errors import Damaged

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
SIZE_MAX = 2**62
PROOF_HASHES_MAX = 64

HashAt = Callable[[int, int], bytes]
"""The hash of a complete subtree: of ``2**level`` leaves, from leaf ``index * 2**level`` on."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A whole tree in memory: 64 bytes a leaf, one hash and a bit a leaf."""

    __slots__ = ("levels",)

    def __init__(self) -> None:
        self.levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        """Return how many leaves there are."""
        return len(self.levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        self.append_hash(leaf_hash(leaf))

    def append_hash(self, hashed: bytes) -> None:
        """Add a leaf by its hash; each subtree that it completes is hashed once."""
        for row in self.levels:
            row.extend(hashed)
            if len(row) & HASH_BYTES:  # an odd number of them: its right neighbour is still to come
                return
            hashed = sha256(b"\1" + row[-2 * HASH_BYTES :]).digest()
        self.levels.append(bytearray(hashed))

    def hash_at(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree (HashAt)."""
        return bytes(self.levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def root(self, size: int | None = None) -> bytes:
        """Return the root now, or as it was at an earlier size."""
        return root_of(self.hash_at, self.size if size is None else size)


def root_of(hash_at: HashAt, size: int) -> bytes:
    """Return the root over the first ``size`` leaves; O(log size)."""
    if size == 0:
        return EMPTY_ROOT
    return _range(hash_at, 0, size)


def prove_inclusion(hash_at: HashAt, index: int, size: int) -> tuple[bytes, ...]:
    """Return the hashes by which the root over ``size`` leaves vouches for leaf ``index``; from the leaf upwards."""
    assert 0 <= index < size
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(_range(hash_at, middle, end))
            end = middle
        else:
            proof.append(_range(hash_at, begin, middle))
            begin = middle
    return tuple(reversed(proof))


def prove_consistency(hash_at: HashAt, old: int, new: int) -> tuple[bytes, ...]:
    """Return the hashes that show that the tree of ``new`` leaves begins with the tree of ``old``."""
    assert 0 <= old <= new
    if old in {0, new}:
        return ()
    proof: list[bytes] = []
    begin, end, whole = 0, new, True  # whole: the old tree is all of this subtree's beginning, and its root is known
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            proof.append(_range(hash_at, middle, end))
            end = middle
        else:
            proof.append(_range(hash_at, begin, middle))
            begin, whole = middle, False
    if not whole:
        proof.append(_range(hash_at, begin, end))
    return tuple(reversed(proof))


def check_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ``Damaged`` unless ``root``, over ``size`` leaves, vouches for the leaf of this hash at ``index``."""
    _check_sizes(index, size, proof)
    if index >= size or len(hashed) != HASH_BYTES:
        raise Damaged("no such leaf is in a tree of this size")
    at, last = index, size - 1
    for sibling in proof:
        if last == 0:
            raise Damaged("a proof that is too long")
        if at & 1 or at == last:
            hashed = node_hash(sibling, hashed)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        at >>= 1
        last >>= 1
    if last or hashed != root:
        raise Damaged("the proof does not lead from the leaf to the root")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ``Damaged`` unless the tree of ``new`` leaves is shown to begin with that of ``old``."""
    if old in {0, new}:
        _check_sizes(old, new, proof)
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise Damaged("the tree is not the same, or the proof is too long")
        return
    shown_old, shown_new = roots_of_proof(old, old_root, new, proof)
    if shown_new != new_root:
        raise Damaged("the proof does not lead to the new root")
    if shown_old != old_root:
        raise Damaged("the tree was changed: what was there is there no more")


def roots_of_proof(old: int, old_root: bytes, new: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the two roots that a proof of consistency leads to, ``0 < old < new``; ``Damaged`` where it leads nowhere.

    Where the tree of ``old`` is one complete subtree, the proof begins with its root, which is not told again: ``old_root``.
    """
    return roots_of_path(old, new, [old_root, *proof] if old & (old - 1) == 0 else proof)


def roots_of_path(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the two roots that a proof leads to which leaves no hash out, ``0 < old < new``; ``Damaged`` if nowhere."""
    _check_sizes(old, new, path)
    if not 0 < old < new:
        raise Damaged("no proof is between these sizes")
    if not path:
        raise Damaged("a proof that is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    shown_old = shown_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Damaged("a proof that is too long")
        if at & 1 or at == last:
            shown_old = node_hash(sibling, shown_old)
            shown_new = node_hash(sibling, shown_new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            shown_new = node_hash(shown_new, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise Damaged("a proof that is too short")
    return shown_old, shown_new


def _check_sizes(first: int, second: int, proof: Sequence[bytes]) -> None:
    if not 0 <= first <= second <= SIZE_MAX or len(proof) > PROOF_HASHES_MAX:
        raise Damaged("a proof for no tree that there can be")
    if any(len(hashed) != HASH_BYTES for hashed in proof):
        raise Damaged(f"a hash has {HASH_BYTES} bytes")


def _split(size: int) -> int:
    """Return the largest power of two that is less than ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _range(hash_at: HashAt, begin: int, end: int) -> bytes:
    """Return the root over leaves ``begin`` to ``end``, where ``begin`` is where a subtree of at least that size begins."""
    hashes: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        hashes.append(hash_at(level, begin >> level))
        begin += 1 << level
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root
