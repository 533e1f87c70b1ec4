"""The log of one member: its tail in memory, what of it is on disk, what is committed, and which configuration holds.

``entries[0]`` has the index ``base + 1``. A snapshot stands at or after ``base``: some entries before it stay, for
members that are only a little behind. ``issued`` is how far the log has been given out to be written, ``stable`` how far
it is known to be on disk *as it is now*: cutting off a tail takes both back.

Invariants: base <= snapshot.index <= committed <= last; stable <= issued <= last; terms never fall along the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from worldos.model.limits import (
    RAFT_BATCH_BYTES,
    RAFT_BATCH_ENTRIES_MAX,
    RAFT_CONFIG_BYTES,
    RAFT_ENTRY_BYTES,
    RAFT_KEPT_BYTES,
    RAFT_KEPT_ENTRIES,
    RAFT_UNCOMMITTED_BYTES_MAX,
    RAFT_UNCOMMITTED_ENTRIES_MAX,
)
from worldos.model.raft import Config, Entry, Snapshot

UNKNOWN = -1
NO_CONFIG = Config(voters=())


def follows(entries: Sequence[Entry], index: int, term: int) -> bool:
    """Tell whether the entries go on from (``term``, ``index``) without a gap and without a falling term."""
    if not entries:
        return True
    if entries[0].index != index + 1 or entries[0].term < term:
        return False
    return all(b.index == a.index + 1 and b.term >= a.term for a, b in pairwise(entries))


def size_of(entry: Entry) -> int:
    """Return at most how many bytes an entry takes in a message."""
    return len(entry.command) + RAFT_ENTRY_BYTES + (RAFT_CONFIG_BYTES if entry.config is not None else 0)


class Write(msgspec.Struct, kw_only=True):
    """A write of entries that is not known to be done: with ``number``, the disk has the log up to ``last``."""

    number: int
    last: int


class Log(msgspec.Struct, kw_only=True):
    """The entries since ``base``, and how far they have got."""

    base: int = 0
    base_term: int = 0
    entries: list[Entry] = []
    snapshot: Snapshot | None = None
    configs: list[tuple[int, Config]] = msgspec.field(default_factory=lambda: [(0, NO_CONFIG)])
    committed: int = 0
    issued: int = 0
    stable: int = 0
    writes: list[Write] = []
    open_bytes: int = 0

    @classmethod
    def recovered(cls, snapshot: Snapshot | None, entries: Sequence[Entry]) -> Log:
        """Return the log that was on disk, all of it stable.

        A snapshot that came from a leader may have taken the place of entries that contradict it, and these may still
        lie behind it on disk. They are older: had they been of the snapshot's term or a later one, the log they are of
        would have held the snapshot's last entry.
        """
        log = cls()
        if snapshot is not None:
            log.restore(snapshot)
        tail = [entry for entry in entries if entry.index > log.base]
        while not follows(tail, log.base, log.base_term):
            tail.pop()
        log.append(tail)
        log.issued = log.stable = log.last
        return log

    @property
    def last(self) -> int:
        """Return the index of the last entry."""
        return self.base + len(self.entries)

    @property
    def last_term(self) -> int:
        """Return the term of the last entry."""
        return self.entries[-1].term if self.entries else self.base_term

    @property
    def config(self) -> Config:
        """Return the latest configuration: it holds from when it is in the log, committed or not (thesis 4.1)."""
        return self.configs[-1][1]

    @property
    def config_index(self) -> int:
        """Return where the latest configuration stands."""
        return self.configs[-1][0]

    @property
    def full(self) -> bool:
        """Tell whether so much waits for its commit that no more should be taken."""
        waiting = self.base + len(self.entries) - self.committed
        return waiting >= RAFT_UNCOMMITTED_ENTRIES_MAX or self.open_bytes >= RAFT_UNCOMMITTED_BYTES_MAX

    def term_at(self, index: int) -> int:
        """Return the term of the entry there, or UNKNOWN where the log has none (any more)."""
        at = index - self.base - 1
        if 0 <= at < len(self.entries):
            return self.entries[at].term
        return self.base_term if at == -1 else UNKNOWN

    def newer_than(self, last_term: int, last_index: int) -> bool:
        """Tell whether this log is more up to date than one that ends so (section 5.4.1)."""
        return (self.last_term, self.last) > (last_term, last_index)

    def batch(self, first: int) -> tuple[Entry, ...]:
        """Return entries from ``first`` on, as many as go into one message."""
        at = first - self.base - 1
        chosen = self.entries[at : at + RAFT_BATCH_ENTRIES_MAX]
        room = RAFT_BATCH_BYTES
        for number, entry in enumerate(chosen):
            room -= size_of(entry)
            if room <= 0:
                return tuple(chosen[: number + 1])
        return tuple(chosen)

    def agreeing(self, index: int, term: int) -> int:
        """Return the last index, at most this one, where the log could agree with one that has ``term`` at ``index``.

        Below ``base`` nothing is known, so the index itself comes back. O(log n).
        """
        index = min(index, self.last)
        if index < self.base:
            return index
        found = bisect_right(self.entries, term, 0, index - self.base, key=_term)
        return self.base + found if found or self.base_term <= term else max(self.base - 1, 0)

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries behind the last one."""
        self.entries.extend(entries)
        self.configs.extend((entry.index, entry.config) for entry in entries if entry.config is not None)

    def cut(self, first: int) -> None:
        """Take off all entries from ``first`` on; a configuration among them no longer holds."""
        assert first > self.committed
        del self.entries[first - self.base - 1 :]
        while self.configs[-1][0] >= first:
            self.configs.pop()
        self.issued = min(self.issued, first - 1)
        self.stable = min(self.stable, first - 1)
        for write in self.writes:
            write.last = min(write.last, first - 1)

    def unissued(self) -> tuple[Entry, ...]:
        """Return what was not yet given out to be written."""
        return tuple(self.entries[self.issued - self.base :])

    def issue(self, number: int) -> None:
        """Note that everything is being written by the write of this number."""
        self.issued = self.last
        self.writes.append(Write(number=number, last=self.last))

    def written(self, number: int) -> bool:
        """Note that all writes up to this number are done; tell whether more of the log is stable now."""
        done = 0
        for write in self.writes:
            if write.number > number:
                break
            done += 1
            self.stable = max(self.stable, write.last)
        del self.writes[:done]
        return done > 0

    def commit(self, index: int) -> tuple[Entry, ...]:
        """Commit up to ``index``; return what is committed by that."""
        fresh = tuple(self.entries[self.committed - self.base : index - self.base])
        self.committed = index
        return fresh

    def compact(self, index: int, state: bytes) -> Snapshot:
        """Let a snapshot stand for the entries up to ``index``."""
        config = [config for at, config in self.configs if at <= index][-1]
        self.snapshot = Snapshot(term=self.term_at(index), index=index, config=config, state=state)
        base = self._kept_before(index)
        if base > self.base:
            self.base_term = self.term_at(base)
            del self.entries[: base - self.base]
            self.base = base
            before = sum(at <= base for at, _ in self.configs)
            del self.configs[: before - 1]
        return self.snapshot

    def _kept_before(self, index: int) -> int:
        """Return from where on entries before a snapshot stay: not too many, and not too many bytes."""
        room = RAFT_KEPT_BYTES
        at = index - self.base
        least = max(0, at - RAFT_KEPT_ENTRIES)
        while at > least and (room := room - size_of(self.entries[at - 1])) >= 0:
            at -= 1
        return self.base + at

    def restore(self, snapshot: Snapshot) -> None:
        """Let the snapshot take the place of the whole log. What was committed before stays known as stable."""
        self.stable = min(self.stable, self.committed)
        for write in self.writes:
            write.last = min(write.last, self.committed)
        self.base, self.base_term = snapshot.index, snapshot.term
        self.entries.clear()
        self.configs = [(snapshot.index, snapshot.config)]
        self.snapshot = snapshot
        self.committed = self.issued = snapshot.index


def _term(entry: Entry) -> int:
    return entry.term
