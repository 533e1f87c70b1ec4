"""Tenure: how one node's place in a Raft group begins, how it is mended, and when it is over.

A place begins in one of three ways: *founded*, *invited* (empty, until the leader sends the log) or begun again from a disk. One
whose disk was damaged does not vote before a leader has mended it; a lone member has no such leader, so if none is heard for
SEAT_LONE_NS, what its disk forgot is gone for good. A place is over when the leader's last word was a group without this node,
or when the log never came within SEAT_SETTLED_NS.

Invariant: a place that the log has named, or that voted, is never over by silence. Times in ns of the node's clock.
Source: D. Ongaro, thesis, 4.2.3 (servers that were removed may never hear of it).
"""

from __future__ import annotations

import msgspec

from worldos.kernel.raft import Pace, Raft
from worldos.kernel.stored import Recovered
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS, RAFT_CAUGHT_UP_ENTRIES, SEAT_LONE_NS, SEAT_SETTLED_NS
from worldos.model.raft import NOBODY, AppendAsk, RaftMessage


class Tenure(msgspec.Struct, kw_only=True):
    """One node's place in a group.

    ``seated``: the log has named this node. ``mending``: the write that ends a repair, or 0. ``lone_ns``: when a lone member
    that is to be mended looks again whether anybody came. ``empty_ns``: until when the log must have come.
    """

    seated: bool = False
    mending: int = 0
    lone_ns: int = NEVER_NS
    empty_ns: int = NEVER_NS

    @classmethod
    def invited(cls, me: NodeId, seed: int, now_ns: int, pace: Pace) -> tuple[Raft, Tenure]:
        """Take a place that others give this node."""
        return Raft.begin(me, seed, now_ns, config=None, pace=pace), cls(empty_ns=now_ns + SEAT_SETTLED_NS)

    @classmethod
    def recovered(cls, me: NodeId, recovered: Recovered, seed: int, now_ns: int, pace: Pace) -> tuple[Raft, Tenure]:
        """Begin another life, with what the disk has; what it says comes of the first call after this."""
        raft = Raft.begin(
            me,
            seed,
            now_ns,
            config=None,
            pace=pace,
            vote=recovered.vote,
            snapshot=recovered.snapshot,
            entries=recovered.entries,
            may_vote=not recovered.damaged,
        )
        tenure = cls()
        if not recovered.damaged and not raft.log.last:
            tenure.empty_ns = now_ns + SEAT_SETTLED_NS
        if recovered.damaged and raft.log.config.voters == (me,):
            tenure.lone_ns = now_ns + SEAT_LONE_NS
        return raft, tenure

    def due_ns(self, raft: Raft) -> int:
        """Return when the place itself is to be looked at, having seen what the log says."""
        self.seated = self.seated or _is_named(raft)
        return min(self.empty_ns, self.lone_ns if raft.mending else NEVER_NS)

    def mends_alone(self, raft: Raft, now_ns: int) -> bool:
        """Tell whether nobody came to mend this lone member: then it leads with what is left, from its next tick on."""
        if now_ns < self.lone_ns:
            return False
        self.lone_ns = now_ns + SEAT_LONE_NS
        if not raft.mending or raft.leader != NOBODY or raft.log.config.voters != (raft.me,):
            return False
        self.lone_ns, raft.mending, raft.due_ns = NEVER_NS, 0, now_ns
        return True

    def is_mended(self, number: int) -> bool:
        """Tell whether the writes up to this number end a repair; once."""
        if not 0 < self.mending <= number:
            return False
        self.mending = 0
        return True

    def stays_empty(self, raft: Raft, now_ns: int) -> bool:
        """Tell whether the invitation was taken back before the log came: such a place never was one, and had no vote."""
        if now_ns < self.empty_ns:
            return False
        self.empty_ns = NEVER_NS if raft.log.last else now_ns + SEAT_SETTLED_NS
        return not raft.log.last and raft.leader == NOBODY and raft.voted == NOBODY

    def is_left_out(self, raft: Raft, message: RaftMessage) -> bool:
        """Tell whether the leader's last word to this node was a group without it."""
        if not self.seated or _is_named(raft):
            return False
        log = raft.log
        return type(message) is AppendAsk and message.committed <= log.committed and log.config_index <= log.committed


def caught_up(raft: Raft) -> list[NodeId]:
    """Return the learners that could vote."""
    log = raft.log
    known = [(node, raft.peers[node]) for node in log.config.learners if node in raft.peers]
    return [n for n, p in known if p.match and not p.mending and p.match + RAFT_CAUGHT_UP_ENTRIES >= log.last]


def _is_named(raft: Raft) -> bool:
    return raft.me in raft.log.config.voters or raft.me in raft.log.config.learners
