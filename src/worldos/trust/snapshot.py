"""Snapshot: what a key log has come to, signed by the words, so that what led there can be forgotten.

It names the admissions that are *kept*: of every key that may act, and those that these hang on (their warrants), by the
hashes of their entries, which stay in the log as they are. So the one signature vouches for all of them: a log of a
thousand devices is checked by one signature and a thousand hashes. With them it says which are *ended* (they only show
where others come from) and which are *grown*, which came in while
their admitter was alone, and it remembers every acceptance that was ever used, so that an old one
brings no device back.

Whoever has all that the snapshot had seen works it out again and compares; whoever has not believes the signature, whose
key must lead to the beginning by recovery keys alone. Invariant: a log that begins at a snapshot has the same members as
the one that has everything. Bytes: hashes of 32, marks of acceptances of 16; a set is an int, its lowest bit the beginning.
"""

from __future__ import annotations

import msgspec

from worldos.errors import PeerBroke
from worldos.trust.entries import AddDevice, Beginning, Entry, Rekey, Snapshot
from worldos.trust.history import HASH_BYTES, RECOVERY_WEIGHT, History, bits, mark_of
from worldos.trust.keys import bytes_of

MARK_BYTES = 16


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says, taken apart."""

    places: tuple[str, ...]  # the ids of the kept admissions, each after its warrant
    weights: bytes
    ended: int
    grown: int
    alone: int
    marks: bytes


def kept_of(history: History, live: int, counting: int) -> Kept:
    """Work out what a snapshot of this history says; ``live`` are the admissions of who may act, of all that counts."""
    needed = 0
    for place in bits(live):
        needed |= history.line[place] | 1 << place
    order = sorted(bits(needed & ~1), key=lambda place: (history.line[place].bit_count(), history.hashes[place]))
    ended, grown, alone = ~live & 1, 0, 0
    for number, place in enumerate(order, start=1):
        alone |= (history.alone >> place & 1) << number
        ended |= (~live >> place & 1) << number
        grown |= history.is_ripe(place, counting) << number
    marks = set(history.marks)
    for place, entry in enumerate(history.entries):
        if isinstance(entry, AddDevice) and not needed >> place & 1:
            marks.add(mark_of(entry))
    return Kept(
        places=tuple(history.hashes[place] for place in order),
        weights=bytes(history.weights[place] for place in order),
        ended=ended,
        grown=grown,
        alone=alone,
        marks=b"".join(sorted(marks)),
    )


def snapshot_of(kept: Kept, *, warrant: str, parents: tuple[str, ...], number: int) -> Snapshot:
    """Write a snapshot down."""
    size = len(kept.places) // 8 + 1
    return Snapshot(
        warrant=warrant,
        parents=parents,
        number=number,
        kept=b"".join(bytes_of(place) for place in kept.places),
        weights=kept.weights,
        ended=kept.ended.to_bytes(size, "big"),
        grown=kept.grown.to_bytes(size, "big"),
        alone=kept.alone.to_bytes(size, "big"),
        marks=kept.marks,
    )


def check_snapshot(snapshot: Snapshot) -> None:
    """Raise PeerBroke unless its parts fit together."""
    count = len(snapshot.kept) // HASH_BYTES
    size = count // 8 + 1
    marks = [snapshot.marks[at : at + MARK_BYTES] for at in range(0, len(snapshot.marks), MARK_BYTES)]
    if (
        len(snapshot.kept) % HASH_BYTES
        or len(snapshot.marks) % MARK_BYTES
        or len(snapshot.weights) != count
        or len(snapshot.ended) != size
        or len(snapshot.grown) != size
        or len(snapshot.alone) != size
        or snapshot.number < 1
        or max(snapshot.weights, default=0) > RECOVERY_WEIGHT
        or marks != sorted(set(marks))
    ):
        raise PeerBroke("the parts of a snapshot do not fit together")


def check_against(history: History, snapshot: Snapshot, live: int, counting: int) -> None:
    """Raise PeerBroke unless a snapshot says what this history, all that it had seen, comes to."""
    right = kept_of(history, live, counting)
    if snapshot != snapshot_of(right, warrant=snapshot.warrant, parents=snapshot.parents, number=history.number + 1):
        raise PeerBroke("a snapshot says something else than the entries that it had seen")


def begin_at(genesis: tuple[str, Entry], kept: list[tuple[str, Entry]], snapshot: Snapshot, entry_id: str) -> History:
    """Begin a history at a snapshot, with the entries that it keeps, in its order; raise PeerBroke if they do not fit."""
    history = History()
    history.append(*genesis)
    history.ended = int.from_bytes(snapshot.ended, "big")
    history.grown = int.from_bytes(snapshot.grown, "big")
    history.alone = int.from_bytes(snapshot.alone, "big")
    history.marks = frozenset(snapshot.marks[at : at + MARK_BYTES] for at in range(0, len(snapshot.marks), MARK_BYTES))
    for (hashed, entry), weight in zip(kept, snapshot.weights, strict=True):
        history.keep(hashed, entry, weight)
    history.append_base(entry_id, snapshot)
    return history


def authority(snapshot: Snapshot, entries: dict[str, Entry]) -> list[str]:
    """Return the admissions of the recovery keys that lead from the signer to the beginning, the signer's first.

    Their signatures are to be checked. Raise PeerBroke if another kind of key is among them.
    """
    path, at = list[str](), snapshot.warrant
    while True:
        entry = entries.get(at)
        if isinstance(entry, Beginning):
            return path
        if not isinstance(entry, Rekey) or at in path:
            raise PeerBroke("a snapshot is signed by a key that no recovery key leads to")
        path.append(at)
        at = entry.warrant
