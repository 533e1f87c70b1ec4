"""Progress: what a leader knows of one member.

``match`` is how far the member's disk is known to agree with the leader's log, ``safe`` how far that may be counted for a
majority: what a member says while it is in repair moves the first and not the second. ``next`` is what it is sent
next. While *probing* the leader looks for the place where the logs agree, one message at a time; then it sends ahead of
the answers, with bounds on how much is on the way.
"""

from __future__ import annotations

import msgspec

from worldos.model.limits import RAFT_INFLIGHT_MAX, RAFT_INFLIGHT_SMALL
from worldos.model.raft import Snapshot

BATCH_WORTH_SENDING = 256  # entries: so many go out although answers are missing


class Sending(msgspec.Struct, kw_only=True):
    """A snapshot on its way: the member has the first ``offset`` bytes. ``moved``: it had news since the last beat."""

    snapshot: Snapshot
    offset: int = 0
    moved: bool = True


class Progress(msgspec.Struct, kw_only=True):
    """How far one member has got, and what is on the way to it."""

    next: int
    heard_ns: int
    match: int = 0
    safe: int = 0
    round: int = 0
    told: int = 0
    probing: bool = True
    paused: bool = False
    inflight: list[int] = []
    sending: Sending | None = None
    mending: int = 0
    mend_index: int = 0

    def may_send(self, waiting: int) -> bool:
        """Tell whether to send more, with so many entries waiting: small messages wait for answers, and so grow."""
        if self.probing:
            return not self.paused
        flying = len(self.inflight)
        return flying < RAFT_INFLIGHT_SMALL or (waiting >= BATCH_WORTH_SENDING and flying < RAFT_INFLIGHT_MAX)

    def sent(self, last: int) -> None:
        """Note that entries up to ``last`` are on the way."""
        if self.probing:
            self.paused = True
        else:
            self.next = last + 1
            self.inflight.append(last)

    def reached(self, index: int) -> None:
        """Note that the member has the log up to ``index``: whatever was being looked for is found."""
        if index > self.match:
            self.match = index
            self.next = max(self.next, index + 1)
        self.probing = self.paused = False
        flying = self.inflight
        while flying and flying[0] <= index:
            del flying[0]
        if self.sending is not None and index >= self.sending.snapshot.index:
            self.sending = None

    def probe(self, first: int) -> None:
        """Look for the place of agreement again, beginning before ``first``; what was on the way is given up."""
        self.next = max(first, self.match + 1)
        self.probing, self.paused = True, False
        self.inflight.clear()
