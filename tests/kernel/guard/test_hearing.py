"""What is heard: only whole commands of this node's roll, only from who may say it, in whatever order it comes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import BEGIN_S, Fleet, a_command, a_roll, id_of, key
from tests.trust.soft_passkey import SoftPasskey

from worldos.kernel.guard.command import command_id, encode_command
from worldos.kernel.guard.limits import COMMANDS_MAX, COMMANDS_PER_SIGNER_MAX, EARLY_MAX, EARLY_NS, EARLY_PER_SIGNER_MAX
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.roll import Approver, Share, passkey_id
from worldos.kernel.guard.said import Approval, Did, Halt, Health, Outcome, Said, Spent, encode_said, topic_of
from worldos.kernel.guard.waves import wave_of
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
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
    assert fleet.verdicts[-1].later, "told again in the next hour, it counts"


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


# -- bounds and liars ---------------------------------------------------------------------------------------------------------


def test_a_holder_that_gives_a_unit_out_twice_is_muted_and_its_units_count_no_more() -> None:
    share = Share(place=RealmId("site"), holder=id_of("holder"), amount=4)
    roll = a_roll(Level.GROUP, NODES, [("ada", "a"), ("bob", "b")], ["w0"], shares=(share,))
    fleet = Fleet(6, roll)
    commands = [a_command(roll, cls=Impact.REVERSIBLE, note=str(n), not_before_s=BEGIN_S + 10) for n in range(2)]
    for command in commands:
        fleet.propose("ada", command)
        fleet.approve(command, "ada")
    for command in commands:
        known = command_id(encode_command(command))
        window = BEGIN_S // 3600
        fleet.say("holder", Spent(command=known, place=share.place, window=window, first=0, count=4))
    assert all(machine.guard.muted.keys() == {share.holder} for machine in fleet.machines)
    assert all(machine.told("guard alarm") for machine in fleet.machines)
    fleet.run(600, step_s=60)
    assert fleet.acted() == []


def test_units_beyond_a_share_or_of_a_window_to_come_are_refused() -> None:
    share = Share(place=RealmId("site"), holder=id_of("holder"), amount=6)
    roll = a_roll(Level.GROUP, NODES, [("ada", "a"), ("bob", "b")], ["w0"], shares=(share,))
    fleet = Fleet(1, roll)
    known = fleet.propose("ada", a_command(roll, cls=Impact.REVERSIBLE))
    window = BEGIN_S // 3600
    for who, first, count, at in (("holder", 0, 7, window), ("eve", 0, 6, window), ("holder", 0, 6, window + 2)):
        spent = Spent(command=known, place=share.place, window=at, first=first, count=count)
        assert not fleet.say(who, spent)[0].keep


def test_strangers_cannot_fill_the_room_for_what_comes_early() -> None:
    fleet = Fleet(1, HOME)
    about = [f"{number:052d}" for number in range(EARLY_MAX)]
    kept = 0
    for number, each in enumerate(about):
        verdicts = fleet.say(f"stranger {number // EARLY_PER_SIGNER_MAX}", Approval(command=each, key=id_of("x")))
        kept += verdicts[0].keep
    assert kept == EARLY_MAX // 2
    assert fleet.say("ada", Approval(command=about[0], key=id_of("ada")))[0].keep
    fleet.now_ns += EARLY_NS
    fleet.tick()
    assert fleet.machines[0].guard.early == {}
    fleet.say("ada", Approval(command=about[1], key=id_of("ada")))
    assert len(fleet.verdicts[-1].drop) == kept + 1


def test_one_signer_says_only_so_much_too_early() -> None:
    fleet = Fleet(1, HOME)
    kept = [fleet.say("ada", Approval(command=f"{n:052d}", key=id_of("ada")))[0].keep for n in range(20)]
    assert kept == [True] * EARLY_PER_SIGNER_MAX + [False] * (20 - EARLY_PER_SIGNER_MAX)


def test_a_full_table_lets_go_of_what_nobody_approves() -> None:
    fleet = Fleet(1, HOME)
    guard = fleet.machines[0].guard
    wanted = a_command(HOME, cls=Impact.PHYSICAL, note="wanted", not_before_s=BEGIN_S + 3600)
    fleet.propose("ada", wanted)
    fleet.approve(wanted, "ada")
    for number in range(COMMANDS_MAX + 20):
        guard.buckets.proposals.clear()
        fleet.propose(NODES[number % 6] if number % 2 else "bob", a_command(HOME, note=str(number)))
        for pending in guard.commands.values():
            pending.proposer = id_of(f"somebody {pending.id}")
    assert len(guard.commands) == COMMANDS_MAX
    assert command_id(encode_command(wanted)) in guard.commands


def test_a_proposer_has_so_many_commands_and_so_many_an_hour() -> None:
    fleet = Fleet(1, HOME)
    for number in range(40):
        fleet.propose("ada", a_command(HOME, note=str(number)))
    assert len(fleet.machines[0].guard.commands) == 16
    fleet.machines[0].guard.buckets.proposals.clear()
    for number in range(40, 60):
        fleet.propose("ada", a_command(HOME, note=str(number)))
    assert len(fleet.machines[0].guard.commands) == COMMANDS_PER_SIGNER_MAX


def test_approvals_by_passkey_make_a_quorum_whoever_brings_them() -> None:
    passkeys = [SoftPasskey(seed=number) for number in range(2)]
    roll = msgspec.structs.replace(
        HOME,
        approvers=tuple(
            Approver(key=NodeId(passkey_id(p.public)), owner=f"person {n}", passkey=p.public, rp=p.rp)
            for n, p in enumerate(passkeys)
        ),
    )
    fleet = Fleet(6, roll)
    command = a_command(roll, cls=Impact.PHYSICAL)
    fleet.approve_by_passkey(command, "node3", passkeys[0])
    fleet.propose("node0", command)
    fleet.run(2)
    assert fleet.acted() == []
    fleet.approve_by_passkey(command, "node3", passkeys[1])
    fleet.run(120)
    assert sorted(fleet.acted()) == NODES
