"""History: the entries of one key log in causal order, and who had seen what.

It is closed: an entry comes in after all its parents, or not at all, so what an entry had seen is fixed for ever when
it comes in. Sets of entries are the bits of an int, at the places where they came in; no answer depends on the order
of places. Only forms that no honest builder makes are refused here (PeerBroke); whether an entry *counts* is for
``standing`` to say.
"""

from __future__ import annotations

from worldos.errors import PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.trust.entries import AddDevice, Entry, Genesis, RemoveDevice
from worldos.trust.keys import node_id_of


class History:
    """A closed set of entries of one account, growing only."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.entries: list[Entry] = []
        self.places: dict[str, int] = {}
        self.past: list[int] = []  # what each entry had seen, itself not among it
        self.warrants: list[int] = []  # the place of each entry's warrant
        self.signers: list[NodeId] = []
        self.line: list[int] = []  # the admissions that lead from the genesis to an entry's signer
        self.adds: dict[NodeId, int] = {}  # the admissions of each device
        self.removals: dict[NodeId, int] = {}  # the removals of each device
        self.removal_places = 0
        self.seen_by_others = 0  # entries that are a parent of another

    def fork(self) -> History:
        """Return a copy that grows apart."""
        other = History()
        for name, value in self.__dict__.items():
            setattr(other, name, value if isinstance(value, int) else value.copy())
        return other

    @property
    def account(self) -> AccountId:
        """The account whose log this is; there is one when there is an entry."""
        return AccountId(self.hashes[0])

    @property
    def recovery(self) -> NodeId:
        """The recovery key, written as a node id."""
        return self.signers[0]

    def append(self, entry_hash: str, entry: Entry) -> None:
        """Take in an entry whose parents are all here; raise PeerBroke if no honest signer could have made it."""
        place = len(self.entries)
        if isinstance(entry, Genesis):
            if place:
                raise PeerBroke("a key log has one beginning, and this is another account's")
            self._record(entry_hash, entry, node_id_of(entry.recovery), past=0, warrant=0, line=0)
            return
        parents = [self.places[parent] for parent in entry.parents]
        past = 0
        for parent in parents:
            past |= self.past[parent] | 1 << parent
        signer, warrant = self._signer(entry.warrant, past)
        line = self.line[warrant] | 1 << warrant
        if isinstance(entry, AddDevice):
            self._check_admission(entry, past, line)
        elif not self.adds.get(entry.device, 0) & past:
            raise PeerBroke("a removal names a device that its signer had never seen")
        for parent in parents:
            self.seen_by_others |= 1 << parent
        self._record(entry_hash, entry, signer, past=past, warrant=warrant, line=line)

    def strikers(self, place: int) -> int:
        """Return the removals that would make this entry void, if they count."""
        found = self.removals.get(self.signers[place], 0) & ~(1 << place)
        # A re-admission that had seen a removal is beyond its reach, and so is all that it warrants.
        found &= ~self.past[self.warrants[place]]
        result = 0
        while found:
            removal = found.bit_length() - 1
            found ^= 1 << removal
            if not self.past[removal] >> place & 1:
                result |= 1 << removal
        return result

    def heads(self) -> list[int]:
        """Return the places of the entries that no other has seen, the latest knowledge of all."""
        return [place for place in range(len(self.entries)) if not self.seen_by_others >> place & 1]

    def _signer(self, warrant_hash: str, past: int) -> tuple[NodeId, int]:
        warrant = self.places.get(warrant_hash)
        if warrant is None or not past >> warrant & 1:
            raise PeerBroke("an entry's signer had not seen its own warrant")
        admitted = self.entries[warrant]
        if isinstance(admitted, RemoveDevice):
            raise PeerBroke("a removal is no warrant")
        return (self.recovery if isinstance(admitted, Genesis) else admitted.device), warrant

    def _check_admission(self, entry: AddDevice, past: int, line: int) -> None:
        earlier = self.adds.get(entry.device, 0)
        if entry.device == self.recovery:
            raise PeerBroke("the recovery key is not a device")
        if earlier & line:
            raise PeerBroke("a device is admitted by itself, or by one that it admitted")
        while earlier:
            place = earlier.bit_length() - 1
            earlier ^= 1 << place
            add = self.entries[place]
            assert isinstance(add, AddDevice)
            if past >> place & 1 and add.nonce == entry.nonce:
                raise PeerBroke("a device's acceptance is used a second time")

    def _record(self, entry_hash: str, entry: Entry, signer: NodeId, *, past: int, warrant: int, line: int) -> None:
        place = len(self.entries)
        self.places[entry_hash] = place
        self.hashes.append(entry_hash)
        self.entries.append(entry)
        self.past.append(past)
        self.warrants.append(warrant)
        self.signers.append(signer)
        self.line.append(line)
        if isinstance(entry, AddDevice):
            self.adds[entry.device] = self.adds.get(entry.device, 0) | 1 << place
        elif isinstance(entry, RemoveDevice):
            self.removals[entry.device] = self.removals.get(entry.device, 0) | 1 << place
            self.removal_places |= 1 << place
