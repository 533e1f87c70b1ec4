"""The tables: what outlives a life, and what does not."""

from __future__ import annotations

import msgspec
from tests.kernel.guard.fleet import BEGIN_S, Fleet, a_command, a_roll

from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.table import Memory, places_of
from worldos.model.realm import Level
from worldos.model.statements import Topic

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])


def a_home() -> Fleet:
    return Fleet(6, HOME)


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


def test_a_next_life_knows_rolls_limits_who_is_muted_what_it_did_and_since_when_it_waits() -> None:
    fleet = a_home()
    machine = fleet.machines[0]
    machine.guard.set_envelope((Limit(path=("heater",), min_milli=0, max_milli=1),))
    machine.guard.muted["eve"] = "she lied"
    done, waiting = a_command(HOME), a_command(HOME, note="not yet", not_before_s=BEGIN_S + 3600)
    fleet.approve(done, "ada")
    ids = [fleet.propose("ada", command) for command in (done, waiting)]
    fleet.run(120)
    memory = msgspec.msgpack.decode(msgspec.msgpack.encode(machine.guard.memory()), type=Memory)
    again = Guard()
    again.recall(memory)
    assert (again.rolls, again.envelope.limits, again.muted) == (
        machine.guard.rolls,
        machine.guard.envelope.limits,
        machine.guard.muted,
    )
    for statement in machine.kept.values():
        if statement.topic is not Topic.HEALTH:
            again.judge(fleet.now_ns, statement, machine.house)  # type: ignore[arg-type]
    assert [again.commands[known].stage for known in ids] == [Stage.DID, Stage.WAITING]
    assert again.commands[ids[1]].seen_s == BEGIN_S + 1


def test_a_node_is_in_its_site_and_in_all_realms_above() -> None:
    assert places_of(a_home().machines[0].house) == ("site",)  # type: ignore[arg-type]
