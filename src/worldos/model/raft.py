"""What the members of a council say to each other, and what they keep: Raft's values and messages.

A log is a row of entries, numbered from 1 without a gap. An entry is a command, a configuration, or (both empty) the
no-op with which a leader begins its term. A council is founded by its entry 1, a configuration of term 1 that all its
founders write for themselves. Index 0 and term 0 mean "nothing".

A message never says who sent it: the link does. Sizes are bounded here, at the type; whether the numbers make sense
together is for ``kernel/raft`` to see, which believes no peer.

Source: D. Ongaro, J. Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)", 2014;
D. Ongaro, "Consensus: Bridging Theory and Practice", 2014 (thesis).
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.model.ids import NodeId
from worldos.model.limits import (
    RAFT_BATCH_ENTRIES_MAX,
    RAFT_COMMAND_BYTES_MAX,
    RAFT_LEARNERS_MAX,
    RAFT_SNAPSHOT_BYTES_MAX,
    RAFT_SNAPSHOT_PART_BYTES,
    RAFT_VOTERS_MAX,
)

NUMBER_MAX: Final = (1 << 62) - 1
NOBODY: Final = NodeId("")

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Name: TypeAlias = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
NameOrNobody: TypeAlias = Annotated[NodeId, msgspec.Meta(max_length=64)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=RAFT_SNAPSHOT_BYTES_MAX)]


class Config(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who belongs to a council: voters decide, learners only get the log."""

    voters: Annotated[tuple[Name, ...], msgspec.Meta(max_length=RAFT_VOTERS_MAX)]
    learners: Annotated[tuple[Name, ...], msgspec.Meta(max_length=RAFT_LEARNERS_MAX)] = ()


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One place in the log. A configuration iff ``config`` is there; with neither: a leader's no-op."""

    term: Number
    index: Number
    command: Annotated[bytes, msgspec.Meta(max_length=RAFT_COMMAND_BYTES_MAX)] = b""
    config: Config | None = None


class Vote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The hard state: the latest term seen, and for whom this member voted in it."""

    term: Number
    voted: NameOrNobody = NOBODY


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The state machine after the entry ``index``, which was of ``term``, and the configuration then."""

    term: Number
    index: Number
    config: Config
    state: Annotated[bytes, msgspec.Meta(max_length=RAFT_SNAPSHOT_BYTES_MAX)]


class PreVoteAsk(msgspec.Struct, frozen=True, kw_only=True, tag="rpre"):
    """Would you vote for me in ``term``, if I began it? My log ends with (``last_term``, ``last_index``)."""

    term: Number
    last_index: Number
    last_term: Number


class PreVoteAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="rpre!"):
    """I would (``term`` is the one asked for), or I would not (``term`` is mine)."""

    term: Number
    granted: bool


class VoteAsk(msgspec.Struct, frozen=True, kw_only=True, tag="rvote", omit_defaults=True):
    """Vote for me. ``forced``: the leader told me to (TimeoutNow), so do not keep faith with it."""

    term: Number
    last_index: Number
    last_term: Number
    forced: bool = False


class VoteAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="rvote!"):
    """I do, and it is on my disk; or I do not."""

    term: Number
    granted: bool


class AppendAsk(msgspec.Struct, frozen=True, kw_only=True, tag="radd", omit_defaults=True):
    """These entries come after (``prev_term``, ``prev_index``); all up to ``committed`` stand for good.

    Without entries it is a heartbeat; with ``round`` 0 it wants no answer unless the log does not fit. ``mended`` tells
    a member in repair that its repair of that number is over when it has ``mend_index``. ``rests``: nothing happens, so the
    next heartbeat comes later than usual.
    """

    term: Number
    prev_index: Number
    prev_term: Number
    committed: Number
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=RAFT_BATCH_ENTRIES_MAX)] = ()
    round: Number = 0
    mended: Number = 0
    mend_index: Number = 0
    rests: bool = False


class AppendAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="radd!", omit_defaults=True):
    """My disk has your log up to ``index``; or (``refused``) I do not have what comes before, at ``index``.

    After a refusal the logs can agree at most up to ``hint_index``, where mine is of ``hint_term``. ``round`` is that
    of the question. ``mending`` is not 0 while this member is in repair: its answer counts for no majority.
    """

    term: Number
    index: Number
    refused: bool = False
    hint_index: Number = 0
    hint_term: Number = 0
    round: Number = 0
    mending: Number = 0


class SnapshotPart(msgspec.Struct, frozen=True, kw_only=True, tag="rsnap"):
    """A part of my snapshot of ``index``, from ``offset`` of ``size`` bytes on."""

    term: Number
    index: Number
    index_term: Number
    config: Config
    size: Size
    offset: Size
    data: Annotated[bytes, msgspec.Meta(max_length=RAFT_SNAPSHOT_PART_BYTES)]


class SnapshotAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="rsnap!"):
    """Of your snapshot of ``index`` I have the first ``received`` bytes: go on there."""

    term: Number
    index: Number
    received: Size


class ReadAsk(msgspec.Struct, frozen=True, kw_only=True, tag="rread"):
    """Say up to where I must have applied the log to answer a question asked now."""

    term: Number
    ticket: Number


class ReadAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="rread!"):
    """Up to ``index``; or 0: ask the leader, that is not me (any more)."""

    term: Number
    ticket: Number
    index: Number


class TimeoutNow(msgspec.Struct, frozen=True, kw_only=True, tag="rnow"):
    """Your log is as mine: stand for election at once, I hand over to you."""

    term: Number


RaftMessage = (
    AppendAsk
    | AppendAnswer
    | SnapshotPart
    | SnapshotAnswer
    | PreVoteAsk
    | PreVoteAnswer
    | VoteAsk
    | VoteAnswer
    | ReadAsk
    | ReadAnswer
    | TimeoutNow
)
