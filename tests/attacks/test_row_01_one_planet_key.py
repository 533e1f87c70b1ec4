"""Row 1: one planet-level key is stolen, and orders all breakers to be opened.

Run: the real guard in the simulator, 10^5 nodes (10^6 with TRUST_LONG=1), for two months of its time. Outcome: no node acts,
people are told within a second, and the key counts no more.
"""

from __future__ import annotations

import pytest
from tests.attacks.rolls import DAY_S, HOUR_S, LONG, REALM, a_planet, an_order, approve, person

from worldos.kernel.guard.command import Drive
from worldos.sim.guard_scale import Campaign

OPEN = Drive(path=("grid", "breaker"), verb="open")
THIEF = person(3, 4)


@pytest.mark.timeout(600 if LONG else 60)
def test_nobody_acts_the_alarm_is_at_once_and_the_key_is_muted() -> None:
    roll = a_planet()
    attack = Campaign(roll, an_order(roll, OPEN))
    attack.propose(THIEF)
    approve(attack, THIEF)
    begun_s = attack.now_s
    attack.run(2, 1)
    alarms = attack.told("guard alarm")
    assert len(alarms) >= len(attack.cohorts)
    assert max(alarms[: len(attack.cohorts)]) - begun_s <= 1
    attack.run(120, 1)
    attack.run(59 * DAY_S, 12 * HOUR_S)
    assert attack.reached == 0
    for node in (*attack.cohorts.values(), *attack.witnesses):
        assert set(node.guard.muted) == {THIEF}


def test_in_haste_it_is_refused_and_muted_at_once() -> None:
    roll = a_planet(size=10_000)
    for more in ({"waves_ppm": (1_000_000,)}, {"soak_s": 0}, {"waves_ppm": (10, 10, 10, 10, 10, 1_000_000)}):
        attack = Campaign(roll, an_order(roll, OPEN, **more))
        attack.propose(THIEF)
        assert attack.told("guard alarm")
        attack.run(DAY_S, HOUR_S)
        assert attack.reached == 0
        assert all(THIEF in node.guard.muted for node in attack.cohorts.values())


def test_its_next_words_are_not_even_heard() -> None:
    roll = a_planet(size=10_000)
    attack = Campaign(roll, an_order(roll, OPEN, soak_s=0))
    attack.propose(THIEF)
    attack.command = an_order(roll, OPEN)
    attack.propose(THIEF)
    assert all(not node.guard.commands for node in attack.cohorts.values())
    assert all(not node.guard.breakers.get(REALM) for node in attack.cohorts.values())
