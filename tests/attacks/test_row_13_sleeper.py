"""A provider works well through its probation, and then cheats in one job of twenty.

Run: 500 sleepers (20 000 with TRUST_LONG=1) that pass probation and up to 300 checks more, then cheat in 5 % of their jobs and
would go on for ever; each has the bond that `bond_needed` asks for. On average each loses far more than it gains, whenever it
begins; half are out within 20 checks of the first cheat, and 99 % within 100 (0.95^100 = 0.6 % are luckier than that).
An honest provider is checked in a twentieth of its jobs in the end, and is never out.
"""

from __future__ import annotations

import os
import random
import statistics

from worldos.kernel.auditing import MILLION, PROBATION_CHECKS, RATE_MIN_PPM, Auditing, bond_needed
from worldos.model.ids import NodeId

SLEEPERS = 20_000 if os.environ.get("TRUST_LONG") else 500
CHEATS_PPM = 50_000
GAIN = 1_000  # micro-WOSCoin that a job not done saves
JOBS_MAX = 100_000
PROVIDER = NodeId("p")


def life_of(seed: int) -> tuple[int, int]:
    """Return how many checks there were from the first cheat to the end, and what the sleeper gained in all."""
    dice = random.Random(seed)
    table = Auditing()
    sleeps = PROBATION_CHECKS + dice.randint(0, 300)  # checks that it passes first
    gained, cheats, checks = 0, 0, 0
    for _ in range(JOBS_MAX):
        awake = table.records.get(PROVIDER) is not None and table.records[PROVIDER].checks >= sleeps
        cheat = awake and dice.randrange(MILLION) < CHEATS_PPM
        cheats += cheat
        if not table.wants_check(PROVIDER, dice.randrange(MILLION)):
            gained += GAIN if cheat else 0
            continue
        checks += cheats > 0
        if table.checked(PROVIDER, is_right=not cheat):
            return checks, gained - bond_needed(GAIN)
    raise AssertionError("a cheat went on for ever")


def test_a_sleeper_loses_by_it_and_is_out_soon() -> None:
    lives = [life_of(seed) for seed in range(SLEEPERS)]
    checks = sorted(each for each, _ in lives)
    assert statistics.mean(gained for _, gained in lives) < 0
    assert checks[SLEEPERS // 2] <= 20
    assert checks[int(SLEEPERS * 0.99)] <= 100


def test_an_honest_provider_stays_and_costs_little() -> None:
    dice, table, checks = random.Random(1), Auditing(), 0
    for _ in range(20_000):
        if table.wants_check(PROVIDER, dice.randrange(MILLION)):
            checks += 1
            assert not table.checked(PROVIDER, is_right=True)
    assert not table.is_out(PROVIDER)
    assert checks < 20_000 * 2 * RATE_MIN_PPM // MILLION
