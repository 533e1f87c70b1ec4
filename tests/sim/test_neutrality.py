"""The search for bias: it finds each that is planted, and none in what nodes do."""

from __future__ import annotations

from random import Random

import pytest

from worldos.kernel.blind import blind
from worldos.kernel.match import Refusal
from worldos.sim import neutrality
from worldos.sim.neutrality import PLANTED, Chosen, World, fair, make_world, search


def test_the_choice_of_a_node_is_neutral() -> None:
    assert search(fair, 300).total == 0


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bias_is_found_within_a_hundred_worlds(name: str) -> None:
    for seed in range(1, 6):
        found = search(PLANTED[name], 100, seed, stop=True)
        assert found.total, f"not found with seed {seed}"


def test_a_chooser_that_refuses_what_could_be_had_or_counts_wrong_is_found() -> None:
    def refuses(world: World) -> Chosen:
        said = fair(world._replace(offers=()))
        assert isinstance(said.answer, Refusal)
        return said

    assert search(refuses, 20, stop=True).total

    def lies(world: World) -> Chosen:
        return fair(world._replace(offers=(*world.offers, neutrality._offer(Random(1), 9000, 0, alike=True))))

    assert search(lies, 100, stop=True).total


def test_a_biased_matcher_that_gets_the_blind_view_has_nobody_to_favour() -> None:
    for number in range(100):
        world = make_world(Random(number))
        seen, seeing = blind((world.need,), world.offers, world.view)
        blinded = World(world.need, seen, seeing)
        assert neutrality.nation_point(blinded).answer == fair(world).answer


def test_worlds_have_ties_and_what_does_not_fit() -> None:
    worlds = [make_world(Random(number)) for number in range(100)]
    answers = [fair(world).answer for world in worlds]
    assert any(isinstance(answer, Refusal) for answer in answers)
    ties = [a for a in answers if not isinstance(a, Refusal) and a.runner_up and a.runner_up_score == a.score]
    assert len(ties) > 30


def test_who_may_choose_the_nonce_wins_and_who_committed_to_it_does_not() -> None:
    assert neutrality.grinders_share(400, 1, committed=False) > 0.9
    assert neutrality.grinders_share(4000, 1, committed=True) < 0.12
