"""What is heard: only whole commands of this node's roll, only from who may say it, in whatever order it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import BEGIN_S, Fleet, a_command, a_roll, id_of, key

from worldos.kernel.guard.command import command_id, encode_command
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.said import Approval, Did, Halt, Health, Outcome, Said, encode_said, topic_of
from worldos.kernel.guard.waves import wave_of
from worldos.model.realm import Level
from worldos.model.rights import Impact
from worldos.model.statements import Topic
from worldos.trust.statements import sign_statement

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])


def a_home() -> Fleet:
    return Fleet(6, HOME)


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


def test_a_node_that_lies_about_its_wave_is_not_believed() -> None:
    fleet = a_home()
    known = fleet.propose("ada", a_command(HOME))
    late = next(m for m in fleet.machines if m.guard.commands[known].wave == 1)
    verdicts = fleet.say(late.name, Did(command=known, wave=0, outcome=Outcome.DONE))
    assert not any(verdict.keep for verdict in verdicts)


# -- in whatever order --------------------------------------------------------------------------------------------------------

LATER = a_command(HOME, cls=Impact.PHYSICAL, not_before_s=BEGIN_S + 3600)
LATER_ID = command_id(encode_command(LATER))


def everything() -> list[tuple[str, Topic, bytes]]:
    """A command, two approvals, what three nodes did, what five witnesses saw, one of them twice."""
    first = tuple(sorted(node for node in HOME.nodes if wave_of(LATER, LATER_ID, HOME, node) == 0))
    names = {id_of(name): name for name in NODES}
    said: list[tuple[str, Said]] = [(who, Approval(command=LATER_ID, key=id_of(who))) for who in ("ada", "bob")]
    said += [(names[node], Did(command=LATER_ID, wave=0, outcome=Outcome.DONE)) for node in first]
    for name in NODES[:5]:
        well = tuple(node for node in first if node != id_of(name))
        said.append((name, Health(command=LATER_ID, wave=0, at_s=BEGIN_S + 3660, well=well)))
    said.append((NODES[0], Health(command=LATER_ID, wave=0, at_s=BEGIN_S + 3600, well=())))
    return [
        ("ada", Topic.COMMAND, encode_command(LATER)),
        *((who, topic_of(each), encode_said(each)) for who, each in said),
    ]


@given(st.permutations(everything()), st.booleans())
def test_whatever_the_order_the_same_is_known_in_the_end(said: list[tuple[str, Topic, bytes]], is_halted: bool) -> None:
    fleet = Fleet(1, HOME)
    statements = [sign_statement(key(who), topic, body) for who, topic, body in said]
    if is_halted:
        halt = Halt(command=LATER_ID, why="no")
        statements.insert(len(statements) // 2, sign_statement(key("bob"), Topic.STOP, encode_said(halt)))
    for statement in (*statements, *statements):  # and some come twice
        fleet.hear(fleet.machines[0], statement)
    pending = fleet.machines[0].guard.commands[LATER_ID]
    assert sorted(pending.approvals) == sorted((id_of("ada"), id_of("bob")))
    assert len(pending.did) == 3
    assert {health.at_s for health in pending.healths[0].values()} == {BEGIN_S + 3660}
    assert (pending.stage is Stage.HALTED) == is_halted
    pending.wave = 1
    fleet.now_ns += 4000 * 10**9
    machine = fleet.machines[0]
    assert machine.guard.turn(fleet.now_ns, LATER_ID, machine.house).go != is_halted  # type: ignore[arg-type]
