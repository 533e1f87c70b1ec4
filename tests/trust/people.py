"""Keys and logs that the tests of this floor share: one account, its recovery key, and devices that may turn thief."""

from worldos.trust.certs import root_certificate
from worldos.trust.entries import AddDevice, Entry, RemoveDevice, SignedEntry, hash_of, sign_entry
from worldos.trust.history import VETO_S, History
from worldos.trust.keylog import ClaimAccept, KeyLog, accept_claim, add_device, new_account, remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import approve, witness

RECOVERY_SEED = b"r" * 32
RECOVERY = DeviceKey.from_seed(RECOVERY_SEED)
GENESIS = new_account(RECOVERY_SEED)
ACCOUNT = KeyLog(entries={hash_of(GENESIS): GENESIS}).account
LAPTOP, PHONE, DESK, TABLET, THIEF = DEVICES = [DeviceKey.from_seed(name.encode() * 32) for name in "lpdtx"]
NAMES = {key.node_id: name for key, name in zip(DEVICES, ("laptop", "phone", "desk", "tablet", "thief"), strict=True)}
ROOTS = {key.node_id: root_certificate(key) for key in DEVICES}


def claim(device: DeviceKey, nonce: int = 0) -> ClaimAccept:
    return accept_claim(device, ACCOUNT, NAMES[device.node_id], ROOTS[device.node_id], nonce.to_bytes(32, "big"))


def log_of(*entries: SignedEntry) -> KeyLog:
    log = KeyLog()
    log.merge([GENESIS, *entries])
    return log


def add(log: KeyLog, signer: DeviceKey, device: DeviceKey, nonce: int = 0) -> SignedEntry:
    """Admit a device in this log, by the rules."""
    entry = add_device(log, signer, claim(device, nonce))
    assert log.merge([entry]) == [hash_of(entry)]
    return entry


def remove(log: KeyLog, signer: DeviceKey, device: DeviceKey) -> SignedEntry:
    entry = remove_device(log, signer, device.node_id)
    assert log.merge([entry]) == [hash_of(entry)]
    return entry


def look_twice(log: KeyLog, device: DeviceKey, at_s: int = 1_000_000, apart_s: int = VETO_S) -> None:
    """Let a device say what it sees, now and later."""
    for when in (at_s, at_s + apart_s):
        log.merge([witness(log, device, when)])


def copy_of(log: KeyLog) -> KeyLog:
    """Return what another node knows when it has seen this log, and then goes its own way."""
    return KeyLog(entries=dict(log.entries))


def active(log: KeyLog) -> set[str]:
    return {device.name for device in log.members().active}


def raw(seen: History, signer: DeviceKey, kind: str, device: DeviceKey, nonce: int, warrant: str) -> SignedEntry:
    """Write what a thief could write: any entry that its key can sign, with any view of the past."""
    parents = tuple(sorted(seen.hashes[place] for place in seen.heads()))
    entry: Entry
    if kind == "remove":
        entry = RemoveDevice(warrant=warrant, parents=parents, device=device.node_id)
    else:
        accepted = claim(device, nonce)
        entry = AddDevice(
            warrant=warrant,
            parents=parents,
            device=device.node_id,
            name=accepted.name,
            root_cert=accepted.root_cert,
            nonce=accepted.nonce,
            acceptance=accepted.signature,
        )
    return sign_entry(signer, entry)


def young_household() -> KeyLog:
    """Laptop by the words, phone by the laptop, desk by the laptop; nobody looked yet."""
    log = log_of()
    add(log, RECOVERY, LAPTOP)
    add(log, LAPTOP, PHONE)
    add(log, LAPTOP, DESK)
    return log


def household() -> KeyLog:
    """The same, and the words approved of phone and desk: they are grown."""
    log = young_household()
    vouch(log, PHONE, DESK)
    return log


def vouch(log: KeyLog, *devices: DeviceKey) -> None:
    """Let the words approve devices."""
    for device in devices:
        log.merge([approve(log, RECOVERY, device.node_id)])


def history_before(log: KeyLog, entries: int):
    return KeyLog(entries=dict(list(log.entries.items())[:entries]))._history


def with_thief() -> tuple[KeyLog, str, int]:
    """A household with a device that will be stolen; its warrant; how many entries there were while it was a member."""
    log = household()
    warrant = hash_of(add(log, LAPTOP, THIEF))
    vouch(log, THIEF)
    return log, warrant, len(log.entries)
