"""What a leader commits, whom it sends what, and how its council changes; by the sections of the paper and the thesis."""

from __future__ import annotations

import pytest
from tests.kernel.raft.council import A, B, C, Council, D, Disk, E

from worldos.kernel.raft import LAN, AddLearner, Persist, Promote, Remove, SendRaft
from worldos.model.ids import NodeId
from worldos.model.limits import (
    RAFT_INFLIGHT_MAX,
    RAFT_LEARNERS_MAX,
    RAFT_UNCOMMITTED_ENTRIES_MAX,
    RAFT_VOTERS_MAX,
    SECOND,
)
from worldos.model.raft import AppendAnswer, AppendAsk, Config, Entry, TimeoutNow, Vote

FOUNDING = Entry(term=1, index=1, config=Config(voters=(A, B, C, D, E)))


def test_5_3_a_command_is_committed_when_a_majority_has_it_on_disk() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.settle()
    council.sync_at_once = False
    (index,) = council.propose(A, b"x")
    council.settle()
    assert council.commands(A) == []
    council.sync(A)
    council.settle()
    assert council.commands(A) == [], "its own disk is one of three"
    council.sync(B)
    council.settle()
    assert council.commands(A) == council.commands(B) == [b"x"], "and who has it is told at once"
    assert council[A].log.committed == index


def test_thesis_10_2_1_the_others_alone_can_commit_while_the_leader_still_writes() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.sync_at_once = False
    council.propose(A, b"x")
    for node in (B, C):
        council.settle()
        council.sync(node)
    council.settle()
    assert council.commands(A) == [b"x"]
    assert council.machines[A].disk.queue, "its own disk has it not"


def test_5_4_2_figure_8_an_entry_of_an_older_term_is_not_committed_by_counting() -> None:
    """S1 (A) leads in term 4 and brings its entry of term 2 to a majority; S5 (E), with one of term 3, may still win."""
    council = Council(A, B, C, D, E)
    council.settle()
    two, three = Entry(term=2, index=2, command=b"two"), Entry(term=3, index=2, command=b"three")
    for node, entry, term in ((A, two, 3), (B, two, 3), (C, None, 3), (D, None, 3), (E, three, 3)):
        disk = Disk()
        disk.vote, disk.entries = Vote(term=term), [FOUNDING, *([entry] if entry else [])]
        council.begin(node, disk)
    council.wire.clear()
    council.crash(E)
    raft = council[A]
    council.sync_at_once = False
    council.now_ns = raft.due_ns
    council.tick(A)
    while not raft.is_leader:
        council.deliver() if council.wire else [council.sync(node) for node in (A, B, C, D)]
    council.wire.clear()  # what it sent of its own term is lost
    council.machines[A].disk.queue.clear()
    for node in (B, C, D):
        effects = raft.heard(council.now_ns, node, AppendAnswer(term=raft.term, index=2, round=1))
        council.carry_out(A, effects)
    assert raft.log.committed < 2, "four of five have it, and it is not committed"
    council.crash(A)
    council.wire.clear()
    council.restart(E)
    council.sync_at_once = True
    for node in (B, C, D):
        council[node].leader = NodeId("")
    council[E].term = raft.term
    council.cut(A, B)
    council.elect(E)
    assert council[C].log.term_at(2) == 3, "it is replaced, as in (d)"


def test_5_4_2_an_entry_of_an_older_term_is_committed_with_one_of_the_own() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(A)
    council.propose(A, b"old")
    council.settle()
    council.crash(B)
    council.crash(C)
    council.heal()
    council.restart(B)
    council.crash(A)
    council.restart(A)
    council.elect(A)
    assert council.commands(A) == [b"old"]


def test_many_proposals_leave_in_few_messages_and_few_writes() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    sent: list[int] = []
    written: list[int] = []
    council.watch = lambda node, effect: (
        sent.append(len(effect.message.entries))
        if isinstance(effect, SendRaft) and isinstance(effect.message, AppendAsk) and effect.message.entries
        else written.append(len(effect.entries)) if isinstance(effect, Persist) and node == A else None
    )  # fmt: skip
    council.propose(A, *(b"%d" % number for number in range(200)))
    council.settle()
    assert len(council.commands(C)) == 200
    assert len(sent) <= 8
    assert len(written) <= 2


def test_what_is_on_the_way_is_bounded() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.propose(A, *(b"x" for _ in range(9000)))
    assert len([m for _, to, m in council.wire if to == B]) <= RAFT_INFLIGHT_MAX
    council.settle()
    assert len(council.commands(B)) == 9000


def test_a_leader_without_a_majority_takes_only_so_much() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(A)
    indices = council.propose(A, *(b"x" for _ in range(RAFT_UNCOMMITTED_ENTRIES_MAX + 5)))
    assert indices[0] > 0
    assert indices[-1] == 0
    council.heal()
    council.elapse(2 * LAN.heartbeat_ns)
    assert council.propose(A, b"again")[0] > 0


def test_lost_messages_are_sent_again() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.propose(A, b"x", b"y")
    assert council.drop(to=B)
    council.propose(A, b"z")
    council.elapse(2 * LAN.heartbeat_ns)
    assert council.commands(B) == [b"x", b"y", b"z"]


def test_thesis_6_2_a_leader_that_reaches_no_majority_steps_down() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(A)
    council.elapse(LAN.election_max_ns + 2 * LAN.heartbeat_ns)
    assert not council[A].is_leader
    assert council.propose(A, b"x") == [0]
    assert len(council.leaders) == 1


def test_a_leader_that_slept_steps_down_when_it_wakes() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.cut(A)  # stopped: it hears nothing and does nothing
    council.now_ns += 30 * SECOND
    council.tick(A)
    assert not council[A].is_leader


# -- another council --------------------------------------------------------------------------------------------------------


def grown() -> Council:
    """A, B and C, and D has come in as a learner."""
    council = Council(A, B, C, others=(D, E))
    council.elect(A)
    assert council.change(A, AddLearner(node=D))
    council.elapse(2 * LAN.heartbeat_ns)
    return council


def test_thesis_4_2_1_a_node_comes_in_as_learner_and_then_votes() -> None:
    council = grown()
    assert council.change(A, Promote(node=D))
    council.elapse(LAN.heartbeat_ns)
    assert all(council[node].log.config.voters == (A, B, C, D) for node in (A, B, C, D))
    council.crash(C)
    council.propose(A, b"x")
    council.settle()
    assert council.commands(A) == [b"x"], "three of four"
    council.crash(B)
    council.propose(A, b"y")
    council.settle()
    assert council.commands(A) == [b"x"], "two of four are no majority"


def test_thesis_4_2_1_a_learner_that_lags_is_not_promoted() -> None:
    council = Council(A, B, C, others=(D,))
    council.elect(A)
    council.propose(A, *(b"x" for _ in range(500)))
    council.settle()
    council.cut(D)
    council.change(A, AddLearner(node=D))
    council.settle()
    assert council.change(A, Promote(node=D)) == 0
    council.heal()
    council.elapse(2 * LAN.heartbeat_ns)
    assert council.change(A, Promote(node=D)) > 0


def test_thesis_4_1_one_step_at_a_time() -> None:
    council = grown()
    council.cut(A)
    assert council.change(A, Promote(node=D)) > 0
    assert council.change(A, Remove(node=B)) == 0, "the first is not committed"
    council.heal()
    council.elapse(2 * LAN.heartbeat_ns)
    assert council.change(A, Remove(node=B)) > 0


def test_thesis_4_1_corrected_no_step_before_an_entry_of_the_own_term_is_committed() -> None:
    """The bug of 2015: two leaders could each take one step from a council that only one of them had."""
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.crash(A)
    council.now_ns += 5 * SECOND
    council.due(B)
    while not council[B].is_leader:
        council.deliver() if council.wire else [council.sync(node) for node in (B, C)]
    assert council.change(B, AddLearner(node=D)) == 0
    council.settle()
    assert council.change(B, AddLearner(node=D)) > 0


def test_thesis_4_1_a_step_holds_from_when_it_is_in_the_log_and_goes_with_its_entry() -> None:
    council = grown()
    council.cut(A)
    council.change(A, Promote(node=D))
    assert council[A].log.config.voters == (A, B, C, D)
    council.elapse(5 * SECOND)
    (leader,) = council.leaders
    council.propose(leader, b"x")
    council.heal()
    council.elapse(2 * SECOND)
    assert council[A].log.config == Config(voters=(A, B, C), learners=(D,))


def test_thesis_4_2_2_a_leader_that_is_removed_leads_until_that_is_committed_and_has_an_heir() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    began_ns = council.now_ns
    assert council.change(A, Remove(node=A)) > 0
    assert council[A].is_leader
    council.settle()
    assert council.now_ns == began_ns
    (leader,) = council.leaders
    assert leader in (B, C), "the next leads without waiting"
    council.propose(leader, b"x")
    council.elapse(20 * SECOND)
    assert council.leaders == [leader], "and who was removed is quiet"
    assert council.commands(B) == council.commands(C) == [b"x"]
    assert council.commands(A) == []


def test_thesis_4_2_2_who_has_its_own_removal_in_its_log_alone_may_still_be_needed_to_commit_it() -> None:
    council = Council(A, B)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.cut(A)
    assert council.change(A, Remove(node=A)) > 0
    council.settle()
    council.crash(A)
    council.heal()
    council.restart(A)
    council.elapse(20 * SECOND)
    assert council.leaders == [B]
    assert council[B].log.config.voters == (B,)


def test_thesis_4_2_3_a_removed_node_disturbs_nobody() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.cut(C)
    assert council.change(A, Remove(node=C)) > 0
    council.elapse(LAN.heartbeat_ns)
    council.heal()
    term = council[A].term
    council.elapse(30 * SECOND)  # it never heard that it was removed, and asks again and again
    assert council.leaders == [A]
    assert council[A].term == term


def test_a_dead_voter_is_replaced_and_then_another() -> None:
    council = Council(A, B, C, others=(D, E))
    council.elect(A)
    for dead, new in ((C, D), (B, E)):
        council.crash(dead)
        for step in (AddLearner(node=new), Promote(node=new), Remove(node=dead)):
            council.elapse(2 * LAN.heartbeat_ns)
            assert council.change(A, step) > 0, step
        council.elapse(2 * LAN.heartbeat_ns)
    assert council[A].log.config.voters == (A, D, E)
    council.propose(A, b"x")
    council.elapse(LAN.heartbeat_ns)
    assert council.commands(D) == council.commands(E) == [b"x"]


@pytest.mark.parametrize("step", [
    AddLearner(node=B), AddLearner(node=D), AddLearner(node=NodeId("")), AddLearner(node=NodeId("x" * 65)),
    Promote(node=B), Promote(node=E), Remove(node=E),
])  # fmt: skip
def test_a_step_that_makes_no_sense_is_not_taken(step: AddLearner | Promote | Remove) -> None:
    council = grown()
    assert council.change(A, step) == 0
    assert council.change(B, AddLearner(node=E)) == 0, "nor any step by who does not lead"


def test_the_last_voter_is_not_removed() -> None:
    council = Council(A)
    council.elapse(1)
    assert council.change(A, Remove(node=A)) == 0


def test_a_council_has_bounds() -> None:
    names = [NodeId(f"N{number}") for number in range(RAFT_LEARNERS_MAX + 1)]
    council = Council(*names[:RAFT_VOTERS_MAX])
    council.elect(names[0])
    council.change(names[0], AddLearner(node=D))
    council.elapse(LAN.heartbeat_ns)
    assert council.change(names[0], Promote(node=D)) == 0
    for number in range(RAFT_LEARNERS_MAX - 1):
        assert council.change(names[0], AddLearner(node=NodeId(f"L{number}"))) > 0
        council.elapse(LAN.heartbeat_ns)
    assert council.change(names[0], AddLearner(node=E)) == 0


def test_a_council_of_one_grows_to_three_and_goes_on_without_its_founder() -> None:
    council = Council(A, others=(B, C))
    council.elapse(1)
    council.propose(A, b"founded")
    for node in (B, C):
        for step in (AddLearner(node=node), Promote(node=node)):
            council.elapse(2 * LAN.heartbeat_ns)
            assert council.change(A, step) > 0
    council.elapse(2 * LAN.heartbeat_ns)
    council.crash(A)
    council.elapse(5 * SECOND)
    (leader,) = council.leaders
    assert council.commands(leader) == [b"founded"]


def test_an_heir_is_told_when_it_has_caught_up() -> None:
    council = Council(A, B, C)
    council.elect(A)
    council.elapse(LAN.heartbeat_ns)
    council.propose(A, b"x")
    council.carry_out(A, council[A].hand_over(council.now_ns, B))
    assert not any(isinstance(m, TimeoutNow) for _, _, m in council.wire)
    council.settle()
    assert council.leaders == [B]
    assert council.commands(C) == [b"x"]
