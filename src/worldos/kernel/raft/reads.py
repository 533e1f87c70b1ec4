"""Reads: questions that wait until it is sure that their answer would be fresh.

A leader notes how far the log was committed when the question came, then has a majority confirm, by answers to a
heartbeat sent later, that it still led then. Questions that come while such a round is under way share the next one.
A member that does not lead asks the leader (``asked``) and answers once it has applied that far itself. No clock takes
part. Source: thesis, 6.4.
"""

from __future__ import annotations

import msgspec

from worldos.model.ids import NodeId
from worldos.model.raft import NOBODY


class Read(msgspec.Struct, kw_only=True):
    """A question at the leader, of ``origin`` ("" is this member), that the answers to ``round`` decide."""

    ticket: int
    index: int
    round: int
    origin: NodeId = NOBODY


class Asked(msgspec.Struct, kw_only=True):
    """A question that this member asked its leader. ``index`` is 0 until the leader said it."""

    deadline_ns: int
    index: int = 0


class Reads(msgspec.Struct, kw_only=True):
    """``early`` wait for the leader's first commit; ``waiting`` for their round; ``asked`` for the leader, or the log."""

    round: int = 0
    confirmed: int = 0
    early: list[Read] = []
    waiting: list[Read] = []
    asked: dict[int, Asked] = {}

    @property
    def open(self) -> int:
        """Return how many questions wait."""
        return len(self.early) + len(self.waiting) + len(self.asked)

    def confirm(self, round_: int) -> list[Read]:
        """Note that a majority answered this round; return the questions that it decides."""
        self.confirmed = max(self.confirmed, round_)
        ready = [read for read in self.waiting if read.round <= self.confirmed]
        if ready:
            self.waiting = [read for read in self.waiting if read.round > self.confirmed]
        return ready

    def applied(self, index: int) -> list[int]:
        """Return the tickets of own questions that a log committed up to ``index`` can answer."""
        ready = [ticket for ticket, asked in self.asked.items() if 0 < asked.index <= index]
        for ticket in ready:
            del self.asked[ticket]
        return ready

    def expired(self, now_ns: int) -> list[int]:
        """Return the tickets of own questions whose answer is overdue."""
        late = [ticket for ticket, asked in self.asked.items() if asked.deadline_ns <= now_ns]
        for ticket in late:
            del self.asked[ticket]
        return late

    def drop(self) -> list[Read]:
        """Give up all questions and return them; rounds count from 0 again."""
        mine = [Read(ticket=ticket, index=0, round=0) for ticket in self.asked]
        gone = self.early + self.waiting + mine
        self.early, self.waiting, self.asked = [], [], {}
        self.round = self.confirmed = 0
        return gone
