"""The log of one member, on its own."""

from __future__ import annotations

import pytest
from tests.kernel.raft.council import A, B

from worldos.kernel.raft import log as log_module
from worldos.kernel.raft.log import UNKNOWN, Log, follows
from worldos.model.limits import RAFT_BATCH_BYTES, RAFT_BATCH_ENTRIES_MAX
from worldos.model.raft import Config, Entry

ONE, TWO = Config(voters=(A,)), Config(voters=(A, B))


def log_of(*terms: int) -> Log:
    log = Log()
    log.append([Entry(term=term, index=at + 1, command=b"x" * 10) for at, term in enumerate(terms)])
    log.issued = log.stable = log.last
    return log


def test_terms_are_known_from_the_base_to_the_end() -> None:
    log = log_of(1, 1, 3)
    assert [log.term_at(index) for index in (-1, 0, 1, 3, 4)] == [UNKNOWN, 0, 1, 3, UNKNOWN]


@pytest.mark.parametrize(("index", "term", "agreeing"), [
    (9, 9, 6), (6, 5, 6), (6, 4, 5), (5, 3, 3), (6, 2, 3), (6, 1, 2), (2, 1, 2), (2, 0, 0), (0, 0, 0),
])  # fmt: skip
def test_where_logs_could_agree_is_found_by_term(index: int, term: int, agreeing: int) -> None:
    assert log_of(1, 1, 2, 4, 4, 5).agreeing(index, term) == agreeing


def test_a_cut_takes_back_what_was_on_disk_and_the_configurations() -> None:
    log = log_of(1, 1)
    log.append([Entry(term=1, index=3, config=ONE), Entry(term=1, index=4, config=TWO)])
    log.issue(1)
    log.cut(4)
    assert (log.config, log.config_index) == (ONE, 3)
    log.append([Entry(term=2, index=4)])
    log.written(1)
    assert log.stable == 3, "the write had another entry 4"
    log.issue(2)
    log.written(2)
    assert log.stable == 4


def test_a_batch_is_bounded_in_entries_and_in_bytes() -> None:
    log = log_of(*[1] * (RAFT_BATCH_ENTRIES_MAX + 10))
    assert len(log.batch(1)) == RAFT_BATCH_ENTRIES_MAX
    assert len(log.batch(RAFT_BATCH_ENTRIES_MAX)) == 11
    big = Log()
    big.append([Entry(term=1, index=at + 1, command=bytes(60_000)) for at in range(20)])
    assert sum(len(entry.command) for entry in big.batch(1)) <= RAFT_BATCH_BYTES + 60_000
    assert big.batch(20)[0].index == 20


def test_compaction_keeps_some_entries_and_the_configuration_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RAFT_KEPT_ENTRIES", 2)
    log = Log()
    log.append([Entry(term=1, index=1, config=ONE), *(Entry(term=2, index=at) for at in range(2, 8))])
    log.append([Entry(term=2, index=8, config=TWO)])
    log.commit(8)
    snapshot = log.compact(6, b"state")
    assert (snapshot.term, snapshot.index, snapshot.config) == (2, 6, ONE)
    assert (log.base, log.base_term, log.last) == (4, 2, 8)
    assert log.configs == [(1, ONE), (8, TWO)]
    assert log.compact(8, b"later").config == TWO
    assert log.entries[0].index == log.base + 1 == 7


def test_a_row_of_entries_has_no_gap_and_no_falling_term() -> None:
    a, b, c = Entry(term=1, index=4), Entry(term=2, index=5), Entry(term=1, index=6)
    assert follows((), 9, 9)
    assert follows((a, b), 3, 1)
    assert not follows((a, b), 2, 1)
    assert not follows((a, b), 3, 2)
    assert not follows((b, c), 4, 1)
    assert not follows((a, c), 3, 1)


def test_compaction_keeps_no_more_bytes_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RAFT_KEPT_BYTES", 3 * 1000)
    log = Log()
    log.append([Entry(term=1, index=at, command=b"x" * 900) for at in range(1, 11)])
    log.issued = log.stable = log.last
    log.commit(9)
    log.compact(9, b"state")
    assert (log.base, log.last) == (6, 10)
    assert log.term_at(6) == 1
