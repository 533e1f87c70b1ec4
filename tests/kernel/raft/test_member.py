"""What leaves a member, and when: nothing before what it depends on is on disk."""

from __future__ import annotations

from tests.kernel.raft.council import A, B, C

from worldos.kernel.raft import LAN, Followed, Persist, Raft, RaftEffect, ReadLost, SendRaft
from worldos.model.limits import RAFT_HELD_MAX
from worldos.model.raft import AppendAnswer, AppendAsk, Config, Entry, TimeoutNow, Vote


def member() -> Raft:
    raft = Raft.begin(C, 1, 0, config=Config(voters=(A, B, C)), pace=LAN)
    raft.tick(0)
    raft.persisted(0, 1)
    return raft


def sent(effects: list[RaftEffect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, SendRaft)]


def test_what_waits_leaves_in_order_when_its_write_is_done() -> None:
    raft = member()
    for number, index in ((2, 2), (3, 3)):
        ask = AppendAsk(
            term=2, prev_index=index - 1, prev_term=min(index - 1, 2) if index > 2 else 1, committed=0,
            entries=(Entry(term=2, index=index),), round=number,
        )  # fmt: skip
        assert sent(raft.heard(1, A, ask)) == []
    assert sent(raft.persisted(1, 2)) == [AppendAnswer(term=2, index=2, round=2)]
    assert sent(raft.persisted(1, 3)) == [AppendAnswer(term=2, index=3, round=3)]
    assert sent(raft.persisted(1, 3)) == []


def test_a_term_goes_to_disk_with_what_is_written_anyway() -> None:
    raft = member()
    entry = Entry(term=5, index=2)
    effects = raft.heard(1, A, AppendAsk(term=5, prev_index=1, prev_term=1, committed=0, entries=(entry,), round=1))
    assert [effect for effect in effects if isinstance(effect, Persist)] == [
        Persist(number=2, vote=Vote(term=5), entries=(entry,))
    ]


def test_a_term_without_entries_goes_to_disk_too_before_any_answer() -> None:
    raft = member()
    effects = raft.heard(1, A, AppendAsk(term=5, prev_index=1, prev_term=1, committed=0, round=1))
    assert Persist(number=2, vote=Vote(term=5)) in effects
    assert sent(effects) == []
    assert sent(raft.persisted(1, 2)) == [AppendAnswer(term=5, index=1, round=1)]


def test_a_disk_that_does_not_answer_does_not_fill_the_memory() -> None:
    raft = member()
    for index in range(2, RAFT_HELD_MAX + 20):
        entry = Entry(term=2, index=index)
        prev_term = 1 if index == 2 else 2
        raft.heard(
            1, A, AppendAsk(term=2, prev_index=index - 1, prev_term=prev_term, committed=0, entries=(entry,), round=1)
        )
    assert len(raft.held) == RAFT_HELD_MAX


def test_a_change_of_leader_is_told_once_and_loses_the_reads_asked_of_it() -> None:
    raft = member()
    beat = AppendAsk(term=2, prev_index=1, prev_term=1, committed=0, round=1)
    assert [effect for effect in raft.heard(1, A, beat) if isinstance(effect, Followed)] == [Followed(term=2, leader=A)]
    assert not any(isinstance(effect, Followed) for effect in raft.heard(2, A, beat))
    raft.read(2, 7)
    effects = raft.heard(3, B, AppendAsk(term=3, prev_index=1, prev_term=1, committed=0, round=1))
    assert Followed(term=3, leader=B) in effects
    assert ReadLost(ticket=7) in effects


def test_a_write_that_was_never_asked_for_proves_nothing() -> None:
    raft = member()
    raft.heard(
        1, A, AppendAsk(term=2, prev_index=1, prev_term=1, committed=0, entries=(Entry(term=2, index=2),), round=1)
    )
    raft.persisted(1, 99)
    effects = raft.heard(
        2, A, AppendAsk(term=2, prev_index=2, prev_term=2, committed=0, entries=(Entry(term=2, index=3),), round=2)
    )
    assert sent(effects) == []
    assert raft.heard(3, A, TimeoutNow(term=1)) == []
