"""What a follower takes, refuses and claims; snapshots; and how a damaged member is mended."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.raft.council import A, B, C, Council, D, Disk, E, encoder

from worldos.kernel.raft import LAN, AddLearner, Mended, Persist, Raft, Restored, leader, log
from worldos.model.limits import SECOND
from worldos.model.raft import AppendAnswer, AppendAsk, Config, Entry, SnapshotPart, Vote, VoteAnswer, VoteAsk


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(term=term, index=first + at, command=b"%d.%d" % (term, first + at)) for at, term in enumerate(terms)
    )


def follower(*terms: int, term: int = 8) -> Raft:
    """A member with entries of these terms after the founding one, all on disk."""
    founding = Entry(term=1, index=1, config=Config(voters=(A, B, C)))
    raft = Raft.begin(C, 1, 0, config=None, pace=LAN, vote=Vote(term=term), entries=(founding, *entries(2, *terms)))
    raft.tick(0)
    return raft


def told(raft: Raft, ask: AppendAsk, *, sync: bool = True) -> AppendAnswer | None:
    effects = raft.heard(1, A, ask)
    if sync:
        effects += raft.persisted(1, raft.number)
    said = [effect.message for effect in effects if isinstance(getattr(effect, "message", None), AppendAnswer)]
    return said[-1] if said else None


def test_5_3_entries_that_follow_are_taken_and_answered() -> None:
    raft = follower(2, 2)
    ask = AppendAsk(term=8, prev_index=3, prev_term=2, committed=2, entries=entries(4, 3, 3), round=1)
    assert told(raft, ask) == AppendAnswer(term=8, index=5, round=1)
    assert (raft.log.last, raft.log.committed) == (5, 2)


def test_5_3_entries_after_a_gap_or_after_another_term_are_refused() -> None:
    raft = follower(2, 2)
    gap = told(raft, AppendAsk(term=8, prev_index=9, prev_term=3, committed=0, round=1))
    assert gap is not None
    assert (gap.refused, gap.hint_index) == (True, 3)
    other = told(raft, AppendAsk(term=8, prev_index=3, prev_term=5, committed=0, entries=entries(4, 6), round=1))
    assert other is not None
    assert other.refused
    assert raft.log.last == 3


def test_5_3_what_contradicts_the_leader_is_replaced_and_what_agrees_stays() -> None:
    raft = follower(2, 2, 3, 3)
    ask = AppendAsk(term=8, prev_index=2, prev_term=2, committed=0, entries=entries(3, 2, 4), round=1)
    effects = raft.heard(1, A, ask)
    (persist,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert persist.entries == entries(4, 4), "only from the first entry that differs"
    assert [raft.log.term_at(index) for index in (2, 3, 4, 5)] == [2, 2, 4, -1]


def test_5_3_an_old_message_takes_nothing_away() -> None:
    raft = follower(2, 2, 3, 3)
    told(raft, AppendAsk(term=8, prev_index=1, prev_term=1, committed=0, entries=entries(2, 2), round=1))
    assert raft.log.last == 5


def test_5_3_figure_7_each_log_becomes_as_the_leaders() -> None:
    """The six followers of figure 7; each needs at most as many questions as it has terms that differ, and two more."""
    leaders = (1, 1, 4, 4, 5, 5, 6, 6, 6)
    cases = {
        "a": leaders[:-1], "b": (1, 1, 4), "c": (*leaders, 6), "d": (*leaders, 7, 7),
        "e": (1, 1, 4, 4, 4, 4), "f": (1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    }  # fmt: skip
    founding = Entry(term=1, index=1, config=Config(voters=(A, B, C)))
    for name, terms in cases.items():
        council = Council(A, B, C)
        council.settle()
        for node, log_terms, term in ((A, leaders, 7), (B, terms, 7), (C, (1,), 7)):
            disk = Disk()
            disk.vote, disk.entries = Vote(term=term), [founding, *entries(2, *log_terms)]
            council.begin(node, disk)
        council.cut(B)
        council.elect(A)
        council.heal()
        asked = 0
        council.carry_out(A, council[A].unlinked(council.now_ns, B))
        council.now_ns += LAN.heartbeat_ns
        council.tick(A)
        while council.wire:
            asked += council.wire[0][:2] == (A, B)
            council.deliver()
            council.sync(B)
        assert council[B].log.entries == council[A].log.entries, name
        assert asked <= 6, (name, asked)


def test_5_3_only_what_the_message_covers_is_committed() -> None:
    raft = follower(2, 2, 3, 3)
    told(raft, AppendAsk(term=8, prev_index=3, prev_term=2, committed=5, round=1))
    assert raft.log.committed == 3, "4 and 5 may not be the leader's"


def test_thesis_10_2_1_an_answer_leaves_only_when_its_entries_are_on_disk() -> None:
    raft = follower(2, 2)
    ask = AppendAsk(term=8, prev_index=3, prev_term=2, committed=0, entries=entries(4, 3), round=1)
    assert told(raft, ask, sync=False) is None
    beat = AppendAsk(term=8, prev_index=4, prev_term=3, committed=0, round=2)
    assert told(raft, beat, sync=False) == AppendAnswer(term=8, index=3, round=2), (
        "a heartbeat does not wait, and claims less"
    )
    assert told(raft, msgspec.structs.replace(beat, round=3)) == AppendAnswer(term=8, index=4, round=1)


def test_what_a_cut_took_off_the_log_is_not_claimed_to_be_on_disk() -> None:
    raft = follower(2, 2, 3, 3)
    ask = AppendAsk(term=8, prev_index=3, prev_term=2, committed=0, entries=entries(4, 5), round=1)
    told(raft, ask, sync=False)
    beat = AppendAsk(term=8, prev_index=4, prev_term=5, committed=0, round=2)
    assert told(raft, beat, sync=False) == AppendAnswer(term=8, index=3, round=2)


def test_no_leader_undoes_what_is_committed() -> None:
    raft = follower(2, 2, 3)
    told(raft, AppendAsk(term=8, prev_index=4, prev_term=3, committed=4, round=1))
    assert (
        told(raft, AppendAsk(term=8, prev_index=2, prev_term=2, committed=4, entries=entries(3, 7, 7), round=2)) is None
    )
    assert [raft.log.term_at(index) for index in (3, 4)] == [2, 3]


@pytest.mark.parametrize("odd", [
    entries(7, 8), (*entries(5, 8), *entries(7, 8)), (*entries(5, 8), *entries(6, 7)), entries(5, 9), entries(5, 2),
])  # fmt: skip
def test_entries_that_make_no_sense_are_dropped(odd: tuple[Entry, ...]) -> None:
    raft = follower(2, 2, 3)
    assert told(raft, AppendAsk(term=8, prev_index=4, prev_term=3, committed=0, entries=odd, round=1)) is None
    assert raft.log.last == 4


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays in front of a snapshot, and it goes in parts of 10 bytes."""
    monkeypatch.setattr(log, "RAFT_KEPT_ENTRIES", 0)
    monkeypatch.setattr(leader, "RAFT_SNAPSHOT_PART_BYTES", 10)


@pytest.mark.usefixtures("small")
def test_7_who_lacks_what_was_compacted_gets_the_snapshot_in_parts() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(C)
    council.propose(A, *(b"%d" % number for number in range(40)))
    council.settle()
    council.elapse(LAN.heartbeat_ns)
    council.compact(A)
    council.heal()
    parts = 0
    council.now_ns += LAN.heartbeat_ns
    council.tick(A)
    while council.wire:
        parts += isinstance(council.wire[0][2], SnapshotPart)
        council.deliver()
        for node in (A, B, C):
            council.sync(node)
    assert parts > 5
    council.propose(A, b"more")
    council.settle()
    assert council.commands(C) == council.commands(A) == [*(b"%d" % number for number in range(40)), b"more"]
    council.crash(C)
    council.restart(C)
    assert council.commands(C) == [b"%d" % number for number in range(40)], "from the snapshot on its disk"


@pytest.mark.usefixtures("small")
def test_7_a_snapshot_whose_parts_are_lost_arrives_all_the_same() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(C)
    council.propose(A, *(b"%d" % number for number in range(40)))
    council.settle()
    council.compact(A)
    council.heal()
    for turn in range(100):
        council.now_ns += LAN.heartbeat_ns
        council.tick(A)
        for step in range(40):
            if council.wire and (turn + step) % 5 == 0:
                council.drop(to=C)
            if council.wire:
                council.deliver()
            for node in (A, B, C):
                council.sync(node)
        if council.commands(C) == council.commands(A):
            return
    raise AssertionError("it never arrived")


@pytest.mark.usefixtures("small")
def test_7_a_snapshot_of_what_is_in_the_log_takes_nothing_off_it() -> None:
    raft = follower(2, 2, 3, 3)
    effects = raft.heard(1, A, SnapshotPart(
        term=8, index=4, index_term=3, config=Config(voters=(A, B, C)), size=0, offset=0, data=b"",
    ))  # fmt: skip
    assert not any(isinstance(effect, Restored) for effect in effects)
    assert (raft.log.last, raft.log.committed) == (5, 4)


def test_7_old_entries_behind_a_snapshot_on_disk_do_not_come_back() -> None:
    council = Council(A, B, C)
    council.settle()
    raft = council[C]
    for effect in raft.heard(
        council.now_ns, A, AppendAsk(term=2, prev_index=1, prev_term=1, committed=0, entries=entries(2, *[2] * 9))
    ):
        council.carry_out(C, [effect])
    council.sync(C)
    config = Config(voters=(A, B, C))
    part = SnapshotPart(term=5, index=6, index_term=4, config=config, size=1, offset=0, data=encoder.encode([]))
    council.carry_out(C, raft.heard(council.now_ns, A, part))
    council.sync(C)
    assert council.machines[C].disk.entries, "the disk still has entries of term 2 behind it"
    council.crash(C)
    council.restart(C)
    assert (council[C].log.last, council[C].log.last_term) == (6, 4)
    council.carry_out(C, council[C].heard(council.now_ns, A, AppendAsk(
        term=5, prev_index=6, prev_term=4, committed=6, entries=entries(7, 5), round=1,
    )))  # fmt: skip
    council.sync(C)
    council.crash(C)
    council.restart(C)
    assert (council[C].log.last, council[C].log.last_term) == (7, 5)


# -- repair -----------------------------------------------------------------------------------------------------------------


def broken_member() -> Council:
    """C had everything, and comes back with an empty disk."""
    council = Council(A, B, C)
    council.elect(A)
    council.propose(A, b"x", b"y")
    council.elapse(LAN.heartbeat_ns)
    council.crash(C)
    council.machines[C].disk = Disk()
    council.machines[C].disk.damaged = True
    council.restart(C)
    return council


def test_a_damaged_member_neither_votes_nor_stands() -> None:
    council = broken_member()
    council.cut(C)
    council.elapse(10 * SECOND)
    term = council[C].term
    council.carry_out(C, council[C].heard(council.now_ns, B, VoteAsk(term=term + 5, last_index=99, last_term=term + 4)))
    council.sync(C)
    assert [m.granted for _, _, m in council.wire if isinstance(m, VoteAnswer)] == [False]


def test_a_damaged_member_is_whole_when_it_has_what_the_others_committed_after_it_came_back() -> None:
    council = broken_member()
    council.elapse(3 * LAN.heartbeat_ns)
    assert not council.machines[C].disk.damaged
    assert council[C].mending == 0
    assert council[C].voted == A, "it takes the term as one in which it voted"
    assert council.commands(C) == [b"x", b"y"]
    council.crash(A)
    council.elapse(5 * SECOND)
    assert council.leaders, "it votes again"


def test_a_damaged_member_counts_for_no_majority() -> None:
    """Else what it had helped to commit, and forgot, could be replaced with its help."""
    council = broken_member()
    council.crash(B)
    council.propose(A, b"z")
    council.elapse(2 * LAN.heartbeat_ns)
    assert council[C].log.last == council[A].log.last, "it has the entries"
    assert council.commands(A) == [b"x", b"y"], "and they are not committed by that"
    council.elapse(3 * SECOND)
    assert council.leaders == [], "nor is it a majority to lead"
    assert council[C].mending
    council.restart(B)
    council.elapse(5 * SECOND)
    assert council.machines[C].disk.damaged is False
    assert council.commands(C)[:2] == [b"x", b"y"]


def test_an_old_message_ends_no_repair() -> None:
    council = broken_member()
    raft = council[C]
    founding = Entry(term=1, index=1, config=Config(voters=(A, B, C)))
    ask = AppendAsk(
        term=9,
        prev_index=0,
        prev_term=0,
        committed=1,
        entries=(founding,),
        round=1,
        mended=raft.mending + 1,
        mend_index=1,
    )
    effects = raft.heard(council.now_ns, A, ask) + raft.persisted(council.now_ns, raft.number)
    assert not any(isinstance(effect, Mended) for effect in effects)
    assert raft.mending


def test_thesis_4_2_1_a_learner_gets_the_log_and_helps_no_majority() -> None:
    council = Council(A, B, C, others=(D, E))
    council.elect(A)
    assert council.change(A, AddLearner(node=D))
    council.elapse(LAN.heartbeat_ns)
    assert council.change(A, AddLearner(node=E))
    council.elapse(LAN.heartbeat_ns)
    council.cut(B, C)
    council.propose(A, b"x")
    council.settle()
    assert council[D].log.last == council[A].log.last
    assert council.commands(A) == []
    council.heal()
    council.elapse(LAN.heartbeat_ns)
    assert council.commands(D) == [b"x"]
