"""Sayings: what a key of an account may say in its log beside admitting and removing devices.

Each ``..._entry`` writes an entry down for the key with this id, for whoever holds that key to sign: a device or the
words (``sign_entry``), a passkey in a browser (``body_of``, then ``signed_by_passkey``), or a quorum (``approve_body``
by each, ``approvals.join``, then ``SignedEntry``). The functions without that ending do it all for a key that is here.
Merge what comes out to make it true. NotAllowed if the key may not; what the log would void is not written.
"""

from __future__ import annotations

from worldos.errors import BadRequest, NotAllowed, PeerBroke
from worldos.trust.approvals import Quorum
from worldos.trust.entries import (
    AddPasskey,
    Admission,
    Approve,
    Entry,
    Rekey,
    RemoveKey,
    SetGuardians,
    SharedGenesis,
    SignedEntry,
    Snapshot,
    Witnessed,
    accept_rekey,
    passkey_id,
    sign_entry,
)
from worldos.trust.history import DEVICE_WEIGHT, VETO_S, History, bits
from worldos.trust.keylog import ADDS_MAX, DEVICE_ENTRIES_MAX, KeyLog, check_removal
from worldos.trust.keys import DeviceKey
from worldos.trust.snapshot import kept_of, snapshot_of

SMALL_HOME = 8  # so few devices look at every admission, each for itself


def passkey_entry(log: KeyLog, signer: str, *, credential: bytes, public: bytes, rp: str, name: str) -> AddPasskey:
    """Write down that a passkey may act for the account; from a device it is young until it ripens or is approved."""
    log.check_room(signer, ADDS_MAX)
    warrant = log.warrant_of(signer)
    if passkey_id(public, rp) in log.keys:
        raise BadRequest("this passkey is in the account already", hint="wos account show lists who can act as you")
    return AddPasskey(warrant=warrant, parents=log.parents(), credential=credential, public=public, rp=rp, name=name)


def add_passkey(log: KeyLog, signer: DeviceKey, credential: bytes, public: bytes, rp: str, name: str) -> SignedEntry:
    """Let a passkey act for the account."""
    return sign_entry(
        signer, passkey_entry(log, signer.node_id, credential=credential, public=public, rp=rp, name=name)
    )


def removal_entry(log: KeyLog, signer: str, key: str, keep: tuple[str, ...] = ()) -> RemoveKey:
    """Write down that a key is put out; ``keep`` are ids of admissions by it that stay, though they are young."""
    if key not in log.history.adds:
        raise BadRequest(f"this account has no key {key[:52]!r}", hint="wos account show lists them")
    log.check_room(signer, DEVICE_ENTRIES_MAX)
    entry = RemoveKey(warrant=log.warrant_of(signer), parents=log.parents(), key=key, keep=tuple(sorted(set(keep))))
    check_removal(log, signer, entry)
    return entry


def remove_key(log: KeyLog, signer: DeviceKey, key: str, keep: tuple[str, ...] = ()) -> SignedEntry:
    """Put any key out: a device, a passkey, guardians (by the id of their entry), an older recovery key."""
    return sign_entry(signer, removal_entry(log, signer.node_id, key, keep))


def rekey_entry(log: KeyLog, signer: str, recovery: DeviceKey) -> Rekey:
    """Write down a new recovery key, which signs that it is there; in the place of the one that signs."""
    entry = Rekey(
        warrant=log.warrant_of(signer),
        parents=log.parents(),
        recovery=recovery.public,
        acceptance=accept_rekey(recovery, log.account),
    )
    _try(log, entry)
    return entry


def rekey(log: KeyLog, signer: DeviceKey, recovery: DeviceKey) -> SignedEntry:
    """Put a new recovery key in the place of this one."""
    return sign_entry(signer, rekey_entry(log, signer.node_id, recovery))


def guardians_entry(log: KeyLog, signer: str, quorum: Quorum | None) -> SetGuardians:
    """Write down who together may bring the account back, in the place of those before; None: nobody."""
    entry = SetGuardians(warrant=log.warrant_of(signer), parents=log.parents(), quorum=quorum)
    _try(log, entry)
    return entry


def set_guardians(log: KeyLog, signer: DeviceKey, quorum: Quorum | None) -> SignedEntry:
    """Choose guardians."""
    return sign_entry(signer, guardians_entry(log, signer.node_id, quorum))


def approval_entry(log: KeyLog, signer: str, key: str) -> Approve:
    """Write down that the admission of this key is right, so that it is young no more."""
    place = log.keys.get(key)
    if place is None or not isinstance(log.history.entries[place], Admission):
        raise BadRequest(f"this account has no key {key[:52]!r}", hint="wos account show lists them")
    entry = Approve(warrant=log.warrant_of(signer), parents=log.parents(), entry=log.history.hashes[place])
    _try(log, entry)
    return entry


def approve(log: KeyLog, signer: DeviceKey, key: str) -> SignedEntry:
    """Say that the admission of a key is right."""
    return sign_entry(signer, approval_entry(log, signer.node_id, key))


def witness(log: KeyLog, signer: DeviceKey, now_s: int) -> SignedEntry:
    """Say when this device had seen all that is in the log; ``now_s`` from a clock that it trusts."""
    log.check_room(signer.node_id, ADDS_MAX)
    entry = Witnessed(warrant=log.warrant_of(signer.node_id), parents=log.parents(), at_s=now_s)
    return sign_entry(signer, entry)


def wants_witness(log: KeyLog, node: str, now_s: int) -> bool:
    """Tell whether a look of this device at the log would help an admission to ripen.

    One look when it is known, one 72 hours later; by any device that may witness it, and in a small home by each for
    itself, since a device believes its own looks when it puts another one out.
    """
    history, mine = log.history, log.keys.get(node)
    if mine is None:
        return False
    grown = history.weight_at(mine, log.counting) >= DEVICE_WEIGHT
    small = len(log.members().active) <= SMALL_HOME
    for key, place in sorted(log.keys.items()):
        if key == node or history.is_ripe(place, log.counting, also=node):
            continue
        if not history.may_witness(node, mine, DEVICE_WEIGHT if small or grown else 0, place):
            continue
        looks = [at_s for who, at_s in looks_at(history, place) if who == node or (grown and not small)]
        if not looks or (now_s - min(looks) >= VETO_S and max(looks) - min(looks) < VETO_S):
            return True
    return False


def looks_at(history: History, admission: int) -> list[tuple[str, int]]:
    """Return who looked at the log when this admission was in it, and when by their clocks."""
    found = []
    for look in bits(history.witnesses):
        entry = history.entries[look]
        if history.past[look] >> admission & 1 and isinstance(entry, Witnessed):
            found.append((history.signers[look], entry.at_s))
    return found


def snapshot(log: KeyLog, signer: DeviceKey) -> SignedEntry:
    """Sign what the log comes to, so that what led there may be forgotten; the words or the holders can."""
    return sign_entry(signer, snapshot_entry(log, signer.node_id))


def snapshot_entry(log: KeyLog, signer: str) -> Snapshot:
    """Write down what the log comes to."""
    parents = log.parents()
    seen = log.seen_by(parents)  # what is void is forgotten
    if seen.members() != log.members():
        raise NotAllowed("the log has too many ends to be seen by one entry", hint="try again in a minute")
    kept = kept_of(seen.history, seen.live, seen.counting)
    entry = snapshot_of(kept, warrant=log.warrant_of(signer), parents=parents, number=seen.history.number + 1)
    _try(log, entry)
    return entry


def shared_genesis(quorum: Quorum, name: str, salt: bytes) -> SharedGenesis:
    """Begin the account of several holders; enough of them sign its body (``approve_body``, ``approvals.join``)."""
    return SharedGenesis(quorum=quorum, name=name, salt=salt)


def _try(log: KeyLog, entry: Entry) -> None:
    """Raise NotAllowed for what the log would not take from this signer."""
    trial = log.history.fork()
    try:
        trial.append("", entry)
    except PeerBroke as cause:
        raise NotAllowed(str(cause), hint="the 24 words can: see wos account show") from cause
