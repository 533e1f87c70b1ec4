"""Elections, by the sections of the Raft paper and of the thesis."""

from __future__ import annotations

from tests.kernel.raft.council import A, B, C, Council, D, E

from worldos.kernel.raft import LAN, Followed, Led, SendRaft
from worldos.kernel.raft.member import Role
from worldos.model.limits import MS, RAFT_HINT_NS, SECOND
from worldos.model.raft import AppendAsk, PreVoteAsk, TimeoutNow, VoteAnswer, VoteAsk


def granted(council: Council, voter: str, candidate: str) -> bool | None:
    """What is on the wire from voter to candidate as an answer to VoteAsk."""
    said = [m.granted for node, to, m in council.wire if (node, to) == (voter, candidate) and isinstance(m, VoteAnswer)]
    return said[-1] if said else None


def ask(council: Council, candidate: str, voter: str, message: VoteAsk | PreVoteAsk) -> None:
    council.carry_out(voter, council[voter].heard(council.now_ns, candidate, message))


def test_5_2_who_hears_no_leader_is_elected_by_a_majority_and_tells_everybody() -> None:
    council = Council(A, B, C)
    council.elapse(2 * SECOND)
    (leader,) = council.leaders
    assert all(council[node].leader == leader and council[node].term == council[leader].term for node in (A, B, C))
    assert council.told(leader, Led) == [Led(term=council[leader].term)]
    assert {Followed(term=council[leader].term, leader=leader)} <= set(council.told(B if leader != B else C, Followed))


def test_5_2_a_lone_voter_leads_at_once() -> None:
    council = Council(A)
    council.tick(A)
    council.settle()
    assert council.leaders == [A]


def test_5_2_heartbeats_keep_a_leader() -> None:
    council = Council(A, B, C)
    council.elect(B)
    term = council[B].term
    council.elapse(20 * SECOND)
    assert council.leaders == [B]
    assert council[B].term == term


def test_5_2_a_member_votes_once_in_a_term() -> None:
    council = Council(A, B, C, D, E)
    ask(council, A, C, VoteAsk(term=5, last_index=1, last_term=1))
    council.sync(C)
    assert granted(council, C, A) is True
    ask(council, B, C, VoteAsk(term=5, last_index=9, last_term=4))
    assert granted(council, C, B) is False
    ask(council, A, C, VoteAsk(term=5, last_index=1, last_term=1))  # the answer was lost: it is said again
    assert [m.granted for _, to, m in council.wire if to == A and isinstance(m, VoteAnswer)] == [True, True]


def test_5_2_a_vote_is_remembered_over_a_crash() -> None:
    council = Council(A, B, C)
    council.settle()
    ask(council, A, C, VoteAsk(term=5, last_index=1, last_term=1))
    council.sync(C)
    council.crash(C)
    council.restart(C)
    ask(council, B, C, VoteAsk(term=5, last_index=1, last_term=1))
    assert granted(council, C, B) is False


def test_5_2_a_split_vote_ends_after_other_waits() -> None:
    council = Council(A, B, C, D)
    council.settle()
    for node in (A, B):
        council[node].due_ns = council.now_ns
        council.tick(node)  # both at the same moment
    council.elapse(10 * SECOND)
    assert len(council.leaders) == 1


def test_5_2_a_candidate_that_meets_the_leader_of_its_term_follows_it() -> None:
    council = Council(A, B, C)
    council.settle()
    council.cut(A)
    council[A].role, council[A].term = Role.CANDIDATE, 7
    council.carry_out(A, council[A].heard(council.now_ns, B, AppendAsk(term=7, prev_index=1, prev_term=1, committed=0)))
    assert (council[A].role, council[A].leader) == (Role.FOLLOWER, B)


def test_5_4_1_a_vote_needs_a_log_as_up_to_date() -> None:
    """Compared by the last term, then by the length."""
    council = Council(A, B, C)
    council.elect(A)
    council.propose(A, b"x", b"y")
    council.elapse(LAN.heartbeat_ns)
    term, last = council[C].log.last_term, council[C].log.last
    council.now_ns += 2 * SECOND  # the leader was not heard for long
    for asked, (last_term, last_index), expected in (
        (20, (term - 1, last + 50), False),
        (21, (term, last - 1), False),
        (22, (term, last), True),
        (23, (term, last + 1), True),
        (24, (term + 1, 1), True),
    ):
        council.wire.clear()
        ask(council, B, C, VoteAsk(term=asked, last_index=last_index, last_term=last_term))
        council.sync(C)
        assert granted(council, C, B) is expected, (asked, last_term, last_index)


def test_thesis_9_6_who_was_cut_off_comes_back_without_a_higher_term() -> None:
    council = Council(A, B, C)
    council.elect(A)
    term = council[A].term
    council.cut(C)
    council.elapse(30 * SECOND)
    assert council[C].term == term
    council.heal()
    council.elapse(5 * SECOND)
    assert council.leaders == [A]
    assert council[A].term == term


def test_thesis_9_6_who_lacks_entries_is_told_so_before_it_disturbs() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(C)
    council.propose(A, b"x")
    council.settle()
    council.crash(A)
    council.heal()
    council.now_ns += 5 * SECOND
    term = council[C].term
    council.due(C)
    council.settle()
    assert council[C].term == term
    assert council.leaders == []
    council.elect(B)


def test_thesis_4_2_3_who_hears_a_leader_helps_nobody_to_replace_it() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    term = council[A].term
    for voter in (A, B):
        ask(council, C, voter, VoteAsk(term=term + 9, last_index=99, last_term=term + 8))
        ask(council, C, voter, PreVoteAsk(term=term + 9, last_index=99, last_term=term + 8))
    assert not any(m.granted for _, _, m in council.wire if isinstance(m, VoteAnswer))
    council.elapse(SECOND)
    assert council.leaders == [A]
    assert council[A].term == term


def test_a_leader_whose_links_closed_is_replaced_before_any_time_is_out() -> None:
    slowest = 0
    for seed in range(30):
        council = Council(A, B, C, seed=seed)
        council.elect(A)
        council.elapse(LAN.heartbeat_ns)
        council.crash(A)
        for node in (B, C):
            council.carry_out(node, council[node].unlinked(council.now_ns, A))
        began_ns = council.now_ns
        while not council.leaders:
            council.elapse(MS)
        slowest = max(slowest, council.now_ns - began_ns)
        council.propose(council.leaders[0], b"x")
        council.settle()
        assert council.commands(council.leaders[0]) == [b"x"]
    assert slowest <= RAFT_HINT_NS + 2 * LAN.heartbeat_ns


def test_a_wrong_hint_replaces_nobody() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    term = council[A].term
    council.carry_out(B, council[B].unlinked(council.now_ns, A))
    council.elapse(SECOND)
    assert council.leaders == [A]
    assert council[B].term == term
    assert council[B].leader == A


def test_votes_are_asked_for_only_when_the_own_vote_is_on_disk() -> None:
    """Else a candidate could be elected, after a crash, by votes for a log that it lost, in a term that it forgot."""
    council = Council(A, B, C)
    council.settle()
    council.sync_at_once = False
    council.now_ns += SECOND
    council.due(A)
    council.settle()
    assert council[A].role is Role.CANDIDATE
    assert all(council[node].term == 1 for node in (B, C)), "nobody was asked yet"
    council.sync_at_once = True
    council.settle()
    assert council.leaders == [A]


def test_a_vote_leaves_only_when_it_is_on_disk() -> None:
    council = Council(A, B, C)
    council.settle()
    ask(council, A, C, VoteAsk(term=5, last_index=1, last_term=1))
    assert granted(council, C, A) is None
    council.crash(C)
    council.restart(C)
    ask(council, B, C, VoteAsk(term=5, last_index=1, last_term=1))
    council.sync(C)
    assert granted(council, C, B) is True, "the first vote was never given"


def test_thesis_3_10_a_leader_hands_over_to_a_voter_with_the_same_log() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.propose(A, b"x")
    council.settle()
    term = council[A].term
    council.carry_out(A, council[A].hand_over(council.now_ns, C))
    assert council.propose(A, b"refused meanwhile") == [0]
    council.settle()
    assert council.leaders == [C]
    assert council[C].term == term + 1
    assert not any(council[node].keeps_faith(council.now_ns) and council[node].leader == A for node in (B, C))


def test_thesis_3_10_an_heir_that_does_not_answer_is_given_up() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.crash(C)
    council.carry_out(A, council[A].hand_over(council.now_ns, C))
    council.elapse(LAN.election_max_ns + LAN.heartbeat_ns)
    assert council.leaders == [A]
    council.propose(A, b"x")
    council.settle()
    assert council.commands(B) == [b"x"]


def test_timeout_now_of_somebody_else_is_not_heeded() -> None:
    council = Council(A, B, C)
    council.elect(A)
    effects = council[B].heard(council.now_ns, C, TimeoutNow(term=council[B].term))
    assert not any(isinstance(effect, SendRaft) for effect in effects)
    assert council[B].role is Role.FOLLOWER


def test_a_learner_and_a_stranger_never_stand() -> None:
    council = Council(A, B, C, others=(D,))
    council.crash(A)
    council.crash(B)
    council.crash(C)
    council.elapse(20 * SECOND)
    assert council[D].term == 0
