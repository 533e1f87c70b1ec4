"""Stored: what a council seat has on its disk, as one ``Persist`` after the other makes it.

The write-ahead log of a machine and the disk of the simulator both come to what they hold by this one rule, so that both
give a seat the same back after the same writes. A snapshot stands for the log up to its index; what lies behind it stays only
if the log had the very entry that the snapshot ends with (Raft, figure 13, step 6), for else it is another history.
"""

from __future__ import annotations

import msgspec

from worldos.model.raft import Entry, Snapshot, Vote


class Stored(msgspec.Struct, kw_only=True):
    """The vote, the snapshot, and the log behind it."""

    vote: Vote | None = None
    snapshot: Snapshot | None = None
    entries: list[Entry] = []

    def persist(self, vote: Vote | None, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        """Take in what one ``Persist`` says."""
        if vote is not None:
            self.vote = vote
        if snapshot is None:
            self._replace_from(entries)
        elif entries and entries[0].index <= snapshot.index:
            self._replace_from(entries)
            self._stand_on(snapshot)
        else:
            self._stand_on(snapshot)
            self._replace_from(entries)

    def _replace_from(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        first = self.entries[0].index if self.entries else entries[0].index
        del self.entries[max(0, entries[0].index - first) :]
        if self.entries and self.entries[-1].index + 1 != entries[0].index:
            self.entries.clear()
        self.entries.extend(entries)

    def _stand_on(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        first = self.entries[0].index if self.entries else 0
        at = snapshot.index - first
        same = self.entries and 0 <= at < len(self.entries) and self.entries[at].term == snapshot.term
        if same:
            del self.entries[: at + 1]
        elif not self.entries or first != snapshot.index + 1:
            self.entries.clear()


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk gives a seat at the beginning of a life. ``damaged``: empty, or why this seat must not vote yet.

    ``life`` counts the lives of this disk: 1 is a new one.
    """

    vote: Vote | None
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]
    damaged: str
    life: int
