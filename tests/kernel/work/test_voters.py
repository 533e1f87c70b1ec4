"""Those who keep the work become those who sit in the council, one change at a time, and never so that the rest stands still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.council import HandOver
from worldos.kernel.raft import AddLearner, Promote, Remove
from worldos.kernel.work.voters import next_step
from worldos.model.ids import NodeId
from worldos.model.raft import Config

A, B, C, D = (NodeId(name) for name in "abcd")
NODES = st.frozensets(st.sampled_from([NodeId(name) for name in "abcdefg"]), min_size=1, max_size=5)


def config(voters: str, learners: str = "") -> Config:
    return Config(voters=tuple(map(NodeId, voters)), learners=tuple(map(NodeId, learners)))


def test_who_is_missing_learns_then_votes() -> None:
    assert next_step(config("a"), A, "abc", "abc", "") == AddLearner(node=B)
    assert next_step(config("a", "b"), A, "abc", "abc", "") == AddLearner(node=C)
    assert next_step(config("a", "bc"), A, "abc", "abc", "c") == Promote(node=C)


def test_nobody_is_added_who_is_not_there() -> None:
    assert next_step(config("ab"), A, "abc", "ab", "") is None


def test_who_does_not_belong_goes_last_and_who_leads_hands_over() -> None:
    assert next_step(config("abcd"), A, "abd", "abd", "") == Remove(node=C)
    assert next_step(config("abc", "d"), A, "abc", "abcd", "") == Remove(node=D)
    assert next_step(config("abc"), C, "ab", "abc", "") == HandOver(node=A)


def test_nobody_goes_if_the_rest_would_stand_still() -> None:
    assert next_step(config("abc"), A, "ab", "a", "") is None


def test_without_a_council_nothing_changes() -> None:
    assert next_step(config("abc"), A, "", "abc", "") is None


@given(NODES, NODES)
def test_it_ends_with_the_council_however_it_began(voters: frozenset[NodeId], wanted: frozenset[NodeId]) -> None:
    """All are there and catch up; who is handed over to leads."""
    now = Config(voters=tuple(sorted(voters)))
    leader = min(voters)
    alive = voters | wanted
    for _ in range(60):
        step = next_step(now, leader, wanted, alive, now.learners)
        if step is None:
            break
        match step:
            case AddLearner(node=node):
                now = Config(voters=now.voters, learners=(*now.learners, node))
            case Promote(node=node):
                now = Config(
                    voters=tuple(sorted((*now.voters, node))), learners=tuple(n for n in now.learners if n != node)
                )
            case Remove(node=node):
                assert node != leader
                now = Config(
                    voters=tuple(n for n in now.voters if n != node),
                    learners=tuple(n for n in now.learners if n != node),
                )
            case HandOver(node=node):
                leader = node
    assert (now.voters, now.learners) == (tuple(sorted(wanted)), ())
