"""Entries of a key log: what an account ever said about its devices, and the door that each comes in by.

An entry is its body, in the one encoding that msgspec gives it, and a signature over the body. Its id is the hash of
the body; the id of the first entry, the genesis, is the id of the account. That of a person is made of the recovery
key alone: 24 words on a bare machine name the account again. That of a home, a firm or a nation (``SharedGenesis``)
names its holders. Every other entry names its *parents* (all that its signer had seen and nothing after it had seen)
and its *warrant*: the entry that admitted its signer, the genesis if the recovery key signs. So who signed is never
said twice. No entry decides by a time of its own, for a thief could write any time it likes; only ``Witnessed``
carries one, and counts for what others did.

Who signs is one of four: an Ed25519 key (a device's, the recovery key), a passkey, or a quorum (guardians, holders),
whose signature is that of several side by side (``approvals``). A device is admitted by two signatures: its own
acceptance (``ClaimAccept``, over account, name, root and a nonce), and the admitter's; a new recovery key as well.
Whatever comes in here is a stranger's: too large, not in the one encoding, a wrong length, an unprintable name:
PeerBroke.
"""

from __future__ import annotations

import hashlib
from typing import assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.model.exact import read_exactly
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.trust.approvals import Quorum, check_approvals, check_quorum
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, id_of, node_id_of, public_of, verify
from worldos.trust.passkeys import (
    CREDENTIAL_BYTES_MAX,
    Assertion,
    check_passkey,
    read_assertion,
    verify_assertion,
    write_assertion,
)
from worldos.trust.roots import check_root

ENTRY_BYTES_MAX = 4096
SNAPSHOT_BYTES_MAX = 256 * 1024
SIGNED_BYTES_MAX = 4096  # a quorum's signature; a passkey's has at most 2.7 kB
AT_S_MAX = 1 << 40
PARENTS_MAX = 32
NONCE_BYTES = 32
_DOMAIN = "keylog"
_CLAIM_DOMAIN = "claim"
_REKEY_DOMAIN = "rekey"
KEEP_MAX = 64
SALT_BYTES = 16


class Genesis(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The account begins: this recovery key speaks for it, for ever."""

    recovery: bytes


class AddDevice(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A device is admitted; ``acceptance`` is its own signature, made once for this account and ``nonce``."""

    warrant: str
    parents: tuple[str, ...]
    device: NodeId
    name: str
    root_cert: bytes
    nonce: bytes
    acceptance: bytes


class RemoveDevice(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A device is put out, with all that it signed and the signer had not seen."""

    warrant: str
    parents: tuple[str, ...]
    device: NodeId


class SharedGenesis(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The account of a home, a firm or a nation begins: ``quorum`` speaks for it; ``salt`` makes it one of its own."""

    quorum: Quorum
    name: str
    salt: bytes


class AddPasskey(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A passkey may act for the account; ``rp`` is the origin of the page that it belongs to."""

    warrant: str
    parents: tuple[str, ...]
    credential: bytes
    public: bytes
    rp: str
    name: str


class RemoveKey(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Any key is put out (a device, a passkey, guardians, an older recovery key), by its id.

    ``keep`` names admissions by that key which stay, though they are young: see ``standing``.
    """

    warrant: str
    parents: tuple[str, ...]
    key: str
    keep: tuple[str, ...] = ()


class Rekey(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A new recovery key, which signed that it is there, takes the place of the one that signs (guardians stay)."""

    warrant: str
    parents: tuple[str, ...]
    recovery: bytes
    acceptance: bytes


class SetGuardians(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Several others together may bring the account back, in the place of those its signer knew; nobody: None."""

    warrant: str
    parents: tuple[str, ...]
    quorum: Quorum | None


class Approve(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A person (a passkey, the words) says that an admission is right: it need not ripen any more."""

    warrant: str
    parents: tuple[str, ...]
    entry: str


class Witnessed(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A device had seen its parents, and all before them, when its clock showed this many Unix seconds."""

    warrant: str
    parents: tuple[str, ...]
    at_s: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """What the log has come to, the ``number``-th time (``snapshot`` says what the parts are)."""

    warrant: str
    parents: tuple[str, ...]
    number: int
    kept: bytes
    weights: bytes
    ended: bytes
    grown: bytes
    alone: bytes
    marks: bytes


Entry = (
    Genesis
    | SharedGenesis
    | AddDevice
    | RemoveDevice
    | AddPasskey
    | RemoveKey
    | Rekey
    | SetGuardians
    | Approve
    | Witnessed
    | Snapshot
)
Beginning = Genesis | SharedGenesis
Admission = AddDevice | AddPasskey | Rekey | SetGuardians


class SignedEntry(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The bytes of an entry and the signature over them: what is stored and sent."""

    body: bytes
    signature: bytes


class ClaimAccept(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A device's own word that it wants to belong to an account."""

    account: AccountId
    device: NodeId
    name: str
    root_cert: bytes
    nonce: bytes
    signature: bytes


_encode = msgspec.msgpack.Encoder().encode
_SNAPSHOT_TAG, _GENESIS_TAG, _SHARED_TAG = (_encode(kind.__name__) for kind in (Snapshot, Genesis, SharedGenesis))
_decode = msgspec.msgpack.Decoder(Entry).decode


def is_snapshot(signed: SignedEntry) -> bool:
    """Tell by its first bytes whether an entry is a snapshot."""
    return signed.body[1 : 1 + len(_SNAPSHOT_TAG)] == _SNAPSHOT_TAG


def is_beginning(signed: SignedEntry) -> bool:
    """Tell by its first bytes whether an entry begins an account."""
    return signed.body[1 : 1 + len(_GENESIS_TAG)] == _GENESIS_TAG or signed.body[1:].startswith(_SHARED_TAG)


def hash_of(signed: SignedEntry) -> str:
    """Return the id of an entry: the hash of its body, written as all ids are."""
    return id_of(hashlib.sha256(signed.body).digest())


def sign_entry(key: DeviceKey, entry: Entry) -> SignedEntry:
    """Write an entry down and sign it."""
    body = _encode(entry)
    return SignedEntry(body=body, signature=key.sign(_DOMAIN, body))


def signed_by_passkey(entry: Entry, assertion: Assertion) -> SignedEntry:
    """Put an entry and a passkey's signature over ``body_of`` it together."""
    return SignedEntry(body=_encode(entry), signature=write_assertion(assertion))


def read_entry(signed: SignedEntry, *, vouched: bool = False) -> Entry:
    """Read an entry and check all that it says by itself (``check_signatures`` needs the log); raise PeerBroke.

    ``vouched``: the words have signed its hash in a snapshot, so its form was checked before.
    """
    size_max = SNAPSHOT_BYTES_MAX if is_snapshot(signed) else ENTRY_BYTES_MAX
    if len(signed.body) > size_max or not SIGNATURE_BYTES <= len(signed.signature) <= SIGNED_BYTES_MAX:
        raise PeerBroke("an entry of a key log has another size")
    entry: Entry = read_exactly(_decode, _encode, signed.body, "an entry of a key log")
    if not isinstance(entry, Beginning) and (
        not 1 <= len(entry.parents) <= PARENTS_MAX or list(entry.parents) != sorted(set(entry.parents))
    ):
        raise PeerBroke(f"an entry names 1 to {PARENTS_MAX} parents, each once, in order")
    if not vouched:
        _check_form(entry)
    return entry


def _check_form(entry: Entry) -> None:
    match entry:
        case Genesis() | Rekey():
            node_id_of(entry.recovery)
        case SharedGenesis():
            check_name(entry.name)
            check_quorum(entry.quorum)
            if len(entry.salt) != SALT_BYTES:
                raise PeerBroke(f"a shared account begins with {SALT_BYTES} bytes of its own")
        case AddDevice():
            _check_claim_form(entry.name, entry.nonce)
            check_root(entry.device, entry.root_cert)
        case AddPasskey():
            check_name(entry.name)
            check_passkey(entry.public, entry.rp)
            if not 1 <= len(entry.credential) <= CREDENTIAL_BYTES_MAX:
                raise PeerBroke(f"a passkey has a credential of 1 to {CREDENTIAL_BYTES_MAX} bytes")
        case RemoveKey():
            if len(entry.keep) > KEEP_MAX or list(entry.keep) != sorted(set(entry.keep)):
                raise PeerBroke(f"a removal keeps at most {KEEP_MAX} admissions, each once, in order")
        case SetGuardians():
            if entry.quorum is not None:
                check_quorum(entry.quorum)
        case Witnessed():
            if not 0 < entry.at_s <= AT_S_MAX:
                raise PeerBroke("a witness's time is no time")
        case RemoveDevice() | Approve() | Snapshot():
            pass
        case _:
            assert_never(entry)


def check_signatures(entry: Entry, signed: SignedEntry, account: AccountId, signer: Entry) -> None:
    """Raise BadSignature unless whom ``signer`` admitted signed the entry, and what is admitted has accepted."""
    body, signature = signed.body, signed.signature
    match signer:
        case Genesis() | Rekey():
            verify(signer.recovery, _DOMAIN, body, signature)
        case AddDevice():
            verify(public_of(signer.device), _DOMAIN, body, signature)
        case AddPasskey():
            verify_assertion(signer.public, signer.rp, read_assertion(signature), _DOMAIN, body)
        case SharedGenesis():
            check_approvals(signer.quorum, signature, _DOMAIN, body)
        case SetGuardians() if signer.quorum is not None:
            check_approvals(signer.quorum, signature, _DOMAIN, body)
        case _:
            raise PeerBroke("an entry is signed by what admits nobody")
    if isinstance(entry, AddDevice):
        _check_acceptance(claim_of(entry, account))
    elif isinstance(entry, Rekey):
        verify(entry.recovery, _REKEY_DOMAIN, account.encode("ascii"), entry.acceptance)


def accept_rekey(recovery: DeviceKey, account: AccountId) -> bytes:
    """Let a new recovery key sign that it is there, so that no slip of the pen puts a key there that nobody has."""
    return recovery.sign(_REKEY_DOMAIN, account.encode("ascii"))


def passkey_id(public: bytes, rp: str) -> str:
    """Return the id of a passkey: as those of devices are written, and never one of theirs."""
    return id_of(hashlib.sha256(b"worldos/passkey\0" + rp.encode() + b"\0" + public).digest())


def key_of(entry: Entry, entry_hash: str) -> str:
    """Return the id of the key that an entry admits, the guardians' and holders' being the entry's own."""
    match entry:
        case Genesis() | Rekey():
            return node_id_of(entry.recovery)
        case AddDevice():
            return entry.device
        case AddPasskey():
            return passkey_id(entry.public, entry.rp)
        case _:
            return entry_hash


def approve_body(key: DeviceKey, body: bytes) -> bytes:
    """Sign the body of an entry as one of a quorum; ``approvals.join`` puts these together."""
    return key.sign(_DOMAIN, body)


def body_of(entry: Entry) -> bytes:
    """Return the bytes that are signed: what a passkey is asked to sign in the domain ``keylog``."""
    return _encode(entry)


def accept_claim(
    key: DeviceKey, account: AccountId, name: str, root_cert: bytes, nonce: bytes = bytes(NONCE_BYTES)
) -> ClaimAccept:
    """Accept, as the device of ``key``, to belong to an account.

    The nonce makes an acceptance good for one admission: a device that comes back after a removal takes a fresh one,
    so that an old acceptance cannot be used to claim it again without its will.
    """
    _check_claim_form(name, nonce)
    unsigned = ClaimAccept(
        account=account, device=key.node_id, name=name, root_cert=root_cert, nonce=nonce, signature=b""
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(_CLAIM_DOMAIN, _encode(unsigned)))


def check_claim(claim: ClaimAccept) -> None:
    """Raise PeerBroke or BadSignature unless the device itself made this claim, whole and for its own root."""
    _check_claim_form(claim.name, claim.nonce)
    check_root(claim.device, claim.root_cert)
    _check_acceptance(claim)


def _check_acceptance(claim: ClaimAccept) -> None:
    unsigned = _encode(msgspec.structs.replace(claim, signature=b""))
    verify(public_of(claim.device), _CLAIM_DOMAIN, unsigned, claim.signature)


def claim_of(entry: AddDevice, account: AccountId) -> ClaimAccept:
    """Return the claim that an admission carries."""
    return ClaimAccept(
        account=account,
        device=entry.device,
        name=entry.name,
        root_cert=entry.root_cert,
        nonce=entry.nonce,
        signature=entry.acceptance,
    )


def check_name(name: str) -> None:
    """Raise PeerBroke unless ``name`` may be shown in a terminal: short, printable, not blank."""
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable() or name.strip() != name:
        raise PeerBroke(f"a device's name has 1 to {NAME_CHARS_MAX} printable characters and no space around it")


def _check_claim_form(name: str, nonce: bytes) -> None:
    check_name(name)
    if len(nonce) != NONCE_BYTES:
        raise PeerBroke(f"a claim has a nonce of {NONCE_BYTES} bytes")
