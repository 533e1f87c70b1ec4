"""What a disk holds after a row of writes: the rule that the real log and the simulator's disk share."""

from __future__ import annotations

from worldos.kernel.stored import Stored
from worldos.model.raft import Config, Entry, Snapshot, Vote

ME = Config(voters=("a",))


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(term=term, index=index, command=b"x") for index in range(first, last + 1))


def snapshot(index: int, term: int = 1) -> Snapshot:
    return Snapshot(term=term, index=index, config=ME, state=b"state")


def places(stored: Stored) -> list[tuple[int, int]]:
    return [(entry.index, entry.term) for entry in stored.entries]


def test_entries_replace_the_log_from_the_first_of_them_on() -> None:
    stored = Stored()
    stored.persist(None, entries(1, 5), None)
    stored.persist(Vote(term=2, voted="b"), entries(3, 3, term=2), None)
    assert places(stored) == [(1, 1), (2, 1), (3, 2)]
    assert stored.vote == Vote(term=2, voted="b")


def test_what_is_not_said_stays() -> None:
    stored = Stored()
    stored.persist(Vote(term=1, voted="a"), entries(1, 2), None)
    stored.persist(None, (), None)
    assert stored.vote == Vote(term=1, voted="a")
    assert places(stored) == [(1, 1), (2, 1)]


def test_a_snapshot_of_an_own_entry_keeps_what_follows_it() -> None:
    stored = Stored()
    stored.persist(None, entries(1, 5), None)
    stored.persist(None, (), snapshot(3))
    assert places(stored) == [(4, 1), (5, 1)]
    stored.persist(None, (), snapshot(3))
    assert places(stored) == [(4, 1), (5, 1)]


def test_a_snapshot_of_another_history_takes_all_that_follows_it_away() -> None:
    stored = Stored()
    stored.persist(None, entries(1, 5), None)
    stored.persist(None, (), snapshot(3, term=2))
    assert places(stored) == []


def test_after_a_snapshot_ahead_of_the_log_the_next_entries_begin_behind_it() -> None:
    stored = Stored()
    stored.persist(None, entries(1, 5), None)
    stored.persist(None, entries(10, 11, term=3), snapshot(9, term=3))
    assert places(stored) == [(10, 3), (11, 3)]


def test_entries_and_a_snapshot_of_them_may_come_together() -> None:
    stored = Stored()
    stored.persist(None, entries(1, 5), snapshot(4))
    assert places(stored) == [(5, 1)]
    stored.persist(None, entries(3, 6, term=1), None)
    assert places(stored) == [(3, 1), (4, 1), (5, 1), (6, 1)]
