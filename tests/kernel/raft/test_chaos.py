"""Councils under faults keep Raft's promises."""

from __future__ import annotations

import pytest
from tests.kernel.raft.chaos import Broken, Chaos

SEEDS = 40


@pytest.mark.parametrize("voters", [3, 5])
def test_a_council_keeps_its_promises_under_faults(voters: int) -> None:
    for seed in range(SEEDS // 2):
        try:
            Chaos(seed, voters).run()
        except Broken as broken:
            raise AssertionError(f"Chaos({seed}, {voters}).run()") from broken
