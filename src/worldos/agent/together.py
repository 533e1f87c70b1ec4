"""Together: entries of a key log that several people sign, guardians of a person or holders of a firm.

Who asks prints one text for all of them; each who agrees answers with a text; with enough answers the entries are whole.
What is asked lies in the home until then, so that the answers may come days later. The asking device is named by six digits
of its key, for people to compare by voice. Nothing here is secret, and nothing that comes in is believed before its
signatures are checked, by the key log itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec

from worldos.agent import home as homes
from worldos.errors import BadRequest, CorruptFile, PeerBroke
from worldos.home import Home
from worldos.model.ids import AccountId, NodeId
from worldos.trust.approvals import Quorum, join
from worldos.trust.entries import (
    AddDevice,
    AddPasskey,
    Approve,
    Entry,
    Genesis,
    Rekey,
    RemoveDevice,
    RemoveKey,
    SetGuardians,
    SharedGenesis,
    SignedEntry,
    Snapshot,
    Witnessed,
    approve_body,
    check_name,
    read_entry,
)
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, public_of, verify
from worldos.trust.texts import read_text, write_text

OFFER, ASK, VOTE = "wosguard1", "wosagree1", "wosvote1"
BODIES_MAX = 4
BODY_BYTES_MAX = 4096
_MAGIC = b"wos-together-1\n"
_DOMAIN = "keylog"
_Pairs = tuple[tuple[bytes, bytes], ...]


class Offer(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Somebody's device that would be a guardian, or a holder."""

    account: AccountId
    key: NodeId
    name: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Entries that wait for signatures, and who asks."""

    account: AccountId
    device: NodeId
    bodies: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=BODY_BYTES_MAX)], ...],
        msgspec.Meta(min_length=1, max_length=BODIES_MAX),
    ]


class Vote(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The signatures of one of them, over each body."""

    key: NodeId
    signatures: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)], ...],
        msgspec.Meta(min_length=1, max_length=BODIES_MAX),
    ]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What this home asked for: the quorum that decides, and the log that the entries go into (empty: a new account)."""

    asked: Asked
    quorum: Quorum
    log: _Pairs = ()


_encode = msgspec.msgpack.Encoder().encode


def offer_text(account: AccountId, key: NodeId, name: str) -> str:
    """Write down that a device would be a guardian or a holder."""
    return write_text(OFFER, _encode(Offer(account=account, key=key, name=name)))


def read_offer(text: str) -> Offer:
    """Read such an offer; BadRequest for anything else."""
    offer = _read(OFFER, text, Offer)
    try:
        public_of(offer.key)
        public_of(offer.account)
        check_name(offer.name)
    except PeerBroke as cause:
        raise BadRequest("this offer names no device") from cause
    return offer


def ask_text(asked: Asked) -> str:
    """Write down what is asked, for everybody who shall agree."""
    return write_text(ASK, _encode(asked))


def read_asked(text: str) -> Asked:
    """Read what is asked; BadRequest for anything else."""
    asked = _read(ASK, text, Asked)
    for body in asked.bodies:
        _entry(body)
    return asked


def described(asked: Asked) -> list[str]:
    """Say for people what is asked, a line for each entry: what they sign is what they read."""
    return [_said(_entry(body)) for body in asked.bodies]


def digits_of(device: str) -> str:
    """Return six digits of a device's key, for two people to compare by voice."""
    return f"{int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], 'big') % 1_000_000:06d}"


def vote_text(key: DeviceKey, asked: Asked) -> str:
    """Agree, as the device of this key."""
    return write_text(
        VOTE, _encode(Vote(key=key.node_id, signatures=tuple(approve_body(key, b) for b in asked.bodies)))
    )


def whole(pending: Pending, answers: Sequence[str]) -> list[SignedEntry]:
    """Put the answers together; NotAllowed while they are too few, BadRequest for one that is not to this."""
    votes: dict[str, Vote] = {}
    seats = {seat.key for seat in pending.quorum.seats}
    for text in answers:
        vote = _read(VOTE, text, Vote)
        if vote.key not in seats or len(vote.signatures) != len(pending.asked.bodies):
            raise BadRequest("one answer is by a device that was not asked, or to something else")
        for body, signature in zip(pending.asked.bodies, vote.signatures, strict=True):
            verify(public_of(vote.key), _DOMAIN, body, signature)
        votes[vote.key] = vote
    return [
        SignedEntry(
            body=body, signature=join(pending.quorum, {key: vote.signatures[at] for key, vote in votes.items()})
        )
        for at, body in enumerate(pending.asked.bodies)
    ]


def log_of(pending: Pending) -> KeyLog:
    """Return the log that the entries are to go into."""
    log = KeyLog()
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in pending.log)
    return log


def save(home: Home, pending: Pending) -> None:
    """Keep what is asked until the answers come, in the place of what was asked before."""
    homes.write_durably(home.path / "together", _MAGIC + _encode(pending))


def saved(home: Home) -> Pending:
    """Return what this home asked for; BadRequest if nothing."""
    try:
        data = (home.path / "together").read_bytes()
    except FileNotFoundError as cause:
        raise BadRequest("nothing was asked from this machine, or it is done already") from cause
    try:
        if not data.startswith(_MAGIC):
            raise msgspec.DecodeError("it does not begin as it should")
        return msgspec.msgpack.decode(data[len(_MAGIC) :], type=Pending)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise CorruptFile(f"{home.path / 'together'} is damaged", hint="ask again") from cause


def forget(home: Home) -> None:
    """Ask no more."""
    (home.path / "together").unlink(missing_ok=True)


def _entry(body: bytes) -> Entry:
    try:
        return read_entry(SignedEntry(body=body, signature=bytes(SIGNATURE_BYTES)))
    except PeerBroke as cause:
        raise BadRequest("this text asks for nothing that can be signed") from cause


def _said(entry: Entry) -> str:
    match entry:
        case SharedGenesis():
            return f"begin the account {entry.name!r}, moved by {entry.quorum.threshold} of {len(entry.quorum.seats)}"
        case AddDevice():
            return f"let the device {entry.name!r} ({digits_of(entry.device)}) act for the account"
        case AddPasskey():
            return f"let the passkey {entry.name!r} of {entry.rp} act for the account"
        case RemoveDevice() | RemoveKey():
            key = entry.device if isinstance(entry, RemoveDevice) else entry.key
            return f"put the key {key[:8]} out"
        case Rekey():
            return "put new recovery words in the place of the old"
        case SetGuardians():
            return "choose other guardians" if entry.quorum is not None else "have no guardians any more"
        case Approve():
            return "say that an admission is right"
        case Snapshot():
            return "let the key log begin anew at what it has come to"
        case Genesis() | Witnessed():
            raise BadRequest("nobody else signs that")


_T = TypeVar("_T", Offer, Asked, Vote)


def _read(prefix: str, text: str, kind: type[_T]) -> _T:
    data = read_text(prefix, text)
    try:
        value = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadRequest("this text is of another version, or was made up") from cause
    if _encode(value) != data:
        raise BadRequest("this text is not written in the one right way")
    return value
