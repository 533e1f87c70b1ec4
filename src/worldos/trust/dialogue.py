"""The dialogue of a pairing: what the shell is told to do, what the two machines say, and how it may fail.

``Output`` is for the shell and stays in the process; ``Message`` goes sealed over the wire.
"""

from __future__ import annotations

import enum

import msgspec

from worldos.errors import NotAllowed, PeerBroke, Unreachable, WorldError
from worldos.model.ids import AccountId, NodeId
from worldos.trust.entries import ClaimAccept, SignedEntry
from worldos.trust.ticket import Ticket


class Failure(enum.StrEnum):
    """Why a pairing came to nothing; the value is the sentence for the person."""

    STRANGER = "someone called that has no ticket of ours"
    TICKET_USED = "this ticket was used already; each is good for one machine"
    TICKET_EXPIRED = "this ticket is too old"
    NO_ANSWER = "the other machine closed without an answer: it does not know this ticket"
    WRONG_INVITER = "the machine that answered is not the one that made this ticket"
    WRONG_ACCOUNT = "the machine that answered belongs to another account than this ticket says"
    REJECTED_HERE = "the code was rejected on this machine"
    REJECTED_THERE = "the code was rejected on the other machine"
    REFUSED = "the account does not admit this machine"
    BROKE = "the other machine broke the pairing protocol"
    CUT = "the connection ended before the pairing was done"


HINTS = {
    Failure.TICKET_USED: "make a new one: wos invite",
    Failure.TICKET_EXPIRED: "make a new one: wos invite",
    Failure.NO_ANSWER: "make a new one: wos invite",
    Failure.WRONG_INVITER: "somebody may be in between: make a new ticket and hand it over another way",
    Failure.WRONG_ACCOUNT: "make a new ticket on a machine of the account that you mean",
    Failure.REJECTED_HERE: "if the codes differed, somebody may be in between: make a new ticket",
    Failure.REJECTED_THERE: "if the codes differed, somebody may be in between: make a new ticket",
    Failure.CUT: "make a new ticket and try again: wos invite",
}


class Invitation(msgspec.Struct, kw_only=True):
    """A ticket as its maker keeps it. Keep a spent or late one for a while, so that its holder is told why."""

    ticket: Ticket
    used: bool = False


class PeerHint(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Where another device of the account was last seen."""

    node: NodeId
    name: str
    addresses: tuple[str, ...]


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Put these bytes on the connection."""

    data: bytes


class ShowCode(msgspec.Struct, frozen=True, kw_only=True):
    """Show six digits and who is on the other side; then call ``confirm`` or ``reject``."""

    code: str
    node: NodeId
    name: str


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Inviter: a device is admitted. Merge the entry and make it durable before the next output."""

    entry: SignedEntry
    node: NodeId
    name: str


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Joiner: this machine belongs to the account. The log is checked and whole."""

    account: AccountId
    entries: tuple[SignedEntry, ...]
    inviter: NodeId
    peers: tuple[PeerHint, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """It came to nothing: why, what more is known, and what to do."""

    why: Failure
    detail: str = ""
    hint: str = ""


def error_of(failed: Failed) -> WorldError:
    """Return the failure as the error to raise where a person waits for the outcome."""
    said = f"{failed.why}: {failed.detail}" if failed.detail else str(failed.why)
    if failed.why is Failure.BROKE:
        return PeerBroke(said, hint=failed.hint)
    if failed.why in (Failure.NO_ANSWER, Failure.CUT):
        return Unreachable(said, hint=failed.hint)
    return NotAllowed(said, hint=failed.hint)


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """End the connection; nothing follows."""


Output = Send | ShowCode | Admitted | Joined | Failed | Close


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Who I am: sealed, and signed over role and transcript, so that it is good in this pairing only."""

    node: NodeId
    name: str
    account: str
    signature: bytes


class Confirmed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The inviter's person said yes."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No: by the person, or by the account's own rules."""

    by_person: bool


class Claimed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The joiner's person said yes, and the device accepts."""

    claim: ClaimAccept


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """You belong to us: here is all we know."""

    entries: tuple[SignedEntry, ...]
    peers: tuple[PeerHint, ...]


Message = Hello | Confirmed | Rejected | Claimed | Welcome
