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

import enum
import functools
from collections.abc import Iterable

import msgspec

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.model.ids import AccountId, NodeId
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
    accept_claim,
    check_claim,
    check_signatures,
    hash_of,
    read_entry,
    sign_entry,
)
from worldos.trust.history import GUARDIANS_WEIGHT, RECOVERY_WEIGHT, History, Removal, bits
from worldos.trust.keys import DeviceKey
from worldos.trust.standing import grounded

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
    """A device that was once rightly admitted; ``added_by`` is a node id or ``"recovery"``.

    ``young``: admitted by a device alone, and not ripe yet (``history``). It may do what is of class 0 and 1, and put
    nobody out that is not young itself.
    """

    node: NodeId
    name: str
    root_cert: bytes
    added_by: str
    status: DeviceStatus
    young: bool = False


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
            check_signatures(entry, fresh[entry_id], history.account, history.entries[history.warrants[-1]])
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

    @property
    def keys(self) -> dict[str, int]:
        """The keys that may act for the account, devices and others, and the places in history that admitted them."""
        return self._view.keys

    @property
    def history(self) -> History:
        """What was said, in causal order; for those who look at the log, never to be changed."""
        return self._history

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
        """Return the heads to name in a new entry; if they are too many, those that count come first."""
        history, counting = self._history, self._view.counting
        heads = sorted(history.heads(), key=lambda place: (not counting >> place & 1, history.hashes[place]))
        return tuple(sorted(history.hashes[place] for place in heads[:PARENTS_MAX]))

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
    """What the log comes to: the members, the warrants of all keys that may act, of devices, and what counts."""

    members: Members
    keys: dict[str, int]
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


def _view_of(history: History) -> _View:
    firm, void = grounded(history)
    counting = firm | (history.removal_places & ~void)
    devices: list[Device] = []
    keys: dict[str, int] = {}
    for key in sorted(history.adds):
        valid = history.adds[key] & firm
        live = _live(history, key, valid, counting)
        valid = valid or _vetoed(history, key, counting)
        if not valid:
            continue
        # Of several admissions the one that had seen most speaks; its hash decides between equals.
        place = min(bits(live or valid), key=lambda at: (-history.past[at].bit_count(), history.hashes[at]))
        if live:
            keys[key] = place
        if isinstance(history.entries[place], AddDevice):
            young = bool(live) and not history.is_ripe(place, counting)
            devices.append(_device(history, place, DeviceStatus.ACTIVE if live else DeviceStatus.REVOKED, young=young))
    account = history.account if history.entries else AccountId("")
    warrants = {NodeId(key): place for key, place in keys.items() if isinstance(history.entries[place], AddDevice)}
    return _View(Members(account=account, devices=tuple(devices)), keys, warrants, counting)


def _live(history: History, key: str, valid: int, counting: int) -> int:
    """Return those admissions that no removal of this key undoes."""
    removals = history.removals.get(key, 0) & counting
    live = 0
    for place in bits(valid):
        if not any(history.undoes(removal, place) for removal in bits(removals)):
            live |= 1 << place
    return live


def _vetoed(history: History, key: str, counting: int) -> int:
    """Return those admissions that were known when a removal struck them: such a device is shown as revoked."""
    found = 0
    for place in bits(history.adds[key]):
        if any(history.past[removal] >> place & 1 for removal in bits(history.strikers(place) & counting)):
            found |= 1 << place
    return found


def _device(history: History, place: int, status: DeviceStatus, *, young: bool) -> Device:
    add = history.entries[place]
    assert isinstance(add, AddDevice)
    strong = history.weights[place] >= RECOVERY_WEIGHT
    return Device(
        node=add.device,
        name=add.name,
        root_cert=add.root_cert,
        added_by=BY_RECOVERY if strong else history.signers[place],
        status=status,
        young=young,
    )


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
