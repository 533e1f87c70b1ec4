"""The model says what the simulator does."""

from __future__ import annotations

import pytest

from worldos.planet import agreement, simulated
from worldos.planet.simulated import Plan

TOLERANCE = 0.03


@pytest.mark.parametrize("nodes", [5, 12])
def test_an_idle_site_sends_what_the_model_says(nodes: int) -> None:
    seen = simulated.watch_site(nodes, 60)
    messages, payload = agreement.modelled(nodes)
    assert agreement.error(messages, seen.messages) == pytest.approx(0, abs=0.01)
    assert agreement.error(payload, seen.payload) == pytest.approx(0, abs=TOLERANCE)
    for cause, amount in agreement.within(seen.payload).items():
        assert payload[cause] == pytest.approx(amount, rel=TOLERANCE), cause


def test_a_site_whose_offers_change_sends_what_the_model_says() -> None:
    seen = simulated.watch_site(6, 40, changes_every_s=agreement.CHANGES_EVERY_S)
    messages, payload = agreement.modelled(6, changes=1 / agreement.CHANGES_EVERY_S)
    assert agreement.error(messages, seen.messages) == pytest.approx(0, abs=TOLERANCE)
    assert agreement.error(payload, seen.payload) == pytest.approx(0, abs=TOLERANCE)


def test_the_centers_of_a_tree_say_what_the_model_says() -> None:
    plan = Plan(sites=6, size=3, fan=3, levels=3)
    seen = simulated.watch_tree(plan, 20)
    messages, payload = agreement.modelled_tree(plan)
    for cause in agreement.ABOVE:
        assert messages[cause] == pytest.approx(seen.messages[cause], rel=0.1), cause
        assert payload[cause] == pytest.approx(seen.payload[cause], rel=0.15), cause


def test_what_was_kept_of_larger_sites_agrees_still() -> None:
    kept = agreement.load()
    assert max(seen.nodes for seen in kept.idle) >= 50
    for seen in kept.idle:
        messages, payload = agreement.modelled(seen.nodes)
        assert agreement.error(messages, seen.messages) == pytest.approx(0, abs=TOLERANCE)
        assert agreement.error(payload, seen.payload) == pytest.approx(0, abs=TOLERANCE)
