"""What a node does about a command: once, within its owner's limits, and nothing once something went wrong."""

from __future__ import annotations

from tests.kernel.guard.fleet import BEGIN_S, REALM, Fleet, a_command, a_roll, id_of

from worldos.kernel.guard.command import Drain, Drive, SetConfig, SetRoll
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.roll import Roll, Share, encode_roll
from worldos.kernel.guard.said import Outcome
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])


def a_home() -> Fleet:
    return Fleet(6, HOME)


def test_sick_canaries_freeze_the_realm_and_the_owner_closes_it_again() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(2)
    sick = [machine.node for machine in fleet.machines if machine.acted]
    fleet.run(200, sick=sick)
    assert len(fleet.acted()) == 3
    assert all(machine.guard.breakers[REALM].is_open for machine in fleet.machines)
    other = a_command(HOME, note="another")
    fleet.propose("ada", other)
    fleet.approve(other, "ada")
    fleet.run(200)
    assert len(fleet.acted()) == 3
    for machine in fleet.machines:
        machine.guard.resume(REALM)
    fleet.run(200)
    assert sorted(fleet.acted()) == NODES


def test_what_fails_on_a_node_freezes_it_and_is_seen_by_the_witnesses() -> None:
    fleet = a_home()
    for machine in fleet.machines:
        machine.outcome = Outcome.FAILED
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(300)
    assert len(fleet.acted()) == 3
    assert all(machine.guard.breakers[REALM].is_open for machine in fleet.machines)


def test_an_owners_envelope_is_asked_last_and_by_the_node_itself() -> None:
    fleet = a_home()
    for machine in fleet.machines[:3]:
        machine.guard.set_envelope((Limit(path=("heater",), min_milli=5_000, max_milli=25_000),))
    for value, many in ((90_000, 0), (20_000, 3)):
        command = a_command(HOME, Drive(path=("heater",), verb="set", value_milli=value), cls=Impact.PHYSICAL)
        fleet.propose("ada", command)
        fleet.approve(command, "ada", "bob")
        fleet.run(300)
        assert len([m for m in fleet.machines if command in m.acted]) <= many
    assert {machine.name for machine in fleet.machines if machine.acted} <= {"node0", "node1", "node2"}


def test_a_roll_is_replaced_by_a_command_under_the_old_one() -> None:
    fleet = a_home()
    after = a_roll(Level.HOME, NODES, ["ada", "cyd"], NODES[:5], number=2)
    command = a_command(HOME, SetRoll(roll=encode_roll(after)), cls=Impact.IRREVERSIBLE)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(200)
    assert all(machine.guard.rolls[REALM] == HOME for machine in fleet.machines)
    fleet.approve(command, "bob")
    fleet.run(200)
    assert all(machine.guard.rolls[REALM] == after for machine in fleet.machines)


def test_drains_by_one_key_are_rare_on_a_node_however_many_are_ordered() -> None:
    fleet = a_home()
    for number in range(10):
        command = a_command(HOME, Drain(), note=str(number), to=(id_of("node0"),), blast=1)
        fleet.propose("ada", command)
        fleet.approve(command, "ada")
    fleet.run(30)
    assert len(fleet.machines[0].acted) == 2


def test_a_config_is_carried_out_with_its_value() -> None:
    fleet = Fleet(1, roll := a_roll(Level.PERSONAL, ["node0"], ["node0"]))
    command = a_command(roll, SetConfig(key="mbit_s_max", value="10"))
    fleet.propose("node0", command)
    fleet.approve(command, "node0")
    assert fleet.machines[0].did() == [SetConfig(key="mbit_s_max", value="10")]
    assert isinstance(HOME, Roll)


# -- haste and budgets ------------------------------------------------------------------------------------------------------

PEOPLE = [(f"p{number}", f"i{number % 4}") for number in range(7)]
LOOKERS = [f"w{number}" for number in range(5)]


def test_a_physical_command_that_is_due_and_not_agreed_on_is_an_alarm_at_once_and_mutes_who_is_alone() -> None:
    roll = a_roll(Level.NATION, NODES, PEOPLE, LOOKERS)
    fleet = Fleet(6, roll)
    command = a_command(roll, Drive(path=("grid", "breaker"), verb="open"), cls=Impact.IRREVERSIBLE)
    known = fleet.propose("p0", command)
    fleet.approve(command, "p0")
    fleet.run(1)
    assert all(machine.told("guard alarm") for machine in fleet.machines)
    assert not fleet.machines[0].guard.muted
    fleet.run(61)
    assert all(machine.guard.muted.keys() == {id_of("p0")} for machine in fleet.machines)
    assert fleet.machines[0].guard.commands[known].stage is Stage.HALTED
    fleet.approve(command, "p1", "p2", "p3")
    fleet.run(100)
    assert fleet.acted() == []
    fleet.propose("p0", a_command(roll, note="again"))
    assert "muted" in fleet.verdicts[-1].why
    fleet.machines[0].guard.unmute(id_of("p0"))
    fleet.propose("p0", a_command(roll, note="once more"))
    assert [machine.name for machine in fleet.machines if len(machine.guard.commands) == 2] == ["node0"]


def test_a_quorum_that_a_node_heard_of_late_heals_what_it_held_for_haste() -> None:
    roll = a_roll(Level.NATION, NODES, PEOPLE, LOOKERS)
    fleet = Fleet(6, roll)
    command = a_command(roll, Drive(path=("heater",), verb="set"), cls=Impact.PHYSICAL, not_before_s=BEGIN_S + 10)
    for machine in fleet.machines:
        machine.guard.set_envelope((Limit(path=("heater",), min_milli=0, max_milli=1),))
    known = fleet.propose("p0", command)
    fleet.approve(command, "p0")
    fleet.run(90)
    assert all(machine.guard.muted for machine in fleet.machines)
    fleet.approve(command, "p1", "p2", "p3", "p4")
    assert not any(machine.guard.muted for machine in fleet.machines)
    fleet.run(2)
    assert len(fleet.acted()) == 3
    assert known in fleet.machines[0].guard.commands


def test_a_node_that_hears_the_command_first_and_all_approvals_late_heals_too() -> None:
    roll = a_roll(Level.NATION, NODES, PEOPLE, LOOKERS)
    fleet = Fleet(6, roll)
    command = a_command(roll, Drive(path=("heater",), verb="set"), cls=Impact.PHYSICAL)
    for machine in fleet.machines:
        machine.guard.set_envelope((Limit(path=("heater",), min_milli=0, max_milli=1),))
    fleet.propose("p0", command)
    fleet.run(90)
    assert all(machine.guard.muted.keys() == {id_of("p0")} for machine in fleet.machines)
    fleet.propose("p0", a_command(roll, note="another"))
    assert "muted" in fleet.verdicts[-1].why
    fleet.approve(command, "p0", "p1", "p2", "p3", "p4")
    fleet.run(2)
    assert len(fleet.acted()) == 3
    assert not any(machine.guard.muted for machine in fleet.machines)


def test_what_somebody_stopped_is_not_healed() -> None:
    roll = a_roll(Level.NATION, NODES, PEOPLE, LOOKERS)
    fleet = Fleet(6, roll)
    command = a_command(roll, Drive(path=("heater",), verb="set"), cls=Impact.PHYSICAL)
    known = fleet.propose("p0", command)
    fleet.run(90)
    fleet.halt("p6", known)
    fleet.approve(command, "p0", "p1", "p2", "p3", "p4", "p5")
    fleet.run(90)
    assert {machine.guard.commands[known].stage for machine in fleet.machines} == {Stage.HALTED}


def test_a_command_planned_ahead_is_no_alarm() -> None:
    roll = a_roll(Level.NATION, NODES, PEOPLE, LOOKERS)
    fleet = Fleet(6, roll)
    command = a_command(
        roll, Drive(path=("grid", "breaker"), verb="open"), cls=Impact.IRREVERSIBLE, not_before_s=BEGIN_S + 3600
    )
    fleet.propose("p0", command)
    fleet.approve(command, "p0")
    fleet.run(600, step_s=60)
    assert not fleet.machines[0].told("guard alarm")


def test_what_goes_without_a_quorum_takes_a_share_of_its_place_until_there_is_none() -> None:
    share = Share(place=RealmId("site"), holder=id_of("node0"), amount=4)
    roll = a_roll(Level.GROUP, NODES, PEOPLE, LOOKERS, shares=(share,))
    fleet = Fleet(6, roll)
    for number in range(10):
        command = a_command(roll, cls=Impact.REVERSIBLE, note=str(number), to=(id_of(f"node{number % 6}"),), blast=1)
        fleet.propose("p0", command)
        fleet.approve(command, "p0")
    fleet.run(5)
    assert sum(len(machine.acted) for machine in fleet.machines) == 4
    fleet.run(3600, step_s=60)
    assert sum(len(machine.acted) for machine in fleet.machines) == 8


def test_nodes_elsewhere_take_nothing_of_a_share() -> None:
    share = Share(place=RealmId("far away"), holder=id_of("node0"), amount=4)
    roll = a_roll(Level.GROUP, NODES, PEOPLE, LOOKERS, shares=(share,))
    fleet = Fleet(6, roll)
    command = a_command(roll, cls=Impact.REVERSIBLE, to=(id_of("node1"),), blast=1)
    fleet.propose("p0", command)
    fleet.approve(command, "p0")
    fleet.run(5)
    assert fleet.acted() == []
