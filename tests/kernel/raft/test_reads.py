"""Fresh reads: thesis, 6.4."""

from __future__ import annotations

from tests.kernel.raft.council import A, B, C, Council

from worldos.kernel.raft import LAN, Raft, ReadLost, ReadReady
from worldos.kernel.raft.reads import Asked, Read, Reads
from worldos.model.limits import RAFT_READS_MAX, SECOND
from worldos.model.raft import AppendAsk, ReadAnswer


def ready(council: Council, node: str) -> list[ReadReady]:
    return council.told(node, ReadReady)


def led() -> Council:
    council = Council(A, B, C)
    council.elect(A)
    council.propose(A, b"x")
    council.elapse(LAN.heartbeat_ns)
    return council


def test_thesis_6_4_a_read_is_answered_when_a_majority_confirms_the_leader() -> None:
    council = led()
    council.read(A, 7)
    assert ready(council, A) == []
    council.settle()
    assert ready(council, A) == [ReadReady(ticket=7, index=council[A].log.committed)]


def test_thesis_6_4_a_deposed_leader_answers_no_read() -> None:
    council = led()
    council.cut(A)
    council.elapse(900 * 1_000_000)
    council.read(A, 7)
    council.elapse(5 * SECOND)
    assert ready(council, A) == []
    assert council.told(A, ReadLost) == [ReadLost(ticket=7)]


def test_thesis_6_4_a_new_leader_first_commits_in_its_own_term() -> None:
    """Before that it does not know how far the log was committed."""
    council = led()
    council.propose(A, b"y")
    council.settle()
    council.crash(A)
    council.now_ns += 5 * SECOND
    council.due(B)
    while not council[B].is_leader:
        council.deliver() if council.wire else [council.sync(node) for node in (B, C)]
    council.read(B, 7)
    assert ready(council, B) == []
    assert not council[B].reads.waiting
    council.settle()
    assert ready(council, B) == [ReadReady(ticket=7, index=council[B].lead_index)]
    assert council.commands(B) == [b"x", b"y"]


def test_thesis_6_4_reads_that_come_together_share_a_round() -> None:
    council = led()
    for ticket in range(50):
        council.read(A, ticket)
    asked = [m for _, to, m in council.wire if isinstance(m, AppendAsk) and to == B]
    assert len(asked) == 1, "the first; the others wait for the next"
    council.settle()
    assert [effect.ticket for effect in ready(council, A)] == list(range(50))
    assert council[A].reads.round <= asked[0].round + 1


def test_thesis_6_4_a_round_sent_before_a_read_does_not_confirm_it() -> None:
    council = led()
    council.read(A, 1)
    council.read(A, 2)
    while not ready(council, A):
        council.deliver()
    assert [effect.ticket for effect in ready(council, A)] == [1]


def test_thesis_6_4_a_follower_asks_the_leader_and_waits_for_its_own_log() -> None:
    council = led()
    council.cut(C)
    council.propose(A, b"y")
    council.settle()
    council.heal()
    council.read(C, 9)
    while council[C].reads.asked[9].index == 0:
        council.deliver()
    assert council.commands(C) == [b"x"], "it knows how far to go, and has not got there"
    assert ready(council, C) == []
    council.settle()
    assert [effect.ticket for effect in ready(council, C)] == [9]
    assert council.commands(C) == [b"x", b"y"]


def test_a_read_whose_question_was_lost_is_given_up() -> None:
    council = led()
    council.read(C, 9)
    council.wire.clear()
    council.elapse(LAN.election_max_ns + 2 * LAN.heartbeat_ns)
    assert council.told(C, ReadLost) == [ReadLost(ticket=9)]


def test_a_read_whose_round_was_lost_is_answered_by_the_next() -> None:
    council = led()
    council.read(A, 9)
    council.wire.clear()
    council.elapse(LAN.heartbeat_ns)
    assert [effect.ticket for effect in ready(council, A)] == [9]


def test_a_read_without_a_leader_is_lost_at_once() -> None:
    council = Council(A, B, C)
    council.read(A, 1)
    assert council.told(A, ReadLost) == [ReadLost(ticket=1)]


def test_reads_are_bounded() -> None:
    council = led()
    for ticket in range(RAFT_READS_MAX + 3):
        council.read(A, ticket)
    assert len(council.told(A, ReadLost)) == 3


def test_a_lone_voter_answers_at_once() -> None:
    council = Council(A)
    council.elapse(1)
    council.read(A, 1)
    assert ready(council, A) == [ReadReady(ticket=1, index=council[A].log.committed)]


def test_an_answer_to_nothing_is_not_heeded() -> None:
    council = led()
    raft: Raft = council[C]
    assert raft.heard(council.now_ns, A, ReadAnswer(term=raft.term, ticket=5, index=1)) == []


def test_rounds_confirm_what_was_asked_up_to_them() -> None:
    reads = Reads(round=3, waiting=[Read(ticket=1, index=5, round=2), Read(ticket=2, index=6, round=4)])
    assert [read.ticket for read in reads.confirm(3)] == [1]
    assert [read.ticket for read in reads.confirm(2)] == []
    assert [read.ticket for read in reads.waiting] == [2]


def test_own_questions_wait_for_the_log_or_for_their_time() -> None:
    reads = Reads(
        asked={1: Asked(deadline_ns=10, index=5), 2: Asked(deadline_ns=20), 3: Asked(deadline_ns=30, index=9)}
    )
    assert reads.applied(5) == [1]
    assert reads.expired(20) == [2]
    assert [read.ticket for read in reads.drop()] == [3]
    assert reads.open == 0
