"""The guard of a node: it carries out what was agreed on, in its turn, and nothing else."""

from __future__ import annotations

from tests.kernel.guard.fleet import Fleet, a_command, a_roll

from worldos.kernel.guard.pending import Stage
from worldos.model.realm import Level

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])


def a_home() -> Fleet:
    return Fleet(6, HOME)


def test_what_one_approver_may_say_alone_goes_by_waves_to_all() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.run(5)
    assert fleet.acted() == []
    fleet.approve(command, "ada")
    fleet.run(2)
    assert len(fleet.acted()) == 3
    fleet.run(120)
    assert sorted(fleet.acted()) == NODES
    assert all(machine.did() == [command.action] for machine in fleet.machines)


def test_a_command_without_witnesses_stays_with_its_canaries() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(300, looks=False)
    assert len(fleet.acted()) == 3


def test_one_key_stops_a_command_for_good() -> None:
    fleet = a_home()
    command = a_command(HOME)
    known = fleet.propose("ada", command)
    fleet.halt("bob", known)
    fleet.approve(command, "ada", "bob")
    fleet.run(300)
    assert fleet.acted() == []
    assert {machine.guard.commands[known].stage for machine in fleet.machines} == {Stage.HALTED}


def test_a_machine_that_does_not_know_the_time_does_nothing() -> None:
    fleet = a_home()
    for machine in fleet.machines:
        machine.house.wall_ahead_ns = 0
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(100)
    assert fleet.acted() == []
