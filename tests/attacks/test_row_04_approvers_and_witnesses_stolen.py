"""Row 4: a quorum of approvers and all witnesses are stolen together.

Run: the real guard in the simulator, 10^5 nodes (10^6 with TRUST_LONG=1), each with an envelope of its owner. Outcome: no
actuator is driven outside of what its owner set, whatever value is ordered; what nobody set is not driven at all.
"""

from __future__ import annotations

import pytest
from tests.attacks.rolls import DAY_S, FEW, HOUR_S, LONG, QUORUM, SIZE, WITNESSES, a_planet, an_order, approve

from worldos.kernel.guard.command import Drive, Resume, SetConfig, SetPolicy, SetRoll
from worldos.kernel.guard.envelope import Envelope, Limit
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.roll import encode_roll
from worldos.sim.guard_scale import Campaign

PATH = ("home", "heater")


def limit_of(number: int) -> Limit | None:
    """Owners differ: every tenth set nothing, the others let it be between 5 and 20 to 35 degrees."""
    if number % 10 == 0:
        return None
    return Limit(path=PATH, min_milli=5_000, max_milli=20_000 + 1_000 * (number % 16))


def envelope_of(number: int) -> Envelope:
    envelope, limit = Envelope(), limit_of(number)
    if limit is not None:
        envelope.put((limit,))
    return envelope


@pytest.mark.timeout(900 if LONG else 60)
@pytest.mark.parametrize(
    ("value_milli", "verb"), [(90_000, "set"), pytest.param(30_000, "set", marks=pytest.mark.slow), (20_000, "explode")]
)
def test_no_actuator_leaves_what_its_owner_set(value_milli: int, verb: str) -> None:
    roll = a_planet(size=SIZE if (value_milli, verb) == (30_000, "set") else FEW)
    action = Drive(path=PATH, verb=verb, value_milli=value_milli)
    attack = Campaign(roll, an_order(roll, action), stolen=WITNESSES, envelope_of=envelope_of)
    attack.propose(QUORUM[0])
    approve(attack, *QUORUM)
    attack.run(3600, 1800)
    attack.run(20 * DAY_S, 12 * HOUR_S)
    outside = 0
    for number in attack.acted.nonzero()[0].tolist():
        limit = limit_of(number)
        outside += limit is None or verb != "set" or not limit.min_milli <= value_milli <= limit.max_milli
    assert outside == 0
    if (value_milli, verb) == (30_000, "set"):
        limits = [limit_of(number) for number in range(roll.population)]
        allowed = sum(limit is not None and limit.max_milli >= 30_000 for limit in limits)
        assert attack.reached == allowed, "with everybody stolen the envelope is all that is left"
    else:
        assert attack.reached == 0


def test_no_command_of_any_kind_reaches_an_envelope() -> None:
    roll = a_planet(size=200)
    actions = [
        SetConfig(key="envelope", value="none"),
        SetPolicy(key="envelope", value="none"),
        Resume(),
        Drive(path=PATH, verb="envelope", value_milli=0),
    ]
    for action in actions:
        attack = Campaign(roll, an_order(roll, action), stolen=WITNESSES, harmful=False)
        for node in attack.cohorts.values():
            node.guard.set_envelope((Limit(path=PATH, min_milli=5_000, max_milli=20_000),))
        attack.propose(QUORUM[0])
        approve(attack, *QUORUM)
        attack.run(20 * DAY_S, 12 * HOUR_S)
        for node in attack.cohorts.values():
            assert [limit.max_milli for limit in node.guard.envelope.limits.values()] == [20_000]
    assert SetRoll(roll=encode_roll(a_planet(size=1))[:100])
    assert Guard().envelope.limits == {}
