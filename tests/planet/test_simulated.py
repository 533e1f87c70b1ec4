"""Counting what simulated nodes send."""

from __future__ import annotations

import pytest

from worldos.planet import simulated


def test_counts_are_per_node_and_second_and_known_by_cause() -> None:
    seen = simulated.watch_site(4, 20)
    assert {"probes", "offers", "key log"} <= set(seen.messages)
    assert simulated.OTHER not in seen.messages
    assert seen.messages["probes"] == pytest.approx(8, rel=0.05)
    assert seen.payload["offers"] > 100 * seen.messages["offers"]


def test_the_same_seed_counts_the_same() -> None:
    assert simulated.watch_site(3, 5, seed=7) == simulated.watch_site(3, 5, seed=7)
