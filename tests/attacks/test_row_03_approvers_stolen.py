"""Row 3: a whole quorum of approvers is stolen; the witnesses are honest.

Run: the real guard in the simulator, 10^5 nodes, variants 2 x 10^4 (all 10^6 with TRUST_LONG=1), for two months of its time.
Outcome: at most one node in a thousand is reached (or 40, the canaries of few), then everything stops by itself and stays so.
"""

from __future__ import annotations

import pytest
from tests.attacks.rolls import DAY_S, FEW, HOUR_S, LONG, QUORUM, REALM, SIZE, WITNESSES, a_planet, an_order, approve

from worldos.kernel.guard.command import Drive, SetConfig, Update
from worldos.model.realm import Level
from worldos.sim.guard_scale import Campaign

ACTIONS = [
    Drive(path=("grid", "breaker"), verb="open"),
    Update(version="6.6.6", digest=bytes(32), cap="wosr1bad"),
    SetConfig(key="lend", value="nobody"),
]


@pytest.mark.slow
@pytest.mark.timeout(900 if LONG else 60)
@pytest.mark.parametrize("level", [Level.NATION, Level.PLANET])
def test_one_in_a_thousand_at_most_and_then_it_stops_by_itself(level: Level) -> None:
    for number, action in enumerate(ACTIONS):
        roll = a_planet(level, size=FEW if number or level is Level.NATION else SIZE)
        attack = Campaign(roll, an_order(roll, action))
        approve(attack, *QUORUM, *(approver.key for approver in roll.approvers[60:]))
        attack.propose(QUORUM[0])
        attack.run(60, 30)
        attack.run(50 * DAY_S, 12 * HOUR_S)
        assert 3 <= attack.reached <= max(40, roll.population // 1000)
        for node in (*attack.cohorts.values(), *attack.witnesses):
            assert node.guard.breakers[REALM].is_open
        assert attack.told("guard frozen")


@pytest.mark.timeout(900 if LONG else 60)
def test_one_stolen_witness_does_not_help() -> None:
    roll = a_planet(size=20_000)
    attack = Campaign(roll, an_order(roll, ACTIONS[0]), stolen=WITNESSES[:1])
    approve(attack, *QUORUM)
    attack.propose(QUORUM[0])
    attack.run(50 * DAY_S, 12 * HOUR_S)
    assert attack.reached <= 40


@pytest.mark.timeout(900 if LONG else 60)
def test_a_good_command_reaches_everybody() -> None:
    roll = a_planet(size=FEW)
    good = Campaign(roll, an_order(roll, ACTIONS[1]), harmful=False)
    good.propose(QUORUM[0])
    approve(good, *QUORUM)
    good.run(60, 30)
    canaries = good.reached
    assert 3 <= canaries <= 40 if not LONG else 3 <= canaries <= 60
    good.run(14 * DAY_S, 12 * HOUR_S)
    assert canaries < good.reached < roll.population
    good.run(3 * DAY_S, 12 * HOUR_S)
    assert good.reached == roll.population
