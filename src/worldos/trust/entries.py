"""Entries of a key log: what an account ever said about its devices, and the door that each comes in by.

An entry is its body, in the one encoding that msgspec gives it, and a signature over the body. Its id is the hash of
the body; the id of the first entry, the genesis, is the id of the account, and the genesis is made of the recovery
key alone: 24 words on a bare machine name the account again. Every other entry names its *parents* (all that its
signer had seen and nothing after it had seen) and its *warrant*: the entry that admitted its signer, the genesis if
the recovery key signs. So who signed is never said twice, and an entry carries no time: a thief could write any time
it likes.

A device is admitted by two signatures: its own acceptance (``ClaimAccept``, over account, name, root and a nonce),
and the admitter's. Whatever comes in here is a stranger's: too large, not in the one encoding, a wrong length, an
unprintable name: PeerBroke.
"""

from __future__ import annotations

import hashlib

import msgspec

from worldos.errors import PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, id_of, node_id_of, public_of, verify
from worldos.trust.roots import check_root

ENTRY_BYTES_MAX = 4096
PARENTS_MAX = 32
NONCE_BYTES = 32
_DOMAIN = "keylog"
_CLAIM_DOMAIN = "claim"


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


Entry = Genesis | AddDevice | RemoveDevice


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
_decode = msgspec.msgpack.Decoder(Entry).decode


def hash_of(signed: SignedEntry) -> str:
    """Return the id of an entry: the hash of its body, written as all ids are."""
    return id_of(hashlib.sha256(signed.body).digest())


def sign_entry(key: DeviceKey, entry: Entry) -> SignedEntry:
    """Write an entry down and sign it."""
    body = _encode(entry)
    return SignedEntry(body=body, signature=key.sign(_DOMAIN, body))


def read_entry(signed: SignedEntry) -> Entry:
    """Read an entry and check all that it says by itself (``check_signatures`` needs the log); raise PeerBroke."""
    if len(signed.body) > ENTRY_BYTES_MAX or len(signed.signature) != SIGNATURE_BYTES:
        raise PeerBroke("an entry of a key log has another size")
    try:
        entry: Entry = _decode(signed.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("an entry of a key log cannot be read") from cause
    if _encode(entry) != signed.body:
        raise PeerBroke("an entry of a key log is not in the one right encoding")
    if isinstance(entry, Genesis):
        node_id_of(entry.recovery)
        return entry
    if not 1 <= len(entry.parents) <= PARENTS_MAX or list(entry.parents) != sorted(set(entry.parents)):
        raise PeerBroke(f"an entry names 1 to {PARENTS_MAX} parents, each once, in order")
    if isinstance(entry, AddDevice):
        _check_claim_form(entry.name, entry.nonce)
        check_root(entry.device, entry.root_cert)
    return entry


def check_signatures(entry: Entry, signed: SignedEntry, account: AccountId, signer: NodeId) -> None:
    """Raise BadSignature unless ``signer`` signed the entry, and an admitted device its acceptance."""
    verify(public_of(signer), _DOMAIN, signed.body, signed.signature)
    if isinstance(entry, AddDevice):
        _check_acceptance(claim_of(entry, account))


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
