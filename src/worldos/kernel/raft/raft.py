"""Raft: one member of a council as a machine without I/O. It routes; what a role does is in the file of that role.

Call it with what happens and the time on this node's own clock; carry out what it returns, in order. ``due_ns`` is when
it wants to be ticked next. No peer's message makes it raise: what makes no sense is dropped.

The whole machine is a value that msgpack encodes and decodes.
"""

from __future__ import annotations

from typing import Final, assert_never

from worldos.kernel.dice import Dice
from worldos.kernel.raft import candidate, follower, leader
from worldos.kernel.raft.effects import ConfigStep, RaftEffect, ReadLost, ReadReady, Restored
from worldos.kernel.raft.log import Log
from worldos.kernel.raft.member import Member, Role
from worldos.kernel.raft.pace import Pace
from worldos.kernel.raft.reads import Asked
from worldos.model.ids import NodeId
from worldos.model.limits import RAFT_COMMAND_BYTES_MAX, RAFT_HINT_NS, RAFT_READS_MAX, RAFT_TERM_JUMP_MAX
from worldos.model.raft import (
    NOBODY,
    AppendAnswer,
    AppendAsk,
    Config,
    Entry,
    PreVoteAnswer,
    PreVoteAsk,
    RaftMessage,
    ReadAnswer,
    ReadAsk,
    Snapshot,
    SnapshotAnswer,
    SnapshotPart,
    TimeoutNow,
    Vote,
    VoteAnswer,
    VoteAsk,
)

FOUNDING_TERM: Final = 1
WORD_BITS: Final = 62


class Raft(Member, kw_only=True):
    """A member of a council, by its public verbs."""

    @classmethod
    def begin(  # noqa: PLR0913 - one argument for each thing that a disk has
        cls,
        me: NodeId,
        seed: int,
        now_ns: int,
        *,
        config: Config | None,
        pace: Pace,
        vote: Vote | None = None,
        snapshot: Snapshot | None = None,
        entries: tuple[Entry, ...] = (),
        may_vote: bool = True,
    ) -> Raft:
        """Begin a life of this member, from what its disk has; on an empty disk, found a council of ``config``.

        Without ``config`` and with an empty disk it waits for a leader that knows of it. ``may_vote`` is false when the
        disk has, or may have, forgotten something: see ``follower``. ``seed`` is another one in each life. The first
        call after this returns also what is to be done first: what a founder writes, the snapshot as ``Restored``.
        """
        raft = cls(me=me, pace=pace, dice=Dice(state=seed), log=Log.recovered(snapshot, entries))
        raft.term, raft.voted = (vote.term, vote.voted) if vote is not None else (0, NOBODY)
        if raft.log.last_term > raft.term:  # the vote of that term is not known: take it as given
            raft.term, raft.voted = raft.log.last_term, me
        if not may_vote:
            raft.mending = 1 + (raft.dice.next_u64() >> (64 - WORD_BITS + 1))
        raft.wait(now_ns)
        if snapshot is not None:
            raft.effects.append(Restored(snapshot=snapshot))
        if config is not None and may_vote and vote is None and raft.log.last == 0:
            raft.log.append((Entry(term=FOUNDING_TERM, index=1, config=config),))
            raft.term, raft.dirty = FOUNDING_TERM, True
            raft.flush()
        if raft.log.config.voters == (me,):
            raft.due_ns = now_ns
        return raft

    def tick(self, now_ns: int) -> list[RaftEffect]:
        """Do what is due: a leader's heartbeat, or an election where no leader was heard."""
        if now_ns >= self.due_ns:
            if self.role is Role.LEADER:
                leader.beat(self, now_ns)
            else:
                self._miss_leader(now_ns)
        return self.taken()

    def _miss_leader(self, now_ns: int) -> None:
        if self.leader != NOBODY or self.role is not Role.FOLLOWER:
            self.follow(now_ns, self.term, NOBODY)
        for ticket in self.reads.expired(now_ns):
            self.effects.append(ReadLost(ticket=ticket))
        if candidate.may_stand(self):
            candidate.hope(self, now_ns)
        else:
            self.wait(now_ns)

    def heard(self, now_ns: int, peer: NodeId, message: RaftMessage) -> list[RaftEffect]:
        """Take in what another node said."""
        if peer == self.me or message.term > self.term + RAFT_TERM_JUMP_MAX:
            return self.taken()
        if message.term > self.term:
            if not self._enter_term(now_ns, peer, message):
                return self.taken()
        elif message.term < self.term:
            self._answer_late(peer, message)
            return self.taken()
        self._route(now_ns, peer, message)
        return self.taken()

    def _enter_term(self, now_ns: int, peer: NodeId, message: RaftMessage) -> bool:
        """Follow into a higher term, unless nothing calls for it; tell whether to go on with the message."""
        match message:
            case PreVoteAsk():
                return True
            case PreVoteAnswer(granted=True):
                return True
            case VoteAsk(forced=False) if self.keeps_faith(now_ns):
                return False
            case AppendAsk() | SnapshotPart():
                self.follow(now_ns, message.term, peer)
            case _:
                due_ns = self.due_ns
                waited = self.role is Role.FOLLOWER
                self.follow(now_ns, message.term, NOBODY)
                if waited:
                    self.due_ns = min(self.due_ns, due_ns)  # a candidate that may not win does not keep us waiting
        return True

    def _answer_late(self, peer: NodeId, message: RaftMessage) -> None:
        """Tell a node that lives in an older term which one it is now."""
        match message:
            case AppendAsk() | SnapshotPart():
                refusal = AppendAnswer(term=self.term, index=0, refused=True, mending=self.mending)
                self.say(peer, refusal)
            case VoteAsk():
                self.say(peer, VoteAnswer(term=self.term, granted=False))
            case PreVoteAsk():
                self.say(peer, PreVoteAnswer(term=self.term, granted=False))
            case ReadAsk():
                self.say(peer, ReadAnswer(term=self.term, ticket=message.ticket, index=0))
            case _:
                pass

    def _route(self, now_ns: int, peer: NodeId, message: RaftMessage) -> None:
        match message:
            case AppendAnswer() | SnapshotAnswer():
                if self.role is Role.LEADER:
                    leader.hear(self, now_ns, peer, message)
            case AppendAsk() | SnapshotPart():
                if self.role is not Role.LEADER:
                    follower.hear(self, now_ns, peer, message)
                    self._look_after_reads(now_ns)
            case PreVoteAsk() | PreVoteAnswer() | VoteAsk() | VoteAnswer():
                candidate.hear(self, now_ns, peer, message)
            case ReadAsk():
                self._asked(now_ns, peer, message)
            case ReadAnswer():
                self._told(message)
            case TimeoutNow():
                if peer == self.leader and candidate.may_stand(self):
                    candidate.stand(self, now_ns, forced=True)
            case _:
                assert_never(message)

    def persisted(self, now_ns: int, number: int) -> list[RaftEffect]:
        """Take in that all writes up to this number are on disk."""
        if number > self.durable:
            self.durable = min(number, self.number)
            grown = self.log.written(self.durable)
            self.release()
            if self.role is Role.LEADER:
                if grown:
                    leader.count(self, now_ns)
                    leader.advance(self)
            elif self.role is Role.CANDIDATE and self.vote_number <= self.durable:
                candidate.vote_written(self, now_ns)
            elif self.mending:
                follower.mend(self)
        return self.taken()

    def propose(self, now_ns: int, command: bytes) -> tuple[int, list[RaftEffect]]:
        """Put a command into the log; return its index, or 0 if this member does not lead or has too much to do.

        It stands for good when it comes back in ``Committed``, at that index and in the term of then.
        """
        assert len(command) <= RAFT_COMMAND_BYTES_MAX
        if self.role is not Role.LEADER or self.heir != NOBODY or self.log.full:
            return 0, self.taken()
        leader.wake(self, now_ns)
        index = leader.append(self, command, None)
        leader.advance(self)
        return index, self.taken()

    def change(self, now_ns: int, step: ConfigStep) -> tuple[int, list[RaftEffect]]:
        """Change the council by one node; return the index of the entry, or 0 if that cannot be done now."""
        index = leader.change(self, now_ns, step) if self.role is Role.LEADER else 0
        return index, self.taken()

    def read(self, now_ns: int, ticket: int) -> list[RaftEffect]:
        """Say when a question asked now may be answered from the state machine here: ReadReady or ReadLost."""
        if self.role is Role.LEADER:
            leader.read(self, now_ns, ticket, NOBODY)
        elif self.leader == NOBODY or self.reads.open >= RAFT_READS_MAX:
            self.effects.append(ReadLost(ticket=ticket))
        else:
            self.reads.asked[ticket] = Asked(deadline_ns=now_ns + self.pace.election_max_ns)
            self.say(self.leader, ReadAsk(term=self.term, ticket=ticket))
        return self.taken()

    def _asked(self, now_ns: int, peer: NodeId, message: ReadAsk) -> None:
        if self.role is Role.LEADER:
            leader.read(self, now_ns, message.ticket, peer)
        else:
            self.say(peer, ReadAnswer(term=self.term, ticket=message.ticket, index=0))

    def _told(self, message: ReadAnswer) -> None:
        asked = self.reads.asked.get(message.ticket)
        if asked is None:
            return
        if message.index == 0:
            del self.reads.asked[message.ticket]
            self.effects.append(ReadLost(ticket=message.ticket))
        elif message.index <= self.log.committed:
            del self.reads.asked[message.ticket]
            self.effects.append(ReadReady(ticket=message.ticket, index=message.index))
        else:
            asked.index = message.index

    def _look_after_reads(self, now_ns: int) -> None:
        """Give up own reads that got no answer; heartbeats come often enough to look here."""
        if self.reads.asked:
            for ticket in self.reads.expired(now_ns):
                self.effects.append(ReadLost(ticket=ticket))

    def unlinked(self, now_ns: int, peer: NodeId) -> list[RaftEffect]:
        """Take in that no link to this node is left: a hint that it is gone.

        If it led, this member no longer keeps faith with it, and stands soon. A leader sends it what is missing again.
        """
        if self.role is Role.LEADER:
            leader.wake(self, now_ns)
            progress = self.peers.get(peer)
            if progress is not None and progress.sending is None:
                progress.probe(progress.next)
        elif peer == self.leader:
            self.follow(now_ns, self.term, NOBODY)
            self.hinted = True
            self.due_ns = now_ns + self.dice.below(RAFT_HINT_NS)
        return self.taken()

    def hand_over(self, now_ns: int, to: NodeId) -> list[RaftEffect]:
        """Let this voter lead instead; if it does not come to that in an election's time, go on."""
        if self.role is Role.LEADER:
            leader.hand_over(self, now_ns, to)
        return self.taken()

    def compact(self, index: int, state: bytes) -> list[RaftEffect]:
        """Let ``state``, the state machine's after the entry ``index``, stand for all entries up to it."""
        have = self.log.snapshot.index if self.log.snapshot is not None else 0
        if have < index <= self.log.committed:
            self.flush()
            snapshot = self.log.compact(index, state)
            self.persist(snapshot=snapshot)
        return self.taken()
