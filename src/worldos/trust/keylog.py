"""The key log: who belongs to an account, as a pure function of a set of signed entries.

Merging two logs is the union of their entries, so nodes that were cut off from each other agree as soon as they
exchanged what they have, in any order and however often. Removal wins: over an admission made at the same time, and
over everything the removed device signed that its remover had not seen (``standing`` has the rule). The recovery key,
made of the 24 words, is struck by nothing that weighs less (``history`` has the weights).

``merge`` is the one door: size, form, causality and signatures are checked there, and nothing of a batch is kept if
one entry fails. A log is closed: an entry whose parents are neither here nor in the batch is left out, so what a
thief hangs on a parent that does not exist goes nowhere; ask for ``missing(heads)`` and merge what comes. Two nodes
synchronise so: send ``heads()``; who misses one of them sends its own heads and gets ``since(heads)``.

Bounds: ENTRIES_MAX entries of ENTRY_BYTES_MAX. The last quarter is kept for removals, and the last eighth for the
recovery key, so that a stolen device cannot fill the log against its own removal. Above the first bound two logs may
hold different admissions. ``entries`` is the whole state, and is what is encoded; the rest is worked out of it again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import msgspec

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.model.ids import AccountId
from worldos.trust.entries import (
    PARENTS_MAX,
    AddDevice,
    Beginning,
    ClaimAccept,
    Entry,
    Genesis,
    Rekey,
    RemoveDevice,
    SetGuardians,
    SignedEntry,
    Snapshot,
    accept_claim,
    check_claim,
    check_signatures,
    hash_of,
    is_beginning,
    is_snapshot,
    read_entry,
    sign_entry,
)
from worldos.trust.history import GUARDIANS_WEIGHT, History, Removal, bits, kept_in
from worldos.trust.keys import DeviceKey
from worldos.trust.members import BY_RECOVERY, Device, DeviceStatus, Members, View, view_of
from worldos.trust.snapshot import authority, begin_at, check_against, check_snapshot

__all__ = [
    "KeyLog",
    "Members",
    "Device",
    "DeviceStatus",
    "BY_RECOVERY",
    "SignedEntry",
    "ClaimAccept",
    "accept_claim",
    "new_account",
    "add_device",
    "remove_device",
    "hash_of",
]

ENTRIES_MAX = 4096
ADDS_MAX = ENTRIES_MAX * 3 // 4
WAITING_BYTES_MAX = 8 * 1024 * 1024  # what came of a snapshot's log so far
DEVICE_ENTRIES_MAX = ENTRIES_MAX * 7 // 8


class KeyLog(msgspec.Struct, dict=True):
    """The entries of one account by their ids, each after its parents. Change it by ``merge`` alone."""

    entries: dict[str, SignedEntry] = {}

    @property
    def account(self) -> AccountId:
        """The account whose log this is; NotAllowed while the log is empty."""
        if not self.entries:
            raise NotAllowed(
                "this machine belongs to no account yet", hint="wos up makes one, wos join TICKET joins one"
            )
        return self._history.account

    def merge(self, entries: Iterable[SignedEntry]) -> list[str]:
        """Take in what is new and right; return the ids of what was taken in, parents first.

        Raises BadSignature or PeerBroke, and then nothing is taken in. Entries without their parents are left out.
        """
        fresh = {entry_id: signed for signed in entries if (entry_id := hash_of(signed)) not in self.entries}
        if not fresh:
            return []
        if len(fresh) > ENTRIES_MAX:
            raise PeerBroke(f"a key log has at most {ENTRIES_MAX} entries")
        fresh = {**self.__dict__.pop("_waiting", {}), **fresh}
        base = self._base_in(fresh)
        if base is not None:
            return self._begin_with(base, fresh)
        read = {entry_id: read_entry(signed) for entry_id, signed in fresh.items()}
        history = self._history.fork()
        taken: list[str] = []
        for entry_id in _parents_first(read, history):
            entry = read[entry_id]
            if not _has_room(history, entry) or not history.places.keys() >= _parents_of(entry):
                continue
            if not history.comes_after_base(entry):
                continue
            history.append(entry_id, entry)
            check_signatures(entry, fresh[entry_id], history.account, history.entries[history.warrants[-1]])
            if isinstance(entry, Snapshot):
                _check_snapshot(history, {**self.entries, **fresh})
            taken.append(entry_id)
        if taken:
            self.entries.update((entry_id, fresh[entry_id]) for entry_id in taken)
            self.__dict__.pop("_view", None)
            self.__dict__["_history"] = history
        return taken

    def snapshot_to_forget_before(self) -> str:
        """Return the snapshot that all the rest that counts had seen or was seen by; empty if there is none.

        When every device has it, the log may begin there (``forget_before``).
        """
        history = self._history
        for place in sorted(bits(history.snapshots & self._view.counting), reverse=True):
            if place == history.base:
                continue
            before = history.past[place] | 1 << place
            after = sum(1 << at for at in range(len(history.entries)) if history.past[at] >> place & 1)
            if not self._view.counting & ~(before | after):
                return history.hashes[place]
        return ""

    def seen_by(self, parents: Iterable[str]) -> KeyLog:
        """Return what an entry with these parents has seen, as a log of its own."""
        history, seen = self._history, 0
        for parent in parents:
            place = history.places[parent]
            seen |= history.past[place] | 1 << place
        return KeyLog(entries={history.hashes[place]: self.entries[history.hashes[place]] for place in bits(seen)})

    def has_seen(self, heads: Iterable[str], entry: str) -> bool:
        """Tell whether somebody with these heads has this entry; heads that are unknown here say nothing."""
        history = self._history
        at = history.places[entry]
        return any(
            head == entry or history.past[history.places[head]] >> at & 1 for head in heads if head in history.places
        )

    def forget_before(self, snapshot: str) -> int:
        """Let the log begin at this snapshot; return how many entries were forgotten."""
        before = len(self.entries)
        self._begin_at(snapshot, dict(self.entries))
        return before - len(self.entries)

    def _base_in(self, fresh: dict[str, SignedEntry]) -> str | None:
        """Return the snapshot that this log is to begin at from now on, if it is.

        Where nothing is lost by it: a machine that has nothing of its own. Or where whoever sends it has forgotten what
        led there, and says so by sending the snapshot first: then nobody has the rest any more.
        """
        if not any(is_snapshot(signed) for signed in fresh.values()):
            return None
        read = {entry_id: read_entry(signed, vouched=True) for entry_id, signed in fresh.items()}
        own = dict(zip(self._history.hashes, self._history.entries, strict=True))
        whole = set(_parents_first(read, self._history)) if own else set()
        if all(map(_is_bare, own.values())) and (base := _base_of_all({**own, **read})) not in {"", *whole}:
            return base
        first = next(iter(fresh))
        snapshot = read[first]
        if not isinstance(snapshot, Snapshot) or snapshot.number <= self._history.number:
            return None
        return None if first in whole else first

    def _begin_with(self, base: str, fresh: dict[str, SignedEntry]) -> list[str]:
        """Begin at a snapshot, or wait for the rest of what it keeps: a long log comes in several messages."""
        snapshot, entries = read_entry(fresh[base]), {**self.entries, **fresh}
        assert isinstance(snapshot, Snapshot)
        if entries.keys() >= set(kept_in(snapshot)) and any(map(is_beginning, entries.values())):
            return self._begin_at(base, entries)
        if sum(len(signed.body) for signed in fresh.values()) <= WAITING_BYTES_MAX:
            self.__dict__["_waiting"] = fresh
        return []

    def _check_nobody_returns(self, history: History) -> None:
        """Raise PeerBroke if a new beginning would undo a removal that counts here: an old snapshot from a stolen disk."""
        old = self._history
        for place in bits(view_of(history).live) if len(old.entries) > 1 else ():
            known = old.places.get(history.hashes[place])
            if known is not None and not self._view.live >> known & 1:
                raise PeerBroke("a snapshot brings back a key that was put out")

    def _begin_at(self, base: str, entries: dict[str, SignedEntry]) -> list[str]:
        """Begin anew at a snapshot, with what it keeps and all that comes after it; return what is new here."""
        history = _history_from(base, entries, trusted=self.keys if self.entries else None)
        rest = {entry_id: read_entry(entries[entry_id]) for entry_id in entries if entry_id not in history.places}
        for entry_id in _parents_first(rest, history):
            entry = rest[entry_id]
            if not history.places.keys() >= _parents_of(entry) or not history.comes_after_base(entry):
                continue
            history.append(entry_id, entry)
            if entry_id not in self.entries:
                check_signatures(entry, entries[entry_id], history.account, history.entries[history.warrants[-1]])
        self._check_nobody_returns(history)
        taken = [entry_id for entry_id in history.hashes if entry_id not in self.entries]
        self.entries = {entry_id: entries[entry_id] for entry_id in (base, *history.hashes)}
        self.__dict__.pop("_view", None)
        self.__dict__["_history"] = history
        return taken

    def members(self) -> Members:
        """Return the devices of the account as the whole log has it."""
        return self._view.members

    def is_member(self, node: str) -> bool:
        """Say whether this device may act for the account now."""
        return node in self._view.warrants

    @property
    def keys(self) -> dict[str, int]:
        """The keys that may act for the account, devices and others, and the places in history that admitted them."""
        return self._view.keys

    @property
    def history(self) -> History:
        """What was said, in causal order; for those who look at the log, never to be changed."""
        return self._history

    @property
    def live(self) -> int:
        """The places in history of all admissions of the keys that may act."""
        return self._view.live

    @property
    def counting(self) -> int:
        """The places in history that count."""
        return self._view.counting

    def warrant_of(self, key: str) -> str:
        """Return the id of the entry that lets this key speak for the account; NotAllowed if nothing does."""
        place = self._view.keys.get(key)
        if place is None:
            if key in self._history.adds:
                raise NotAllowed("this device or key was removed from the account, or replaced")
            raise NotAllowed("this device does not belong to the account, or was removed from it")
        return self._history.hashes[place]

    def parents(self) -> tuple[str, ...]:
        """Return what to name in a new entry: the latest that counts. What is void is not passed on."""
        history, counting = self._history, self._view.counting
        seen = 0
        for place in bits(counting):
            seen |= history.past[place]
        latest = sorted(history.hashes[place] for place in bits(counting & ~seen))
        return tuple(latest[:PARENTS_MAX])

    def check_room(self, key: str, bound: int) -> None:
        """Raise OverQuota if an entry of this key would not come in any more; the recovery key has the last places."""
        history = self._history
        strong = key in self.keys and history.weight_at(self.keys[key], -1) >= GUARDIANS_WEIGHT
        if len(history.entries) >= (ENTRIES_MAX if strong else bound):
            raise OverQuota("the key log of this account is full", hint="compact it: wos account compact")

    def heads(self) -> tuple[str, ...]:
        """Return the ids of the latest entries: with what they had seen, they are the whole log."""
        history = self._history
        return tuple(sorted(history.hashes[place] for place in history.heads()))

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Return those of the ids (a peer's heads, say) that are not in this log."""
        return [entry_id for entry_id in ids if entry_id not in self.entries]

    def since(self, heads: Iterable[str]) -> list[SignedEntry]:
        """Return what a peer with these heads does not have; heads unknown here are passed over.

        Parents first, but before all the snapshot that a log begins at: who gets it in parts waits for the rest.
        """
        history, known = self._history, 0
        for head in heads:
            place = history.places.get(head)
            if place is not None:
                known |= history.past[place] | 1 << place
        places = [history.base] if history.base else []
        places += [place for place in range(len(history.hashes)) if place != history.base or not history.base]
        return [self.entries[history.hashes[place]] for place in places if not known >> place & 1]

    @functools.cached_property
    def _history(self) -> History:
        """The causal order, worked out anew when the log was decoded, then kept up by ``merge``."""
        history = History()
        read = {entry_id: read_entry(signed, vouched=True) for entry_id, signed in self.entries.items()}
        base = _snapshot_of(self.entries, history)
        if base:
            history = _history_from(base, self.entries, trusted=None)
            read = {entry_id: entry for entry_id, entry in read.items() if entry_id not in history.places}
        for entry_id in _parents_first(read, history):
            history.append(entry_id, read[entry_id])
        return history

    @functools.cached_property
    def _view(self) -> View:
        return view_of(self._history)


def new_account(recovery_seed: bytes) -> SignedEntry:
    """Begin the account of a recovery key; the same words make the same account."""
    recovery = DeviceKey.from_seed(recovery_seed)
    return sign_entry(recovery, Genesis(recovery=recovery.public))


def add_device(log: KeyLog, signer: DeviceKey, request: ClaimAccept) -> SignedEntry:
    """Make the entry that admits a device that has accepted; merge it to make it true.

    Raises NotAllowed if the signer may not, or if the device is one that the signer comes from.
    """
    entry = device_entry(log, signer.node_id, request)
    return sign_entry(signer, entry)


def device_entry(log: KeyLog, signer: str, request: ClaimAccept) -> AddDevice:
    """Write down that the key ``signer`` admits a device, for it to sign."""
    if request.account != log.account:
        raise PeerBroke("this device accepted to belong to another account")
    check_claim(request)
    log.check_room(signer, ADDS_MAX)
    warrant = log.warrant_of(signer)
    history = log.history
    place = history.places[warrant]
    if history.adds.get(request.device, 0) & (history.line[place] | 1 << place):
        raise NotAllowed(
            "a device cannot admit itself, nor the one that it was admitted by",
            hint="let it join with a new device key, or use the recovery words",
        )
    return AddDevice(
        warrant=warrant,
        parents=log.parents(),
        device=request.device,
        name=request.name,
        root_cert=request.root_cert,
        nonce=request.nonce,
        acceptance=request.signature,
    )


def remove_device(log: KeyLog, signer: DeviceKey, node: str) -> SignedEntry:
    """Make the entry that puts a device out; merge it to make it true. NotAllowed if the signer may not."""
    known = log.members().get(node)
    if known is None:
        raise BadRequest(f"this account has no device {node[:52]!r}", hint="wos devices lists them")
    log.check_room(signer.node_id, DEVICE_ENTRIES_MAX)
    entry = RemoveDevice(warrant=log.warrant_of(signer.node_id), parents=log.parents(), device=known.node)
    check_removal(log, signer.node_id, entry)
    return sign_entry(signer, entry)


def check_removal(log: KeyLog, signer: str, entry: Removal) -> None:
    """Raise NotAllowed for a removal that would never count: of a key that weighs more than its signer."""
    trial = log.history.fork()
    trial.append("", entry)
    if trial.idle >> len(trial.entries) - 1 & 1:
        raise NotAllowed(
            "this key may not put that one out, which weighs more",
            hint="use the recovery words or a passkey; or approve this device first: wos account approve",
        )


def _history_from(base: str, entries: dict[str, SignedEntry], *, trusted: dict[str, int] | None) -> History:
    """Begin a history at a snapshot; raise PeerBroke or BadSignature unless it, and what it keeps, is whole and right.

    ``trusted`` are the keys that may act as far as is known here; a key that was put out makes no new beginning.
    """
    snapshot = read_entry(entries[base])
    assert isinstance(snapshot, Snapshot)
    check_snapshot(snapshot)
    ids = kept_in(snapshot)
    begun = _beginnings(entries)
    if len(begun) != 1 or not entries.keys() >= set(ids):
        raise PeerBroke("a snapshot comes without the entries that it keeps")
    read = {entry_id: read_entry(entries[entry_id], vouched=True) for entry_id in ids}
    account = begun[0][0]
    path = authority(snapshot, {**read, account: begun[0][1]})
    for entry_id in (base, *path):
        entry = snapshot if entry_id == base else read[entry_id]
        assert not isinstance(entry, Beginning)
        signer = read.get(entry.warrant, begun[0][1])
        check_signatures(entry, entries[entry_id], AccountId(account), signer)
    check_signatures(begun[0][1], entries[account], AccountId(account), begun[0][1])
    history = begin_at(begun[0], [(entry_id, read[entry_id]) for entry_id in ids], snapshot, base)
    if trusted is not None and history.signers[history.base] not in trusted:
        raise PeerBroke("a snapshot is signed by a key that was put out")
    return history


def _is_bare(entry: Entry) -> bool:
    """Tell whether an entry is one of those that a machine has which knows the words and nothing else."""
    return isinstance(entry, Beginning) or (isinstance(entry, AddDevice) and entry.parents == (entry.warrant,))


def _base_of_all(read: dict[str, Entry]) -> str:
    """Return a snapshot that all of these entries are kept by, or come after: then nothing is lost by believing it."""
    begun = {entry_id for entry_id, entry in read.items() if isinstance(entry, Beginning)}
    for base, snapshot in read.items():
        if isinstance(snapshot, Snapshot):
            by_words = {entry_id for entry_id, e in read.items() if isinstance(e, AddDevice) and e.warrant in begun}
            after = {base, *(read.keys() - begun - by_words - set(kept_in(snapshot)))}
            if read.keys() >= set(kept_in(snapshot)) and all(
                entry_id == base or not _parents_of(read[entry_id]).isdisjoint(after) for entry_id in after
            ):
                return base
    return ""


def _snapshot_of(entries: dict[str, SignedEntry], history: History) -> str:
    """Return the snapshot that stored entries begin at; empty if they begin at the beginning."""
    snapshots = [entry_id for entry_id, signed in entries.items() if is_snapshot(signed)]
    if not snapshots:
        return ""
    read = {entry_id: read_entry(signed, vouched=True) for entry_id, signed in entries.items()}
    whole = set(_parents_first(read, history))
    return next((entry_id for entry_id in snapshots if entry_id not in whole), "")


def _beginnings(entries: dict[str, SignedEntry]) -> list[tuple[str, Entry]]:
    return [(entry_id, read_entry(signed)) for entry_id, signed in entries.items() if is_beginning(signed)]


def _check_snapshot(history: History, entries: dict[str, SignedEntry]) -> None:
    """Raise PeerBroke unless the snapshot that just came in says what it had seen comes to."""
    snapshot = history.entries[-1]
    assert isinstance(snapshot, Snapshot)
    check_snapshot(snapshot)
    before = KeyLog(entries={history.hashes[place]: entries[history.hashes[place]] for place in bits(history.past[-1])})
    check_against(before.history, snapshot, before.live, before.counting)


def _has_room(history: History, entry: Entry) -> bool:
    if isinstance(entry, Beginning):
        return True
    warrant = history.places.get(entry.warrant)
    if warrant is not None and isinstance(history.entries[warrant], Beginning | Rekey | SetGuardians):
        return len(history.entries) < ENTRIES_MAX
    return len(history.entries) < (DEVICE_ENTRIES_MAX if isinstance(entry, Removal) else ADDS_MAX)


def _parents_of(entry: Entry) -> frozenset[str]:
    return frozenset() if isinstance(entry, Beginning) else frozenset(entry.parents)


def _parents_first(read: dict[str, Entry], history: History) -> list[str]:
    """Put entries in an order in which each comes after its parents; what lacks one, near or far, is left out."""
    waiting: dict[str, int] = {}
    children: dict[str, list[str]] = {}
    for entry_id in sorted(read):
        absent = [parent for parent in _parents_of(read[entry_id]) if parent not in history.places]
        waiting[entry_id] = len(absent)
        for parent in absent:
            children.setdefault(parent, []).append(entry_id)
    order = [entry_id for entry_id in waiting if not waiting[entry_id]]
    for entry_id in order:  # grows while it is gone through
        for child in children.get(entry_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    return order
