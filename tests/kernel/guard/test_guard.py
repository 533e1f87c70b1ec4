"""The guard of a node: it carries out what was agreed on, in its turn, and nothing else."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.guard.fleet import BEGIN_S, REALM, Fleet, a_command, a_roll, id_of, key

from worldos.kernel.effects import State
from worldos.kernel.guard.command import Drain, Drive, SetConfig, SetRoll, encode_command
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.roll import Roll, encode_roll
from worldos.kernel.guard.said import Did, Health, Outcome
from worldos.model.realm import Level
from worldos.model.rights import Impact
from worldos.model.statements import Topic

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


def test_approvals_may_come_before_the_command() -> None:
    fleet = a_home()
    command = a_command(HOME, cls=Impact.PHYSICAL)
    fleet.approve(command, "ada", "bob")
    fleet.propose("node0", command)
    fleet.run(120)
    assert sorted(fleet.acted()) == NODES


def test_nobody_outside_the_roll_proposes_approves_stops_or_bears_witness() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("eve", command)
    assert all(not machine.guard.commands for machine in fleet.machines)
    known = fleet.propose("ada", command)
    fleet.approve(command, "eve")
    fleet.halt("eve", known)
    fleet.say("eve", Health(command=known, wave=0, at_s=BEGIN_S, well=()))
    assert [verdict.keep for verdict in fleet.verdicts[-6 * 3 :]] == [False] * 18
    assert fleet.machines[0].guard.commands[known].approvals == []


def test_a_command_without_witnesses_stays_with_its_canaries() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(300, looks=False)
    assert len(fleet.acted()) == 3


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


def test_one_key_stops_a_command_for_good() -> None:
    fleet = a_home()
    command = a_command(HOME)
    known = fleet.propose("ada", command)
    fleet.halt("bob", known)
    fleet.approve(command, "ada", "bob")
    fleet.run(300)
    assert fleet.acted() == []
    assert {machine.guard.commands[known].stage for machine in fleet.machines} == {Stage.HALTED}


def test_a_stop_that_comes_before_the_command_stops_it_too() -> None:
    fleet = a_home()
    command = a_command(HOME)
    other = Fleet(1, HOME)
    known = other.propose("ada", command)
    fleet.halt("bob", known)
    fleet.approve(command, "ada")
    fleet.propose("ada", command)
    fleet.run(200)
    assert fleet.acted() == []


def test_stops_of_one_key_are_counted() -> None:
    fleet = a_home()
    known = [fleet.propose("ada", a_command(HOME, note=str(number))) for number in range(12)]
    kept = [fleet.halt("bob", each)[0].keep for each in known]
    assert kept == [True] * 8 + [False] * 4


def test_a_node_that_carried_out_does_not_again_after_a_restart() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(120)
    machine = fleet.machines[0]
    kept = list(machine.kept.values())
    again = Fleet(1, HOME)
    again.machines[0].house.statements.restoring = True
    for statement in kept:
        again.hear(again.machines[0], statement)
    again.machines[0].house.statements.restoring = False
    again.now_ns = fleet.now_ns
    again.run(120)
    assert machine.acted
    assert again.acted() == []


def test_tables_come_back_from_their_bytes() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(120)
    guard = fleet.machines[0].guard
    data = msgspec.msgpack.encode(guard)
    assert msgspec.msgpack.encode(msgspec.msgpack.decode(data, type=type(guard))) == data


def test_what_is_over_is_forgotten_and_its_statements_are_dropped() -> None:
    fleet = a_home()
    command = a_command(HOME, expires_s=BEGIN_S + 100)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(200)
    assert fleet.machines[0].guard.commands == {}
    next_one = a_command(HOME, not_before_s=fleet.now_s, note="next")
    fleet.propose("ada", next_one)
    assert len(fleet.verdicts[-1].drop) == 1
    fleet.approve(command, "bob")
    assert fleet.verdicts[-1].why == "that command is over"


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


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"waves_ppm": (1_000_000,)}, "goes too fast|1 waves"),
        ({"waves_ppm": (500_000, 1_000_000)}, "of a million nodes"),
        ({"soak_s": 1}, "between waves"),
        ({"blast": 1}, "at most"),
        ({"roll": "a" * 52}, "another roll"),
        ({"level": Level.PERSONAL}, "level"),
        ({"not_before_s": BEGIN_S + 40 * 86400, "expires_s": BEGIN_S + 50 * 86400}, "too far ahead"),
        ({"not_before_s": BEGIN_S - 86400 * 2, "expires_s": BEGIN_S - 86400}, "time is over"),
        ({"realm": "other"}, "no roll"),
    ],
)
def test_a_command_that_is_not_as_its_level_wants_it_is_refused(more: dict[str, object], why: str) -> None:
    fleet = a_home()
    fleet.propose("ada", a_command(HOME, **more))
    assert not fleet.machines[0].guard.commands
    assert any(part in fleet.verdicts[0].why for part in why.split("|"))


def test_no_statement_that_is_garbage_raises() -> None:
    fleet = a_home()
    body = encode_command(a_command(HOME))
    for topic in (Topic.COMMAND, Topic.APPROVAL, Topic.HEALTH, Topic.STOP):
        for said in (b"", b"\xc1", body[:-1], body + b"\0", b"\x93\xa7approve", bytes(200)):
            assert not fleet.state(key("ada"), topic, said)[0].keep


def test_a_machine_that_does_not_know_the_time_does_nothing() -> None:
    fleet = a_home()
    for machine in fleet.machines:
        machine.house.wall_ahead_ns = 0
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(100)
    assert fleet.acted() == []


def test_a_node_that_lies_about_its_wave_is_not_believed() -> None:
    fleet = a_home()
    known = fleet.propose("ada", a_command(HOME))
    late = next(m for m in fleet.machines if m.guard.commands[known].wave == 1)
    verdicts = fleet.say(late.name, Did(command=known, wave=0, outcome=Outcome.DONE))
    assert not any(verdict.keep for verdict in verdicts)


def test_drains_by_one_key_are_rare_on_a_node_however_many_are_ordered() -> None:
    fleet = a_home()
    for number in range(10):
        command = a_command(HOME, Drain(), note=str(number), to=(id_of("node0"),), blast=1)
        fleet.propose("ada", command)
        fleet.approve(command, "ada")
    fleet.run(30)
    assert len(fleet.machines[0].acted) == 2


def test_a_witness_says_what_it_saw_once() -> None:
    fleet = a_home()
    command = a_command(HOME)
    fleet.propose("ada", command)
    fleet.approve(command, "ada")
    fleet.run(62, looks=False)
    machine = fleet.machines[0]
    looks = machine.guard.looking(fleet.now_ns, machine.house)  # type: ignore[arg-type]
    assert [look.wave for look in looks] == [0]
    assert machine.node not in looks[0].nodes
    (said,) = machine.guard.saw(fleet.now_ns, looks[0], (), machine.house)  # type: ignore[arg-type]
    assert isinstance(said, State)
    fleet.carry(machine, [said])
    assert machine.guard.looking(fleet.now_ns, machine.house) == []  # type: ignore[arg-type]


def test_a_config_is_carried_out_with_its_value() -> None:
    fleet = Fleet(1, roll := a_roll(Level.PERSONAL, ["node0"], ["node0"]))
    command = a_command(roll, SetConfig(key="mbit_s_max", value="10"))
    fleet.propose("node0", command)
    fleet.approve(command, "node0")
    assert fleet.machines[0].did() == [SetConfig(key="mbit_s_max", value="10")]
    assert isinstance(HOME, Roll)
