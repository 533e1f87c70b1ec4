"""Councils under faults keep Raft's promises."""

from __future__ import annotations

import os

import pytest
from tests.kernel.raft.chaos import Broken, Chaos, small_bounds

SEEDS = range(int(os.environ.get("RAFT_SEEDS", "12")))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("voters", [1, 3, 5])
def test_a_council_keeps_its_promises_under_faults(voters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bounds(monkeypatch)
    rests = 0
    for seed in SEEDS:  # RAFT_SEEDS=1000 for a long night: some 0.1 s each
        chaos = Chaos(seed, voters)
        try:
            chaos.run()
        except Broken as broken:
            raise AssertionError(f"Chaos({seed}, {voters}).run()") from broken
        rests += chaos.rests
    assert rests, "some of them rested in between"


def test_a_run_does_not_depend_on_anything_but_its_seed() -> None:
    one, other = Chaos(3, 3), Chaos(3, 3)
    one.run()
    other.run()
    assert one.checker.entries == other.checker.entries
    assert one.checker.led == other.checker.led
    assert len(one.checker.led) > 2
    assert one.checker.fresh_reads > 5
