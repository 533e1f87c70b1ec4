"""Quorum maths, against all cases there are up to five voters."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from tests.kernel.raft.council import A, B, C, D, E

from worldos.kernel.raft import quorum
from worldos.model.ids import NodeId
from worldos.model.raft import Config

NAMES = (A, B, C, D, E)


def majorities(voters: tuple[NodeId, ...]) -> list[frozenset[NodeId]]:
    """All sets of voters that are more than half, by counting."""
    sizes = range(len(voters) + 1)
    return [frozenset(some) for size in sizes if 2 * size > len(voters) for some in combinations(voters, size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_agreed_number_is_the_highest_that_some_majority_has_reached(size: int) -> None:
    voters = NAMES[:size]
    for numbers in product(range(4), repeat=size):
        reached = dict(zip(voters, numbers, strict=True))
        best = max(min(reached[voter] for voter in some) for some in majorities(voters))
        assert quorum.agreed(list(numbers)) == best


def test_nobody_agrees_on_nothing() -> None:
    assert quorum.agreed([]) == 0
    assert not quorum.won(Config(voters=()), {A: True})


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_an_election_is_won_by_a_majority_and_lost_when_none_is_left(size: int) -> None:
    voters = NAMES[:size]
    config = Config(voters=voters, learners=(NodeId("L"),))
    for answers in product((True, False, None), repeat=size):
        ballot = {voter: answer for voter, answer in zip(voters, answers, strict=True) if answer is not None}
        ballot |= {NodeId("L"): True, NodeId("stranger"): True}  # neither counts
        yes = frozenset(voter for voter in voters if ballot.get(voter) is True)
        maybe = frozenset(voter for voter in voters if ballot.get(voter, True))
        assert quorum.won(config, ballot) == (yes in majorities(voters))
        assert quorum.lost(config, ballot) == (maybe not in majorities(voters))


def test_majorities_of_councils_one_step_apart_share_a_voter() -> None:
    """Thesis, 4.1: this is why one step needs no joint consensus; with two steps it is not so."""
    councils = [some for size in range(1, 6) for some in combinations(NAMES, size)]
    for one, other in product(councils, councils):
        steps = len(set(one) ^ set(other))
        shared = all(x & y for x, y in product(majorities(one), majorities(other)))
        if steps <= 1:
            assert shared
        if steps >= 2 and not set(one) & set(other):
            assert not shared
