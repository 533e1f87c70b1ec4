"""Revocations: what is said of a grant that holds no more, of all grants so far, and of a device that its account put out.

That a device was put out is said to nodes of other accounts too, who keep no key log of this one: so the statement carries the
entries that prove it, a closed piece of the log from its genesis to the removal. Whoever reads it makes the account's id of the
genesis again, and believes nobody. A log whose piece does not fit into a statement goes without; then who says it counts.
Whatever comes in here is a stranger's: PeerBroke for what is no revocation, or proves nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.model.exact import read_exactly
from worldos.model.ids import AccountId, NodeId
from worldos.model.realm import NodeName, Number
from worldos.model.statements import STATEMENT_BYTES_MAX
from worldos.trust.entries import ENTRY_BYTES_MAX
from worldos.trust.keylog import DeviceStatus, KeyLog, SignedEntry
from worldos.trust.keys import ID_CHARS, SIGNATURE_BYTES

PROOF_ENTRIES_MAX: Final = 64
ROOM_BYTES: Final = 256  # for what stands beside the proof

BlockId = Annotated[str, msgspec.Meta(min_length=ID_CHARS, max_length=ID_CHARS)]
Entry = tuple[
    Annotated[bytes, msgspec.Meta(max_length=ENTRY_BYTES_MAX)],
    Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)],
]


class GrantRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="grant", array_like=True):
    """The block of a grant with this id holds no more, nor does anything that was narrowed from it."""

    block: BlockId


class EpochBegan(msgspec.Struct, frozen=True, kw_only=True, tag="epoch", array_like=True):
    """All grants of our account from before this revocation epoch hold no more."""

    number: Number


class DeviceRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="device", array_like=True):
    """This device of that account was put out of it. ``proof`` are entries of its key log, or nothing."""

    device: NodeName
    account: Annotated[AccountId, msgspec.Meta(min_length=ID_CHARS, max_length=ID_CHARS)]
    proof: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=PROOF_ENTRIES_MAX)] = ()


Revocation = GrantRevoked | EpochBegan | DeviceRevoked

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Revocation).decode


def write_revocation(said: Revocation) -> bytes:
    """Return the body of the statement."""
    return _encode(said)


def read_revocation(body: bytes) -> Revocation:
    """Check and read the body of a statement; PeerBroke unless it is one, in the one encoding."""
    said: Revocation = read_exactly(_decode, _encode, body, "a revocation")
    return said


def device_revoked(log: KeyLog, device: NodeId) -> DeviceRevoked:
    """Say that a device was put out, with the proof where it has room."""
    proof = tuple((signed.body, signed.signature) for signed in log.entries.values())
    said = DeviceRevoked(device=device, account=log.account, proof=proof if len(proof) <= PROOF_ENTRIES_MAX else ())
    if len(_encode(said)) > STATEMENT_BYTES_MAX - ROOM_BYTES:
        return msgspec.structs.replace(said, proof=())
    return said


def check_proof(said: DeviceRevoked) -> None:
    """Raise PeerBroke unless the entries prove what is said of the device."""
    log = KeyLog()
    try:
        log.merge(SignedEntry(body=body, signature=signature) for body, signature in said.proof)
    except BadSignature as cause:
        raise PeerBroke("a revocation with a proof that is not signed so") from cause
    if not log.entries or log.account != said.account:
        raise PeerBroke("a revocation with a proof of another account")
    device = log.members().get(said.device)
    if device is None or device.status is not DeviceStatus.REVOKED:
        raise PeerBroke("a revocation with a proof that proves nothing")
