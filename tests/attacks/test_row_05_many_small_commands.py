"""Row 5: 100 000 commands that need no quorum, each to one node; the same in 20 regions that are cut off from each other.

Run: the rule of the guard and the shares of its roll, 10^5 nodes, 10 000 commands (100 000 with TRUST_LONG=1). Outcome: together
they reach no more nodes than the budget of the whole realm allows in its window, also after the regions meet again.
"""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.attacks.rolls import LONG, a_planet, an_order, person

from worldos.errors import PeerBroke
from worldos.kernel.guard.budget import spent_in_all
from worldos.kernel.guard.command import SetConfig
from worldos.kernel.guard.limits import SHARE_WINDOW_S
from worldos.kernel.guard.roll import Roll, Share, encode_roll
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.sim.guard_scale import BEGIN_S, Salami, name

COMMANDS = 100_000 if LONG else 10_000
REGIONS = [RealmId(f"region-{number}") for number in range(20)]
CAP = 100


def a_roll_with_shares(regions: list[RealmId]) -> Roll:
    each = CAP // len(regions)
    shares = tuple(Share(place=place, holder=NodeId(f"holder of {place}"), amount=each) for place in regions)
    return a_planet(Level.GROUP, shares=shares, size=100_000)


def flood(attack: Salami, regions: list[RealmId], many: int, now_s: int, first: int = 0) -> int:
    """Send so many commands, each to another node of some region."""
    roll = attack.roll
    reached = 0
    for number in range(first, first + many):
        action = SetConfig(key="on", value="no")
        command = an_order(roll, action, cls=Impact.REVERSIBLE, to=(name(number),), blast=1, not_before_s=BEGIN_S)
        reached += attack.attack(command, regions[number % len(regions)], [person(0, 0)], now_s)
    return reached


@pytest.mark.slow
@pytest.mark.timeout(600 if LONG else 60)
@pytest.mark.parametrize("regions", [REGIONS[:1], REGIONS], ids=["together", "20 islands"])
def test_together_they_reach_no_more_than_the_budget_also_after_the_merge(regions: list[RealmId]) -> None:
    attack = Salami(a_roll_with_shares(regions), regions)
    now_s = BEGIN_S - BEGIN_S % SHARE_WINDOW_S + SHARE_WINDOW_S
    reached = flood(attack, regions, COMMANDS, now_s)
    assert reached == CAP
    assert sum(attack.reached.values()) == CAP
    merged = attack.said * 2
    random.Random(1).shuffle(merged)
    assert spent_in_all(merged) == CAP
    assert flood(attack, regions, 1000, now_s + 60, first=COMMANDS) == 0, "nothing is left after the merge"
    assert flood(attack, regions, 1000, now_s + SHARE_WINDOW_S, first=COMMANDS) == CAP, "a new window is a new budget"


def test_a_roll_whose_shares_are_more_than_its_budget_is_none() -> None:
    roll = a_roll_with_shares(REGIONS)
    encode_roll(roll)
    with pytest.raises(PeerBroke, match="more than its budget"):
        encode_roll(msgspec.structs.replace(roll, cap=CAP - 1))
