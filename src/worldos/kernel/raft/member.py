"""A member of a council: everything it knows, and the few acts that all of its roles share.

Terms, votes and entries are written before anything leaves that depends on them. What must wait is *held* under the
number of the write it waits for. A new term or vote is not written at once but with the next thing that is (``dirty``),
at the latest when the effects are handed out.

Invariant: between two calls ``effects`` holds at most what ``begin`` left there, and nothing is dirty.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from worldos.kernel.dice import Dice
from worldos.kernel.raft.effects import (
    Committed,
    Followed,
    Persist,
    RaftEffect,
    ReadLost,
    ReadReady,
    Restored,
    SendRaft,
)
from worldos.kernel.raft.log import Log
from worldos.kernel.raft.pace import Pace
from worldos.kernel.raft.progress import Progress
from worldos.kernel.raft.reads import Reads
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS, RAFT_HELD_MAX
from worldos.model.raft import NOBODY, Config, Entry, RaftMessage, ReadAnswer, Snapshot, Vote


class Role(StrEnum):
    """What a member is just now. A hopeful asks whether it would be elected; a candidate stands for election."""

    FOLLOWER = "follower"
    HOPEFUL = "hopeful"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Held(msgspec.Struct, kw_only=True):
    """A message that leaves when all writes up to ``number`` are done."""

    number: int
    node: NodeId
    message: RaftMessage


class Incoming(msgspec.Struct, kw_only=True):
    """A snapshot that arrives in parts."""

    term: int
    index: int
    config: Config
    size: int
    received: int = 0
    parts: list[bytes] = []


class Member(msgspec.Struct, kw_only=True):
    """One member's whole state.

    ``heard_ns`` is when the leader was heard last: until an election time-out after it, this member helps nobody to
    replace it. ``mending`` is not 0 while the member is in repair; see ``follower``. ``heir`` is whom this leader hands
    over to. ``due_ns`` is when the member wants to be ticked. ``resting``: the council goes slower, as its pace allows;
    ``still`` are the leader's beats without news, and ``woke_ns`` is when it last ended a rest.
    """

    me: NodeId
    pace: Pace
    dice: Dice
    log: Log
    due_ns: int = NEVER_NS
    role: Role = Role.FOLLOWER
    term: int = 0
    voted: NodeId = NOBODY
    leader: NodeId = NOBODY
    heard_ns: int = -NEVER_NS
    patience_ns: int = 0
    hinted: bool = False
    number: int = 0
    durable: int = 0
    vote_number: int = 0
    dirty: bool = False
    held: list[Held] = []
    ballot: dict[NodeId, bool] = {}
    peers: dict[NodeId, Progress] = {}
    lead_index: int = 0
    heir: NodeId = NOBODY
    heir_until_ns: int = 0
    reads: Reads = msgspec.field(default_factory=Reads)
    incoming: Incoming | None = None
    mending: int = 0
    mend_index: int = 0
    resting: bool = False
    still: int = 0
    woke_ns: int = -NEVER_NS
    effects: list[RaftEffect] = []

    @property
    def is_leader(self) -> bool:
        """Tell whether this member leads, as far as it knows."""
        return self.role is Role.LEADER

    @property
    def ease(self) -> int:
        """Return how many times slower than its pace the council is now."""
        return self.pace.rests if self.resting else 1

    def taken(self) -> list[RaftEffect]:
        """Hand out the effects."""
        if self.dirty:
            self.persist()
        effects, self.effects = self.effects, []
        return effects

    def say(self, node: NodeId, message: RaftMessage) -> None:
        """Send this now."""
        self.effects.append(SendRaft(node=node, message=message))

    def say_after(self, number: int, node: NodeId, message: RaftMessage) -> None:
        """Send this once the writes up to ``number`` are done; too many of these are as good as lost."""
        if number <= self.durable:
            self.effects.append(SendRaft(node=node, message=message))
        elif len(self.held) < RAFT_HELD_MAX:
            self.held.append(Held(number=number, node=node, message=message))

    def persist(self, entries: Sequence[Entry] = (), snapshot: Snapshot | None = None) -> int:
        """Have this written, with the vote if that changed; return the number to wait for."""
        self.number += 1
        vote = None
        if self.dirty:
            vote = Vote(term=self.term, voted=self.voted)
            self.dirty = False
            self.vote_number = self.number
        self.effects.append(Persist(number=self.number, vote=vote, entries=tuple(entries), snapshot=snapshot))
        if entries or snapshot is not None:
            self.log.issue(self.number)
        return self.number

    def flush(self) -> None:
        """Have the vote written, and what of the log is not yet."""
        entries = self.log.unissued()
        if entries or self.dirty:
            self.persist(entries)

    def release(self) -> None:
        """Send what waited for writes that are done."""
        if self.held:
            held, self.held = self.held, []
            for waiting in held:
                self.say_after(waiting.number, waiting.node, waiting.message)

    def commit(self, index: int) -> None:
        """Give out the log up to ``index`` as committed, and answer reads that waited for it."""
        if index > self.log.committed:
            self.effects.append(Committed(entries=self.log.commit(index)))
            if self.reads.asked:
                self.answer_asked()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot in place of the whole log."""
        self.flush()
        self.log.restore(snapshot)
        self.persist(snapshot=snapshot)
        self.effects.append(Restored(snapshot=snapshot))
        self.answer_asked()

    def answer_asked(self) -> None:
        """Answer own reads that the committed log can answer."""
        for ticket in self.reads.applied(self.log.committed):
            self.effects.append(ReadReady(ticket=ticket, index=self.log.committed))

    def follow(self, now_ns: int, term: int, leader: NodeId) -> None:
        """Be a follower in this term, of this leader or of none that is known."""
        led = self.role is Role.LEADER
        news = led or self.leader != leader
        if led:
            self.flush()
        if term > self.term:
            self.term, self.voted = term, NOBODY
            self.dirty = True
            self.mend_index = 0
        if news:
            self.drop_reads()
        self.role, self.leader = Role.FOLLOWER, leader
        self.peers, self.ballot, self.heir = {}, {}, NOBODY
        self.incoming = None
        self.resting = False
        self.wait(now_ns)
        if news:
            self.effects.append(Followed(term=term, leader=leader))

    def drop_reads(self) -> None:
        """Tell everybody whose question waits here that it has no answer."""
        for read in self.reads.drop():
            if read.origin == NOBODY:
                self.effects.append(ReadLost(ticket=read.ticket))
            else:
                self.say(read.origin, ReadAnswer(term=self.term, ticket=read.ticket, index=0))

    def wait(self, now_ns: int) -> None:
        """Wait for a leader, this time for so long: each member differently, each time differently."""
        span = self.pace.election_max_ns - self.pace.election_min_ns
        self.patience_ns = self.pace.election_min_ns + self.dice.below(span + 1)
        self.due_ns = now_ns + self.patience_ns

    def keeps_faith(self, now_ns: int) -> bool:
        """Tell whether this member leads, or heard a leader so lately that it helps nobody to replace it."""
        if self.role is Role.LEADER:
            return True
        return self.leader != NOBODY and now_ns - self.heard_ns < self.pace.election_min_ns * self.ease
