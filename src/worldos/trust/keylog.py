"""The key log: who belongs to an account, as a pure function of a set of signed entries.

Merging two logs is the union of their entries, so nodes that were cut off from each other agree as soon as they
exchanged what they have, in any order and however often. Removal wins: over an admission made at the same time, and
over everything the removed device signed that its remover had not seen (``standing`` has the rule). The recovery key,
made of the 24 words, is struck by nothing.

``merge`` is the one door: size, form, causality and signatures are checked there, and nothing of a batch is kept if
one entry fails. A log is closed: an entry whose parents are neither here nor in the batch is left out, so what a
thief hangs on a parent that does not exist goes nowhere; ask for ``missing(heads)`` and merge what comes. Two nodes
synchronise so: send ``heads()``; who misses one of them sends its own heads and gets ``since(heads)``.

Bounds: ENTRIES_MAX entries of ENTRY_BYTES_MAX. The last quarter is kept for removals, and the last eighth for the
recovery key, so that a stolen device cannot fill the log against its own removal. Above the first bound two logs may
hold different admissions. ``entries`` is the whole state, and is what is encoded; the rest is worked out of it again.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable

import msgspec

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.trust.entries import (
    PARENTS_MAX,
    AddDevice,
    ClaimAccept,
    Entry,
    Genesis,
    RemoveDevice,
    SignedEntry,
    accept_claim,
    check_claim,
    check_signatures,
    hash_of,
    read_entry,
    sign_entry,
)
from worldos.trust.history import History
from worldos.trust.keys import DeviceKey
from worldos.trust.standing import bits, standing

__all__ = [
    "KeyLog",
    "Members",
    "Device",
    "DeviceStatus",
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
DEVICE_ENTRIES_MAX = ENTRIES_MAX * 7 // 8
BY_RECOVERY = "recovery"


class DeviceStatus(enum.StrEnum):
    """Whether a device may act for its account."""

    ACTIVE = "active"
    REVOKED = "revoked"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that was once rightly admitted; ``added_by`` is a node id or ``"recovery"``."""

    node: NodeId
    name: str
    root_cert: bytes
    added_by: str
    status: DeviceStatus


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """All devices of an account, active and revoked, in order of their ids."""

    account: AccountId
    devices: tuple[Device, ...]

    @property
    def active(self) -> tuple[Device, ...]:
        """The devices that may act: their roots are the trust anchors."""
        return tuple(device for device in self.devices if device.status is DeviceStatus.ACTIVE)

    def get(self, node: str) -> Device | None:
        """Return the device of this id, active or revoked."""
        return next((device for device in self.devices if device.node == node), None)


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
        read = {entry_id: read_entry(signed) for entry_id, signed in fresh.items()}
        history = self._history.fork()
        taken: list[str] = []
        for entry_id in _parents_first(read, history):
            entry = read[entry_id]
            if not _has_room(history, entry) or not history.places.keys() >= _parents_of(entry):
                continue
            history.append(entry_id, entry)
            check_signatures(entry, fresh[entry_id], history.account, history.signers[-1])
            taken.append(entry_id)
        if taken:
            self.entries.update((entry_id, fresh[entry_id]) for entry_id in taken)
            self.__dict__.pop("_view", None)
            self.__dict__["_history"] = history
        return taken

    def members(self) -> Members:
        """Return the devices of the account as the whole log has it."""
        return self._view.members

    def is_member(self, node: str) -> bool:
        """Say whether this device may act for the account now."""
        return node in self._view.warrants

    def heads(self) -> tuple[str, ...]:
        """Return the ids of the latest entries: with what they had seen, they are the whole log."""
        history = self._history
        return tuple(sorted(history.hashes[place] for place in history.heads()))

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Return those of the ids (a peer's heads, say) that are not in this log."""
        return [entry_id for entry_id in ids if entry_id not in self.entries]

    def since(self, heads: Iterable[str]) -> list[SignedEntry]:
        """Return what a peer with these heads does not have, parents first; heads unknown here are passed over."""
        history, known = self._history, 0
        for head in heads:
            place = history.places.get(head)
            if place is not None:
                known |= history.past[place] | 1 << place
        return [self.entries[entry_id] for place, entry_id in enumerate(history.hashes) if not known >> place & 1]

    @functools.cached_property
    def _history(self) -> History:
        """The causal order, worked out anew when the log was decoded, then kept up by ``merge``."""
        history = History()
        read = {entry_id: read_entry(signed) for entry_id, signed in self.entries.items()}
        for entry_id in _parents_first(read, history):
            history.append(entry_id, read[entry_id])
        return history

    @functools.cached_property
    def _view(self) -> _View:
        return _view_of(self._history)


class _View(msgspec.Struct, frozen=True):
    """What the log comes to: the members, the warrant of each active one, and which entries count."""

    members: Members
    warrants: dict[NodeId, int]
    counting: int


def new_account(recovery_seed: bytes) -> SignedEntry:
    """Begin the account of a recovery key; the same words make the same account."""
    recovery = DeviceKey.from_seed(recovery_seed)
    return sign_entry(recovery, Genesis(recovery=recovery.public))


def add_device(log: KeyLog, signer: DeviceKey, request: ClaimAccept) -> SignedEntry:
    """Make the entry that admits a device that has accepted; merge it to make it true.

    Raises NotAllowed if the signer may not, or if the device is one that the signer comes from.
    """
    if request.account != log.account:
        raise PeerBroke("this device accepted to belong to another account")
    check_claim(request)
    history = log._history
    if not _fits(history, ADDS_MAX, signer):
        raise OverQuota("the key log of this account is full", hint="only the recovery words can add now")
    warrant = _warrant_of(log, signer)
    entry = AddDevice(
        warrant=history.hashes[warrant],
        parents=_parents(log),
        device=request.device,
        name=request.name,
        root_cert=request.root_cert,
        nonce=request.nonce,
        acceptance=request.signature,
    )
    if history.adds.get(request.device, 0) & (history.line[warrant] | 1 << warrant):
        raise NotAllowed(
            "a device cannot admit itself, nor the one that it was admitted by",
            hint="let it join with a new device key, or use the recovery words",
        )
    return sign_entry(signer, entry)


def remove_device(log: KeyLog, signer: DeviceKey, node: str) -> SignedEntry:
    """Make the entry that puts a device out; merge it to make it true. NotAllowed if the signer may not."""
    known = log.members().get(node)
    if known is None:
        raise BadRequest(f"this account has no device {node[:52]!r}", hint="wos devices lists them")
    history = log._history
    if not _fits(history, DEVICE_ENTRIES_MAX, signer):
        raise OverQuota("the key log of this account is full", hint="only the recovery words can remove now")
    warrant = history.hashes[_warrant_of(log, signer)]
    return sign_entry(signer, RemoveDevice(warrant=warrant, parents=_parents(log), device=known.node))


def _view_of(history: History) -> _View:
    counting = standing(history)
    devices: list[Device] = []
    warrants: dict[NodeId, int] = {}
    for node in sorted(history.adds):
        valid = history.adds[node] & counting
        live = _live(history, node, valid, counting)
        if not valid:
            continue
        # Of several admissions the one that had seen most speaks; its hash decides between equals.
        place = min(bits(live or valid), key=lambda at: (-history.past[at].bit_count(), history.hashes[at]))
        if live:
            warrants[node] = place
        devices.append(_device(history, place, DeviceStatus.ACTIVE if live else DeviceStatus.REVOKED))
    account = history.account if history.entries else AccountId("")
    return _View(Members(account=account, devices=tuple(devices)), warrants, counting)


def _live(history: History, node: NodeId, valid: int, counting: int) -> int:
    """Return those admissions that had seen every removal of this device that counts."""
    removals = history.removals.get(node, 0) & counting
    live = 0
    for place in bits(valid):
        if not removals & ~history.past[place]:
            live |= 1 << place
    return live


def _device(history: History, place: int, status: DeviceStatus) -> Device:
    add = history.entries[place]
    assert isinstance(add, AddDevice)
    signer = history.signers[place]
    return Device(
        node=add.device,
        name=add.name,
        root_cert=add.root_cert,
        added_by=BY_RECOVERY if signer == history.recovery else signer,
        status=status,
    )


def _warrant_of(log: KeyLog, signer: DeviceKey) -> int:
    if log.entries and signer.node_id == log._history.recovery:
        return 0
    warrant = log._view.warrants.get(signer.node_id)
    if warrant is None:
        raise NotAllowed("this device does not belong to the account, or was removed from it")
    return warrant


def _parents(log: KeyLog) -> tuple[str, ...]:
    """Return the heads to name in a new entry; if they are too many, those that count come first."""
    history, counting = log._history, log._view.counting
    heads = sorted(history.heads(), key=lambda place: (not counting >> place & 1, history.hashes[place]))
    return tuple(sorted(history.hashes[place] for place in heads[:PARENTS_MAX]))


def _has_room(history: History, entry: Entry) -> bool:
    by_recovery = not isinstance(entry, Genesis) and history.entries and entry.warrant == history.account
    if by_recovery:
        return len(history.entries) < ENTRIES_MAX
    return len(history.entries) < (ADDS_MAX if isinstance(entry, AddDevice) else DEVICE_ENTRIES_MAX)


def _fits(history: History, bound: int, signer: DeviceKey) -> bool:
    return len(history.entries) < (ENTRIES_MAX if signer.node_id == history.recovery else bound)


def _parents_of(entry: Entry) -> frozenset[str]:
    return frozenset() if isinstance(entry, Genesis) else frozenset(entry.parents)


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
