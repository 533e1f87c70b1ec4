"""Row 6: the kill switch, a configuration or a policy is pushed to everybody as the weapon.

Run: the real guard in the simulator, 10^5 nodes (10^6 with TRUST_LONG=1), for two months of its time. Outcome: it goes by waves
like everything else, freezes by itself after the first, and all services but those of the first nodes stay up. Stops are counted.
"""

from __future__ import annotations

import pytest
from tests.attacks.rolls import DAY_S, FEW, HOUR_S, LONG, QUORUM, REALM, SIZE, a_planet, an_order, approve, person

from worldos.kernel.guard.command import Action, Drain, Revoke, SetConfig, SetPolicy, Stop
from worldos.kernel.guard.limits import STOP_BURST
from worldos.kernel.guard.roll import Share
from worldos.kernel.guard.said import Halt
from worldos.model.ids import NodeId
from worldos.sim.guard_scale import BEGIN_S, Campaign

KILLS: list[tuple[str, Action, list[NodeId]]] = [
    ("kill switch by one key", Stop(path=("everything",)), [person(0, 0)]),
    ("drain by one key", Drain(), [person(0, 0)]),
    ("revocation by one key", Revoke(who="everybody"), [person(0, 0)]),
    ("configuration by a quorum", SetConfig(key="listen", value="nowhere"), QUORUM),
    ("policy by a quorum", SetPolicy(key="lend", value="kin"), QUORUM),
]


def holders(size: int) -> tuple[Share, ...]:
    """The budget for narrowing without a quorum, as large as it can be: waves alone must hold."""
    return (Share(place=REALM, holder=NodeId("witness-0"), amount=size * 10),)


@pytest.mark.timeout(900 if LONG else 60)
@pytest.mark.parametrize(
    ("action", "keys"),
    [pytest.param(*kill[1:], id=kill[0], marks=pytest.mark.slow if kill[2] is QUORUM else ()) for kill in KILLS],
)
def test_it_goes_by_waves_freezes_and_services_stay_up(action: Action, keys: list[NodeId]) -> None:
    size = SIZE if isinstance(action, SetConfig) else FEW
    roll = a_planet(shares=holders(size), size=size)
    attack = Campaign(roll, an_order(roll, action))
    for node in (*attack.cohorts.values(), *attack.witnesses):
        node.guard.places = (REALM,)
    attack.propose(keys[0])
    approve(attack, *keys)
    attack.run(60, 30)
    assert 3 <= attack.reached <= max(40, roll.population // 10_000)
    attack.run(50 * DAY_S, 12 * HOUR_S)
    up = roll.population - attack.reached
    assert up * 1000 >= roll.population * 998
    for node in attack.cohorts.values():
        assert node.guard.breakers[REALM].is_open


def test_without_budget_one_key_stops_nothing_at_all() -> None:
    roll = a_planet(size=10_000)
    attack = Campaign(roll, an_order(roll, Stop(path=("everything",))))
    attack.propose(person(0, 0))
    approve(attack, person(0, 0))
    attack.run(30 * DAY_S, 12 * HOUR_S)
    assert attack.reached == 0


def test_stops_themselves_are_counted_and_only_take_away() -> None:
    roll = a_planet(size=10_000)
    orders = [
        an_order(roll, SetConfig(key="a", value=str(n)), not_before_s=BEGIN_S + DAY_S) for n in range(STOP_BURST + 4)
    ]
    attack = Campaign(roll, orders[0])
    for number, order in enumerate(orders):
        attack.command = order
        attack.propose(person(1, number % 7))
    commands = attack.cohorts[0].guard.commands
    assert len(commands) == len(orders)
    for known in list(commands):
        attack.say(person(2, 2), Halt(command=known, why="because"))
    stopped = [pending.stage for pending in commands.values()].count("stopped")  # type: ignore[arg-type]
    assert stopped == STOP_BURST
