"""What a Raft machine tells its shell, in order, and what the shell may ask of its configuration.

The shell carries effects out in the order they come. It writes each ``Persist`` in the order of their numbers, and says
``persisted(number)`` when all up to that one are on disk; nothing that depends on a write leaves the machine before.

How a shell keeps a log: ``vote`` replaces the vote; ``entries`` replace the log from ``entries[0].index`` on;
``snapshot`` stands for all entries up to its index, which may be forgotten. A snapshot may be ahead of the whole log:
then the next entries begin right after it. Whatever lies behind a snapshot on disk is given to ``Raft.begin`` as it is;
``begin`` knows which of it counts.
"""

from __future__ import annotations

import msgspec

from worldos.model.ids import NodeId
from worldos.model.raft import Entry, RaftMessage, Snapshot, Vote


class SendRaft(msgspec.Struct, frozen=True, kw_only=True, tag="send"):
    """Say this to that member; it may be lost."""

    node: NodeId
    message: RaftMessage


class Persist(msgspec.Struct, frozen=True, kw_only=True, tag="persist", omit_defaults=True):
    """Make this durable, after all of lower numbers, and say so."""

    number: int
    vote: Vote | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None


class Committed(msgspec.Struct, frozen=True, kw_only=True, tag="committed"):
    """Apply these: they stand for good. In order, without a gap, each once in the life of a machine."""

    entries: tuple[Entry, ...]


class Restored(msgspec.Struct, frozen=True, kw_only=True, tag="restored"):
    """Replace the state machine by this; what is committed next follows it."""

    snapshot: Snapshot


class Led(msgspec.Struct, frozen=True, kw_only=True, tag="led"):
    """This member leads now, in this term."""

    term: int


class Followed(msgspec.Struct, frozen=True, kw_only=True, tag="followed"):
    """This member does not lead; ``leader`` does, or "" when that is not known."""

    term: int
    leader: NodeId


class ReadReady(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The read of this ticket may be answered now: all up to ``index`` has been given out as committed."""

    ticket: int
    index: int


class ReadLost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """Nobody can say whether the read of this ticket would be fresh; try again, with the leader."""

    ticket: int


class Mended(msgspec.Struct, frozen=True, kw_only=True, tag="mended"):
    """What was damaged is whole again once ``number`` is durable: from then on begin with ``may_vote``."""

    number: int


RaftEffect = SendRaft | Persist | Committed | Restored | Led | Followed | ReadReady | ReadLost | Mended


class AddLearner(msgspec.Struct, frozen=True, kw_only=True, tag="learner"):
    """Let this node have the log."""

    node: NodeId


class Promote(msgspec.Struct, frozen=True, kw_only=True, tag="promote"):
    """Let this learner, which has caught up, vote."""

    node: NodeId


class Remove(msgspec.Struct, frozen=True, kw_only=True, tag="remove"):
    """Let this voter or learner go."""

    node: NodeId


ConfigStep = AddLearner | Promote | Remove
