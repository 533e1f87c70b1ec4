"""What a node wants done. Imperative and complete: the shell carries each out without a decision of its own, in order."""

from __future__ import annotations

import msgspec

from worldos.model.audit import AuditMessage
from worldos.model.ids import ClientId, LeaseId, NodeId
from worldos.model.local import ToClient
from worldos.model.need import LeaseTerms
from worldos.model.raft import Entry, Snapshot, Vote
from worldos.model.realm import Contact, RealmId
from worldos.model.statements import Statement, Topic
from worldos.model.wire import PeerMessage


class Send(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send this message to that node."""

    node: NodeId
    message: PeerMessage


class Tell(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell a program on this machine."""

    client: ClientId
    message: ToClient


class OpenLane(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Start what stands behind a lease that this node granted; its holder may come over the fabric any moment."""

    holder: NodeId
    terms: LeaseTerms


class CloseLane(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End all that runs under this lease, and leave nothing behind."""

    lease: LeaseId
    why: str


class SaveKeyLog(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The key log grew: store it durably, and let the fabric know who is a member now."""


class SaveStatements(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """These statements of a topic are kept from now on, and those with the ids in ``dropped`` no more: store that."""

    topic: Topic
    statements: tuple[Statement, ...]
    dropped: tuple[str, ...]


class State(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Sign this as this device and take it in, as ``StatementsOffered``: what decides has no key."""

    topic: Topic
    body: bytes


class Carry(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Carry out this guarded command (``kernel/guard/command.py``): its turn has come on this node. Say how it went."""

    command: bytes


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Cut every link to this node: it is no member any more, or it said good-bye."""

    node: NodeId
    why: str


class Connect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Keep a link to this node; these are addresses at which it was seen."""

    node: NodeId
    addresses: tuple[str, ...]


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Believe this node of another account, and keep a link to it, until ``Forget``. Told again, it replaces the contact."""

    contact: Contact


class Persist(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Store this of a council seat durably, then say so with ``Persisted``; those of one realm in order of ``number``.

    The log from the first of ``entries`` on is replaced by them. A snapshot takes the place of all entries up to its index.
    """

    realm: RealmId
    number: int
    vote: Vote | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None


class Mend(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What was damaged of a council seat on disk is whole again: from its next life on it may vote at once."""

    realm: RealmId


class Unseat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This node has no seat in the realm's council any more: what was stored for it may go."""

    realm: RealmId


class Notice(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that people may want to know: a name and fields, no prose. Goes to the log and to who watches."""

    name: str
    fields: dict[str, str | int]


class Audit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A member or kin says something about a decision log: answer it, from the files."""

    node: NodeId
    message: AuditMessage


class Decided(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Put this into the decision log (``kernel/decisions.py`` makes it). Nothing else is to be done about it."""

    entry: bytes


Effect = (
    Send
    | Tell
    | OpenLane
    | CloseLane
    | SaveKeyLog
    | SaveStatements
    | State
    | Carry
    | Forget
    | Connect
    | Welcome
    | Persist
    | Mend
    | Unseat
    | Notice
    | Decided
    | Audit
)
