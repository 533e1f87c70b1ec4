"""History: the entries of one key log in causal order, and who had seen what.

It is closed: an entry comes in after all its parents, or not at all, so what an entry had seen is fixed for ever when
it comes in. Sets of entries are the bits of an int, at the places where they came in; no answer depends on the order
of places. Only forms that no honest builder makes are refused here (PeerBroke); whether an entry *counts* is for
``standing`` to say.

**Weight.** A recovery key or the holders weigh 10, guardians 9, a passkey 3, a device 1. Who was admitted by less than
a passkey is *young* and weighs 0 (a new recovery key by guardians: 9), until its admission has *ripened*: two looks of
witnesses at it lie 72 hours apart (by what witnesses say; nothing else in a log has a time), or somebody of weight 3
approved it. A witness is a grown device that neither made the admission nor was admitted by it, nor comes from it. What
an entry weighs follows from what its signer had seen: who hides its witnesses only stays young.

**Removals.** A removal is *idle*, and never counts, if its key weighs more than its signer. One exception, for a home
of two: a young device whose admitter was alone may put that one out.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Any

from worldos.errors import PeerBroke
from worldos.model.ids import AccountId
from worldos.trust.entries import (
    AddDevice,
    AddPasskey,
    Admission,
    Approve,
    Beginning,
    Entry,
    Genesis,
    Rekey,
    RemoveDevice,
    RemoveKey,
    SetGuardians,
    SharedGenesis,
    Snapshot,
    Witnessed,
    key_of,
)
from worldos.trust.keys import id_of

RECOVERY_WEIGHT, GUARDIANS_WEIGHT, PASSKEY_WEIGHT, DEVICE_WEIGHT, YOUNG_WEIGHT = 10, 9, 3, 1, 0
_FULL_WEIGHT: dict[type[Entry], int] = {
    Genesis: RECOVERY_WEIGHT,
    SharedGenesis: RECOVERY_WEIGHT,
    Rekey: RECOVERY_WEIGHT,
    SetGuardians: GUARDIANS_WEIGHT,
    AddPasskey: PASSKEY_WEIGHT,
    AddDevice: DEVICE_WEIGHT,
}
VETO_S = 72 * 3600
HASH_BYTES = 32
Removal = RemoveDevice | RemoveKey


class History:
    """A closed set of entries of one account, growing only."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.entries: list[Entry] = []
        self.places: dict[str, int] = {}
        self.past: list[int] = []  # what each entry had seen, itself not among it
        self.warrants: list[int] = []  # the place of each entry's warrant
        self.signers: list[str] = []  # the id of the key that signed each
        self.weights: list[int] = []  # of each entry's signer, then
        self.line: list[int] = []  # the admissions that lead from the genesis to an entry's signer
        self.adds: dict[str, int] = {}  # the admissions of each key
        self.removals: dict[str, int] = {}  # the removals of each key
        self.approvals: dict[int, int] = {}  # of each admission
        self.keeps: dict[int, frozenset[str]] = {}  # what a removal leaves, of that which it could strike
        self.guardians = 0  # entries that set guardians
        self.witnesses = 0
        self.idle = 0  # removals that never count
        self.removal_places = 0
        self.seen_by_others = 0  # entries that are a parent of another
        self.number = 0  # of the last snapshot
        self.base = 0  # the place of the snapshot that this history begins at; 0: it begins at the beginning
        self.ended = 0  # admissions of before it that count no more
        self.grown = 0
        self.alone = 0  # admissions of devices by one that was alone
        self.snapshots = 0
        self.kept: dict[int, int] = {}  # the places of what each snapshot keeps and does not end
        self.marks: frozenset[bytes] = frozenset()  # of the acceptances used before it

    def fork(self) -> History:
        """Return a copy that grows apart."""
        other = History()
        for name, value in self.__dict__.items():
            setattr(other, name, value if isinstance(value, int | frozenset) else value.copy())
        return other

    @property
    def account(self) -> AccountId:
        """The account whose log this is; there is one when there is an entry."""
        return AccountId(self.hashes[0])

    @property
    def recovery(self) -> str:
        """The id of the key that the account began with: the recovery key's, as a node id, or that of the holders."""
        return self.signers[0]

    def append(self, entry_hash: str, entry: Entry) -> None:
        """Take in an entry whose parents are all here; raise PeerBroke if no honest signer could have made it."""
        if isinstance(entry, Beginning):
            if self.entries:
                raise PeerBroke("a key log has one beginning, and this is another account's")
            self._record(
                entry_hash, entry, key_of(entry, entry_hash), past=0, warrant=0, line=0, weight=RECOVERY_WEIGHT
            )
            return
        parents = [self.places[parent] for parent in entry.parents]
        past = 0
        for parent in parents:
            past |= self.past[parent] | 1 << parent
        known = past & ~self.forgotten(past)
        signer, warrant = self._signer(entry.warrant, known)
        line = self.line[warrant] | 1 << warrant
        weight = self.weight_at(warrant, past)
        idle = False
        match entry:
            case AddDevice() | AddPasskey():
                self._check_admission(entry, past, line)
                self.alone |= self._is_alone(signer, past) << len(self.entries)
            case RemoveDevice() | RemoveKey():
                key = removed_by(entry)
                weight = self._removing(key, signer, warrant, weight, known)
                idle = weight < 0
            case _:
                self._check_right(entry, weight, known)
        for parent in parents:
            self.seen_by_others |= 1 << parent
        if idle:
            self.idle |= 1 << len(self.entries)
        self._record(entry_hash, entry, signer, past=past, warrant=warrant, line=line, weight=max(weight, 0))

    def keep(self, entry_hash: str, entry: Entry, weight: int) -> None:
        """Take in an admission that a snapshot keeps; its warrant is kept before it, or is the beginning."""
        if not isinstance(entry, Admission) or entry.warrant not in self.places or entry_hash in self.places:
            raise PeerBroke("a snapshot keeps what is no admission, or one without its warrant")
        signer, warrant = self._signer(entry.warrant, (1 << len(self.entries)) - 1)
        past, line = (1 << len(self.entries)) - 1, self.line[warrant] | 1 << warrant
        removals = self.removals.copy(), self.removal_places
        self._record(entry_hash, entry, signer, past=past, warrant=warrant, line=line, weight=weight)
        self.removals, self.removal_places = removals  # what it removed is ended already

    def append_base(self, entry_hash: str, snapshot: Snapshot) -> None:
        """Take in the snapshot that this history begins at."""
        everything = (1 << len(self.entries)) - 1
        signer, warrant = self._signer(snapshot.warrant, everything)
        self.base, self.seen_by_others = len(self.entries), everything
        self._record(
            entry_hash,
            snapshot,
            signer,
            past=everything,
            warrant=warrant,
            line=self.line[warrant] | 1 << warrant,
            weight=RECOVERY_WEIGHT,
        )

    def forgotten(self, seen: int) -> int:
        """Return what the snapshots among these had seen and ended: no warrant any more for who has seen them."""
        found = 0
        for place in bits(self.snapshots & seen):
            found |= self.past[place] & ~self.kept[place]
        return found

    def comes_after_base(self, entry: Entry) -> bool:
        """Tell whether an entry, whose parents are here, is one to take into a history that begins at a snapshot.

        It had seen the snapshot; or the words admit a device on a bare machine, where nothing else is known.
        """
        if not self.base or isinstance(entry, Beginning):
            return True
        if any(self.places[p] == self.base or self.past[self.places[p]] >> self.base & 1 for p in entry.parents):
            return True
        by_words = isinstance(self.entries[self.places.get(entry.warrant, self.base)], Beginning | Rekey)
        return isinstance(entry, AddDevice) and by_words and mark_of(entry) not in self.marks

    def strikers(self, place: int) -> int:
        """Return the removals that would make this entry void, if they count (``standing`` says why)."""
        result = 0
        for removal in bits(self.removals.get(self.signers[place], 0) & ~(1 << place | self.idle)):
            # A re-admission that a removal does not undo is beyond its reach, and so is all that it warrants.
            if not self.undoes(removal, self.warrants[place]):
                continue
            if self.past[removal] >> place & 1:
                strikes = self._vetoes(removal, place)
            else:
                strikes = self.weights[removal] >= self.weights[place] and not self._came_first(place, removal)
            if strikes:
                result |= 1 << removal
        return result

    def undoes(self, removal: int, admission: int) -> bool:
        """Tell whether a removal of a key ends this admission of it: one it had seen, or one that weighs no more."""
        if self.past[admission] >> removal & 1:
            return False
        return bool(self.past[removal] >> admission & 1) or self.weights[removal] >= self.weights[admission]

    def weight_at(self, admission: int, seen: int) -> int:
        """Return what the key that was admitted there weighs, for who has seen this."""
        full = _FULL_WEIGHT[type(self.entries[admission])]
        if self.is_ripe(admission, seen):
            return full
        return GUARDIANS_WEIGHT if full == RECOVERY_WEIGHT else YOUNG_WEIGHT

    def is_ripe(self, admission: int, seen: int, also: str = "") -> bool:
        """Tell whether an admission is young no more, for who has seen this; ``also`` believes its own looks."""
        if self.grown >> admission & 1:
            return True
        of_recovery = isinstance(self.entries[admission], Rekey)
        if self.weights[admission] >= (RECOVERY_WEIGHT if of_recovery else PASSKEY_WEIGHT):
            return True
        if self.approvals.get(admission, 0) & seen and not of_recovery:
            return True
        return _apart(self.looks(admission, seen, also))

    def may_witness(self, key: str, warrant: int, weight: int, admission: int) -> bool:
        """Tell whether a device that signs with this warrant is one to witness an admission."""
        comes_from_it = (self.line[warrant] | 1 << warrant) >> admission & 1
        own = key in {self.signers[admission], key_of(self.entries[admission], self.hashes[admission])}
        return weight >= DEVICE_WEIGHT and not comes_from_it and not own

    def heads(self) -> list[int]:
        """Return the places of the entries that no other has seen, the latest knowledge of all."""
        return [place for place in range(len(self.entries)) if not self.seen_by_others >> place & 1]

    def looks(self, admission: int, seen: int, also: str = "") -> list[int]:
        """Return when witnesses had seen an admission; what they saw before a snapshot is forgotten with it."""
        found = []
        since = max(
            (s for s in bits(self.snapshots & seen) if self.past[s] >> admission & 1), key=self._number, default=0
        )
        for look in bits(self.witnesses & seen):
            if since and not self.past[look] >> since & 1:
                continue
            signer, warrant = self.signers[look], self.warrants[look]
            weight = DEVICE_WEIGHT if signer == also else self.weights[look]
            if self.past[look] >> admission & 1 and self.may_witness(signer, warrant, weight, admission):
                entry = self.entries[look]
                assert isinstance(entry, Witnessed)
                found.append(entry.at_s)
        return found

    def _vetoes(self, removal: int, place: int) -> bool:
        """Tell whether a removal also strikes this admission by the removed key, which its signer had seen."""
        remover = self.signers[removal]
        if not isinstance(self.entries[place], AddDevice | AddPasskey) or remover == self.signers[place]:
            return False  # who leaves takes nobody along
        if self.line[removal] >> place & 1 or self.hashes[place] in self.keeps.get(removal, ()):
            return False
        return not self.is_ripe(place, self.past[removal], also=remover)

    def _came_first(self, place: int, removal: int) -> bool:
        """Tell whether, between recovery keys, a removal was known for 72 hours when the one that strikes it was not."""
        if self.weights[place] < RECOVERY_WEIGHT or not self.removal_places >> place & 1:
            return False
        return self._known_without(place, removal) and not self._known_without(removal, place)

    def _known_without(self, one: int, other: int) -> bool:
        """Tell whether devices that were there before both had seen the one, and not the other, for 72 hours."""
        times = []
        for look in bits(self.witnesses):
            saw = self.past[look]
            before = (self.past[one] & self.past[other]) >> self.warrants[look] & 1
            if saw >> one & 1 and not saw >> other & 1 and before and self.weights[look] >= DEVICE_WEIGHT:
                entry = self.entries[look]
                assert isinstance(entry, Witnessed)
                times.append(entry.at_s)
        return _apart(times)

    def _signer(self, warrant_hash: str, past: int) -> tuple[str, int]:
        warrant = self.places.get(warrant_hash)
        if warrant is None or not past >> warrant & 1:
            raise PeerBroke("an entry's signer had not seen its own warrant")
        admitted = self.entries[warrant]
        if not isinstance(admitted, Admission | Beginning):
            raise PeerBroke("what admits nobody is no warrant")
        return key_of(admitted, warrant_hash), warrant

    def _removing(self, key: str, signer: str, warrant: int, weight: int, past: int) -> int:
        """Return what a removal of this key weighs; -1 if its signer may not remove it."""
        seen = self.adds.get(key, 0) & past
        if not seen:
            raise PeerBroke("a removal names a device that its signer had never seen")
        target = max(self.weight_at(place, past) for place in bits(seen))
        if key == signer and target < GUARDIANS_WEIGHT:
            return weight
        if key == signer:
            raise PeerBroke("a recovery key is replaced, and never only removed")
        if weight >= target:
            return weight
        return (
            DEVICE_WEIGHT
            if self.alone >> warrant & 1 and target == DEVICE_WEIGHT and key == self.signers[warrant]
            else -1
        )

    def _is_alone(self, signer: str, past: int) -> bool:
        """Tell whether the account had no other key beside this one and the one that it began with."""
        return all(not at & past or key in {signer, self.recovery} for key, at in self.adds.items())

    def _check_admission(self, entry: AddDevice | AddPasskey, past: int, line: int) -> None:
        earlier = self.adds.get(key_of(entry, ""), 0)
        if earlier & line & ~1:
            raise PeerBroke("a device is admitted by itself, or by one that it admitted")
        for place in bits(earlier & past):
            add = self.entries[place]
            if type(add) is not type(entry):
                raise PeerBroke("the recovery key is not a device")
            if isinstance(add, AddDevice) and isinstance(entry, AddDevice) and add.nonce == entry.nonce:
                raise PeerBroke("a device's acceptance is used a second time")
        if isinstance(entry, AddDevice) and mark_of(entry) in self.marks:
            raise PeerBroke("a device's acceptance is used a second time")

    def _check_right(self, entry: Entry, weight: int, past: int) -> None:
        """Look whether the signer may say this at all."""
        match entry:
            case Snapshot() if weight < RECOVERY_WEIGHT:
                raise PeerBroke("only the recovery key, or the holders, sign a snapshot")
            case Rekey() | SetGuardians() if weight < GUARDIANS_WEIGHT:
                raise PeerBroke("only the recovery key, or guardians, give the account other keys of that rank")
            case Rekey() if self.adds.get(key_of(entry, ""), 0) & past:
                raise PeerBroke("a new recovery key is a key that is known already")
            case Approve():
                place = self.places.get(entry.entry)
                if place is None or not past >> place & 1 or not isinstance(self.entries[place], Admission):
                    raise PeerBroke("an approval names an admission that its signer had never seen")
                if weight < PASSKEY_WEIGHT:
                    raise PeerBroke("only a passkey, guardians or the recovery key approve")
            case _:
                pass

    def _record(
        self, entry_hash: str, entry: Entry, signer: str, *, past: int, warrant: int, line: int, weight: int
    ) -> None:
        place = len(self.entries)
        self.places[entry_hash] = place
        self.hashes.append(entry_hash)
        self.entries.append(entry)
        self.past.append(past)
        self.warrants.append(warrant)
        self.signers.append(signer)
        self.weights.append(weight)
        self.line.append(line)
        match entry:
            case Genesis() | SharedGenesis() | AddDevice() | AddPasskey():
                _put(self.adds, key_of(entry, entry_hash), place)
            case Rekey():
                _put(self.adds, key_of(entry, entry_hash), place)
                if weight >= RECOVERY_WEIGHT:
                    self._removes(signer, place)
            case SetGuardians():
                _put(self.adds, entry_hash, place)
                for earlier in bits(self.guardians & past):
                    self._removes(self.hashes[earlier], place)
                self.guardians |= 1 << place
            case RemoveDevice() | RemoveKey():
                self._removes(removed_by(entry), place)
                if isinstance(entry, RemoveKey) and entry.keep:
                    self.keeps[place] = frozenset(entry.keep)
            case Approve():
                _put(self.approvals, self.places[entry.entry], place)
            case Witnessed():
                self.witnesses |= 1 << place
            case Snapshot():
                self.number = max(self.number, entry.number)
                self.snapshots |= 1 << place
                self.kept[place] = self._live_in(entry)

    def _live_in(self, snapshot: Snapshot) -> int:
        """Return the places of what a snapshot keeps and has not ended."""
        ended, found = int.from_bytes(snapshot.ended, "big"), 0
        for number, kept in enumerate((self.hashes[0], *kept_in(snapshot))):
            if kept in self.places and not ended >> number & 1:
                found |= 1 << self.places[kept]
        return found

    def _number(self, place: int) -> tuple[int, str]:
        entry = self.entries[place]
        return (entry.number if isinstance(entry, Snapshot) else 0, self.hashes[place])

    def _removes(self, key: str, place: int) -> None:
        _put(self.removals, key, place)
        self.removal_places |= 1 << place


def removed_by(entry: Removal) -> str:
    """Return the id of the key that a removal puts out."""
    return entry.device if isinstance(entry, RemoveDevice) else entry.key


def kept_in(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the ids of the admissions that a snapshot keeps."""
    return _ids_in(snapshot.kept)


@functools.lru_cache(maxsize=4)
def _ids_in(kept: bytes) -> tuple[str, ...]:
    at = range(0, len(kept) // HASH_BYTES * HASH_BYTES, HASH_BYTES)
    return tuple(id_of(kept[place : place + HASH_BYTES]) for place in at)


def mark_of(entry: AddDevice) -> bytes:
    """Return the mark of an acceptance: 16 bytes, kept when the entry itself is not."""
    return hashlib.sha256(entry.device.encode() + entry.nonce).digest()[:16]


def bits(places: int) -> Iterator[int]:
    """Go through a set, lowest place first."""
    while places:
        lowest = places & -places
        yield lowest.bit_length() - 1
        places ^= lowest


def _apart(times_s: list[int]) -> bool:
    return bool(times_s) and max(times_s) - min(times_s) >= VETO_S


def _put(sets: dict[Any, int], key: Any, place: int) -> None:
    sets[key] = sets.get(key, 0) | 1 << place
