"""Witnessing: what somebody else's log may do and still be cosigned, and what proves that it told two stories.

A witness remembers of each log the last checkpoint that it cosigned. A new one is cosigned only with the proof that it goes on
from there; so a log that was rewritten or cut is refused by everybody who knew it, and one that shows different people different
histories must sign them. Two signed notes of one size with two roots convict it; so do two of different sizes with a *path*: the
hashes from which both the larger root and another root of the smaller size come out. Nobody but the key can make either.
Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from worldos.errors import Damaged, PeerBroke
from worldos.model.audit import ForkTold
from worldos.model.ids import NodeId
from worldos.trust.merkle import EMPTY_ROOT, HashAt, prove_consistency, roots_of_path
from worldos.trust.note import Checkpoint, check_checkpoint


class Known(NamedTuple):
    """The last checkpoint of a log that a witness cosigned, and the note that said it."""

    size: int
    root: bytes
    note: bytes


class GoesOn(NamedTuple):
    """The log goes on: this may be cosigned."""

    known: Known
    text: str


class Behind(NamedTuple):
    """Nothing can be said yet: tell me how it went on from ``size``."""

    size: int


def judge(
    known: Known | None, log: NodeId, data: bytes, old: int, proof: Sequence[bytes]
) -> GoesOn | Behind | ForkTold:
    """Say what a checkpoint is to who knows the log so far; raise PeerBroke, Damaged or BadSignature for what is none."""
    note, told = check_checkpoint(data, log)
    if known is None:
        known = Known(0, EMPTY_ROOT, b"")
    if told.size == known.size and known.note:
        return GoesOn(known, note.text) if told.root == known.root else fork(log, known.note, data)
    if told.size < known.size or old != known.size:
        return Behind(known.size)
    if known.size == 0:
        if proof:
            raise PeerBroke("a proof from nothing has no hashes")
        return GoesOn(Known(told.size, told.root, data), note.text)
    path = path_of_proof(known.size, known.root, proof)
    shown_old, shown_new = roots_of_path(known.size, told.size, path)
    if shown_new != told.root:
        raise Damaged("the log does not show that it goes on from what was cosigned")
    if shown_old != known.root:
        return fork(log, known.note, data, path)
    return GoesOn(Known(told.size, told.root, data), note.text)


def compare(log: NodeId, mine: bytes, other: bytes) -> ForkTold | None:
    """Hold two notes of a log, shown to two people, against each other; None where they say nothing of each other."""
    _, one = check_checkpoint(mine, log)
    _, two = check_checkpoint(other, log)
    return fork(log, mine, other) if one.size == two.size and one.root != two.root else None


def fork(log: NodeId, first: bytes, second: bytes, path: Sequence[bytes] = ()) -> ForkTold:
    """Return what convicts a log."""
    return ForkTold(log=log, first=first, second=second, path=tuple(path))


def fork_by_tiles(log: NodeId, small: bytes, large: bytes, hash_at: HashAt) -> ForkTold:
    """Return what convicts a log whose tiles come to the root of the larger note, and not to that of the smaller."""
    _, one = check_checkpoint(small, log)
    _, two = check_checkpoint(large, log)
    path = prove_consistency(hash_at, one.size, two.size)
    if _is_whole(one.size):
        path = (hash_at(one.size.bit_length() - 1, 0), *path)
    return fork(log, small, large, path)


def check_fork(told: ForkTold) -> NodeId:
    """Return whose log told two stories; raise Damaged, BadSignature or PeerBroke where that is not shown."""
    log = NodeId(told.log)
    _, one = check_checkpoint(told.first, log)
    _, two = check_checkpoint(told.second, log)
    if one.size == two.size:
        if one.root == two.root:
            raise Damaged("these two notes say the same")
        return log
    _check_path(one, two, told.path)
    return log


def path_of_proof(old: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return a proof of consistency with the root that it leaves out where the old tree is one complete subtree."""
    return (old_root, *proof) if _is_whole(old) else tuple(proof)


def _check_path(one: Checkpoint, two: Checkpoint, path: Sequence[bytes]) -> None:
    shown_old, shown_new = roots_of_path(one.size, two.size, path)
    if shown_new != two.root:
        raise Damaged("the path does not lead to the root of the second note")
    if shown_old == one.root:
        raise Damaged("the second note goes on from the first")


def _is_whole(size: int) -> bool:
    return size & (size - 1) == 0
