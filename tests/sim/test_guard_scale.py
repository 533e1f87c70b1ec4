"""The simulator of the guard says what real guards on every node would do."""

from __future__ import annotations

import msgspec
import pytest
from tests.attacks.rolls import DAY_S, HOUR_S, QUORUM, WITNESSES, a_planet, an_order, approve, person
from tests.kernel.guard.fleet import Fleet, a_command, a_roll, id_of

from worldos.kernel.guard.command import Drive, SetConfig
from worldos.kernel.guard.envelope import Envelope
from worldos.kernel.guard.roll import Roll, Share
from worldos.kernel.guard.said import Approval
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.sim.guard_scale import BEGIN_S, Campaign, Salami, name, part_of_ranks, window_of

NODES = [f"node{number}" for number in range(40)]
APPROVERS = [f"p{number}" for number in range(5)]
LOOKERS = [f"w{number}" for number in range(5)]
FIRM = a_roll(Level.ENTERPRISE, NODES, APPROVERS, LOOKERS)


def by_campaign(roll: Roll, approvals: list[str], seconds: int, **more: object) -> set[str]:
    """Say who acted, as the simulator has it."""
    campaign = Campaign(roll, a_command(roll), harmful=bool(more.get("harmful")))
    campaign.propose(id_of("p0"))
    for each in approvals:
        campaign.say(id_of(each), Approval(command=campaign.known, key=id_of(each)))
    campaign.run(seconds, 30)
    return {roll.nodes[number] for number in campaign.acted.nonzero()[0].tolist()}


def by_guards(roll: Roll, approvals: list[str], seconds: int, **more: object) -> set[str]:
    """Say who acted where each node has a guard of its own, with signatures and all."""
    fleet = Fleet(len(NODES), roll)
    witnesses = Fleet(len(LOOKERS), roll, prefix="w")
    fleet.machines += witnesses.machines
    command = a_command(roll)
    fleet.propose("p0", command)
    fleet.approve(command, *approvals)
    for _ in range(0, seconds, 30):
        sick = [machine.node for machine in fleet.machines if machine.acted] if more.get("harmful") else ()
        fleet.run(30, 30, sick=sick)
    return {machine.node for machine in fleet.machines if machine.acted}


@pytest.mark.parametrize("approvals", [["p0"], ["p0", "p1"], APPROVERS], ids=len)
@pytest.mark.parametrize("seconds", [30, 700, 1400, 2100])
def test_it_agrees_with_a_guard_on_every_node(approvals: list[str], seconds: int) -> None:
    assert by_campaign(FIRM, approvals, seconds) == by_guards(FIRM, approvals, seconds)


def test_a_good_command_has_reached_all_after_its_soaks() -> None:
    sizes = [len(by_campaign(FIRM, APPROVERS, seconds)) for seconds in (30, 700, 1400, 2100)]
    assert sizes[0] == 3
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(NODES)


def test_it_agrees_where_the_command_does_harm() -> None:
    reached = by_campaign(FIRM, APPROVERS, 2100, harmful=True)
    assert 3 <= len(reached) < len(NODES)
    assert reached == by_guards(FIRM, APPROVERS, 2100, harmful=True)


def test_each_wave_is_as_large_as_it_is_expected_to_be() -> None:
    roll = a_planet(size=20_000)
    good = Campaign(roll, an_order(roll, SetConfig(key="a", value="b")), harmful=False)
    approve(good, *QUORUM)
    good.propose(QUORUM[0])
    for wave, (days, spread) in enumerate([(0, 30), (3, 30), (6, 80), (9, 250), (12, 500), (15, 0)]):
        good.run(days * DAY_S + 2 * HOUR_S - good.now_s, HOUR_S)
        assert abs(good.reached - part_of_ranks(good.command, roll, wave) * roll.population) <= spread


def test_stolen_witnesses_lie_from_the_first_moment_and_soaks_still_hold() -> None:
    roll = a_planet(size=5_000)
    attack = Campaign(roll, an_order(roll, SetConfig(key="a", value="b")), stolen=WITNESSES)
    approve(attack, *QUORUM)
    attack.propose(QUORUM[0])
    attack.run(2 * DAY_S, HOUR_S)
    assert attack.reached <= 40
    attack.run(20 * DAY_S, HOUR_S)
    assert attack.reached == roll.population


def test_a_drive_is_asked_of_every_owner() -> None:
    roll = a_roll(Level.HOME, NODES, ["p0", "p1"], NODES[:5])
    command = a_command(roll, Drive(path=("x",), verb="open"), cls=Impact.PHYSICAL)
    attack = Campaign(roll, command, harmful=False, envelope_of=lambda _: Envelope())
    attack.propose(id_of("p0"))
    for each in ("p0", "p1"):
        attack.say(id_of(each), Approval(command=attack.known, key=id_of(each)))
    attack.run(600, 30)
    assert attack.reached == 0


def test_many_small_commands_spend_the_shares_of_their_region() -> None:
    share = Share(place=RealmId("west"), holder=NodeId("holder"), amount=2)
    roll = a_planet(Level.GROUP, shares=(share,), size=100)
    attack = Salami(roll, ["west", "east"])
    order = an_order(roll, SetConfig(key="a", value="b"), cls=Impact.REVERSIBLE, blast=1, not_before_s=BEGIN_S)
    orders = [msgspec.structs.replace(order, to=(name(number),)) for number in range(4)]
    went = [attack.attack(each, RealmId("west"), [person(0, 0)], BEGIN_S + 5) for each in orders]
    assert went == [True, True, False, False]
    assert not attack.attack(orders[3], RealmId("east"), [person(0, 0)], BEGIN_S + 5)
    assert attack.reached == {"west": 2, "east": 0}
    assert {spent.window for _, spent in attack.said} == {window_of(BEGIN_S + 5)}
