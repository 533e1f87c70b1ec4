"""Looks: what a witness is asked to look at, and of whom it may speak."""

from __future__ import annotations

from tests.kernel.guard.fleet import BEGIN_S, Fleet, a_command, a_roll, id_of

from worldos.kernel.effects import State
from worldos.kernel.guard.command import command_id, encode_command
from worldos.kernel.guard.look import failed, looks, sample
from worldos.kernel.guard.pending import Pending
from worldos.kernel.guard.said import Did, Health, Outcome
from worldos.kernel.guard.waves import wave_of
from worldos.model.ids import NodeId
from worldos.model.realm import Level

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])


def a_home() -> Fleet:
    return Fleet(6, HOME)


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


def everybody(_: str) -> bool:
    return True


def test_who_says_that_it_failed_is_sick_whatever_it_looks_like() -> None:
    fleet = a_home()
    command = a_command(HOME)
    known = fleet.propose("ada", command)
    pending = fleet.machines[0].guard.commands[known]
    first = [m for m in fleet.machines if m.guard.commands[known].wave == 0]
    for number, machine in enumerate(first):
        outcome = Outcome.FAILED if number == 0 else Outcome.DONE
        fleet.say(machine.name, Did(command=known, wave=0, outcome=outcome))
    assert failed(pending, 0, everybody) == (first[0].node,)
    assert sample(pending, HOME, 0, NodeId("x"), everybody) == tuple(sorted(machine.node for machine in first[1:]))
    assert first[1].node not in sample(pending, HOME, 0, first[1].node, everybody)
    assert [look.wave for look in looks(pending, HOME, fleet.machines[0].node, BEGIN_S + 61, everybody)] == [0]
    assert looks(pending, HOME, fleet.machines[0].node, BEGIN_S + 60, everybody) == []


def test_a_witness_speaks_of_nobody_that_it_does_not_know() -> None:
    """Where nodes are too many to name, a stranger can make keys until one has its turn."""
    many = a_roll(Level.NATION, approvers=["ada"], witnesses=["w0"], population=10**6)
    command = a_command(many)
    body = encode_command(command)
    known = command_id(body)
    strangers = [NodeId(f"{number:052d}") for number in range(10**4)]
    sybils = [node for node in strangers if wave_of(command, known, many, node) == 2][:9]
    pending = Pending(id=known, body=body, command=command, proposer=id_of("ada"), wave=None, seen_ns=0, seen_s=BEGIN_S)
    pending.did = {node: Did(command=known, wave=2, outcome=Outcome.DONE) for node in sybils}
    assert len(sample(pending, many, 2, NodeId("w"), everybody)) == 9
    assert sample(pending, many, 2, NodeId("w"), {sybils[0]}.__contains__) == (sybils[0],)
    pending.did[sybils[0]] = Did(command=known, wave=2, outcome=Outcome.FAILED)
    assert failed(pending, 2, {sybils[1]}.__contains__) == ()


def test_a_witness_that_could_speak_of_too_few_looks_again_after_a_while() -> None:
    fleet = a_home()
    command = a_command(HOME)
    known = fleet.propose("ada", command)
    pending = fleet.machines[0].guard.commands[known]
    first = tuple(sorted(node for node in HOME.nodes if wave_of(command, known, HOME, node) == 0))
    pending.did = {node: Did(command=known, wave=0, outcome=Outcome.DONE) for node in first}
    witness, at_s = NodeId("w"), BEGIN_S + 100
    for well, later_s, is_asked in ((first[:1], 59, 0), (first[:1], 60, 1), (first, 60, 0)):
        pending.healths = {0: {witness: Health(command=known, wave=0, at_s=at_s, well=well)}}
        assert len(looks(pending, HOME, witness, at_s + later_s, everybody)) == is_asked
