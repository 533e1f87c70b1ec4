"""A council at rest: its leader beats seldom while nothing happens, and everything that matters ends the rest at once."""

from __future__ import annotations

import pytest
from tests.kernel.raft.council import A, B, C, Council

from worldos.kernel.raft import LAN, RESTFUL
from worldos.kernel.raft.effects import AddLearner, ReadReady
from worldos.model.ids import NodeId
from worldos.model.limits import MS, RAFT_REST_BEATS, SECOND
from worldos.model.raft import AppendAsk, PreVoteAsk

D = NodeId("D")
REST_NS = (RAFT_REST_BEATS + 3) * RESTFUL.heartbeat_ns


def rested(*voters: NodeId, others: tuple[NodeId, ...] = ()) -> Council:
    council = Council(*voters, others=others, pace=RESTFUL)
    council.elect(A)
    council.elapse(REST_NS)
    assert all(council[node].resting for node in voters)
    return council


def beats(council: Council, ns: int) -> int:
    """How many rounds the leader asked in a while."""
    before = council[A].reads.round
    council.elapse(ns)
    return council[A].reads.round - before


def test_while_nothing_happens_the_leader_beats_so_many_times_less_often() -> None:
    council = rested(A, B, C)
    assert beats(council, 12 * SECOND) == 12 * SECOND // (RESTFUL.heartbeat_ns * RESTFUL.rests)
    assert council.leaders == [A], "and nobody misses it"


def test_a_council_whose_pace_has_no_rest_never_rests() -> None:
    council = Council(A, B, C, pace=LAN)
    council.elect(A)
    council.elapse(REST_NS)
    assert not council[A].resting
    assert beats(council, 3 * SECOND) == 3 * SECOND // LAN.heartbeat_ns


def test_what_is_proposed_ends_the_rest_and_is_committed_without_waiting_for_a_beat() -> None:
    council = rested(A, B, C)
    council.propose(A, b"x")
    council.settle()
    assert council.commands(A) == [b"x"]
    assert council.commands(B) == [], "what is committed is told with what comes next"
    assert not council[A].resting
    council.elapse(RESTFUL.heartbeat_ns)
    assert council.commands(B) == council.commands(C) == [b"x"]
    council.elapse(RESTFUL.election_min_ns)
    assert not council[B].resting
    assert council[B].due_ns <= council.now_ns + RESTFUL.election_max_ns, "it misses its leader as soon as ever"
    council.elapse(REST_NS)
    assert council[A].resting, "it is quiet again"


def test_a_slow_disk_of_the_others_after_a_rest_deposes_nobody() -> None:
    council = rested(A, B, C)
    council.elapse(RESTFUL.heartbeat_ns * RESTFUL.rests - 10 * MS)
    council.sync_at_once = False
    council.propose(A, b"x")
    council.elapse(400 * MS)
    assert council.leaders == [A], "they had no need to say anything while all rested"
    council.sync_at_once = True
    council.elapse(RESTFUL.heartbeat_ns)
    assert council.commands(B) == [b"x"]


def test_a_leader_whose_links_close_is_replaced_as_soon_as_ever() -> None:
    council = rested(A, B, C)
    council.crash(A)
    for node in (B, C):
        council.carry_out(node, council[node].unlinked(council.now_ns, A))
    council.elapse(1 * SECOND)
    assert len(council.leaders) == 1


def test_a_leader_that_falls_silent_without_a_closed_link_is_replaced_later() -> None:
    council = rested(A, B, C)
    council.crash(A)
    council.elapse(RESTFUL.election_min_ns * (RESTFUL.rests - 2))
    assert council.leaders == []
    council.elapse(RESTFUL.election_max_ns * (RESTFUL.rests + 2))
    assert len(council.leaders) == 1


def test_who_comes_back_and_misses_the_leader_hears_of_it_at_once_and_replaces_nobody() -> None:
    council = rested(A, B, C)
    council.crash(C)
    council.restart(C)
    term = council[A].term
    council.due(C)
    assert any(isinstance(message, PreVoteAsk) for _, _, message in council.wire)
    council.elapse(2 * RESTFUL.heartbeat_ns)
    assert council[C].leader == A
    assert council[A].term == term


def test_a_leader_that_all_the_others_left_stands_back() -> None:
    council = rested(A, B, C)
    council.cut(A)
    for node in (B, C):
        council.carry_out(A, council[A].unlinked(council.now_ns, node))
    council.elapse(2 * RESTFUL.election_max_ns)
    assert not council[A].is_leader


@pytest.mark.parametrize("asked", [A, B])
def test_a_question_ends_the_rest_and_is_answered_at_once(asked: NodeId) -> None:
    council = rested(A, B, C)
    council.read(asked, 7)
    council.settle()
    assert council.told(asked, ReadReady)
    assert not council[A].resting


def test_nobody_rests_while_somebody_has_not_the_whole_log() -> None:
    council = Council(A, B, C, pace=RESTFUL)
    council.elect(A)
    council.cut(C)
    council.propose(A, b"x")
    council.elapse(2 * REST_NS)
    assert not council[A].resting
    council.heal()
    council.elapse(2 * REST_NS)
    assert council[A].resting
    assert council.commands(C) == [b"x"]


def test_a_newcomer_ends_the_rest() -> None:
    council = rested(A, B, C, others=(D,))
    council.change(A, AddLearner(node=D))
    assert not council[A].resting
    council.elapse(REST_NS)
    assert council[D].resting
    assert not council.drop(kind=AppendAsk)
