"""Witnesses: a gate opens when enough of them saw nodes that did it, and are well, after the soak."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.guard.fleet import a_command, a_roll, id_of

from worldos.kernel.guard.command import command_id, encode_command
from worldos.kernel.guard.said import Did, Health, Outcome
from worldos.kernel.guard.waves import wave_of
from worldos.kernel.guard.witness import Gate, carried_out, gate, is_sick, witnesses_needed
from worldos.model.ids import NodeId
from worldos.model.realm import Level

NODES = [f"node{number}" for number in range(10)]
WITNESSES = [f"w{number}" for number in range(5)]
FIRM = a_roll(Level.ENTERPRISE, NODES, ["ada", "bob", "cyd"], WITNESSES)
COMMAND = a_command(FIRM)
KNOWN = command_id(encode_command(COMMAND))
FIRST = tuple(sorted(node for node in FIRM.nodes if wave_of(COMMAND, KNOWN, FIRM, node) == 0))
LATER = next(node for node in FIRM.nodes if wave_of(COMMAND, KNOWN, FIRM, node) == 3)
DID = {node: Did(command=KNOWN, wave=0, outcome=Outcome.DONE) for node in FIRST}
LATE_S = COMMAND.not_before_s + COMMAND.soak_s


def well(nodes: tuple[NodeId, ...] = FIRST, at_s: int = LATE_S, sick: tuple[NodeId, ...] = ()) -> Health:
    return Health(command=KNOWN, wave=0, at_s=at_s, well=nodes, sick=sick)


def ask(healths: dict[str, Health], did: dict[NodeId, Did] | None = None, wave: int = 0) -> Gate:
    seen = {id_of(name): health for name, health in healths.items()}
    return gate(COMMAND, KNOWN, FIRM, wave, DID if did is None else did, seen)


def test_four_of_five_open_it_and_three_do_not() -> None:
    assert ask(dict.fromkeys(WITNESSES[:4], well())).is_open
    closed = ask(dict.fromkeys(WITNESSES[:3], well()))
    assert not closed.is_open
    assert "3 of 4" in closed.why


def test_who_is_no_witness_opens_nothing() -> None:
    assert not ask(dict.fromkeys(["x1", "x2", "x3", "x4", "x5"], well())).is_open


def test_nodes_that_did_nothing_prove_nothing() -> None:
    assert not ask(dict.fromkeys(WITNESSES, well()), did={}).is_open
    refused = {node: Did(command=KNOWN, wave=0, outcome=Outcome.REFUSED) for node in FIRST}
    assert not ask(dict.fromkeys(WITNESSES, well()), did=refused).is_open
    assert not ask(dict.fromkeys(WITNESSES, well(FIRST[:2]))).is_open


def test_nodes_of_another_wave_prove_nothing() -> None:
    liar = Did(command=KNOWN, wave=0, outcome=Outcome.DONE)
    did = {**{node: DID[node] for node in FIRST[:2]}, LATER: liar}
    named = tuple(sorted((*FIRST[:2], LATER)))
    assert not ask(dict.fromkeys(WITNESSES, well(named)), did=did).is_open
    assert not carried_out(COMMAND, KNOWN, FIRM, LATER, liar)


def test_what_was_seen_before_the_soak_was_over_counts_nothing() -> None:
    assert not ask(dict.fromkeys(WITNESSES, well(at_s=LATE_S - 1))).is_open


def test_one_witness_that_sees_ghosts_does_not_stop_it_and_two_trip_the_breaker() -> None:
    bad = well(FIRST[2:], sick=FIRST[:2])
    good = dict.fromkeys(WITNESSES[:4], well())
    assert ask({**good, WITNESSES[4]: bad}).is_open
    two = ask({**dict.fromkeys(WITNESSES[:3], well()), WITNESSES[3]: bad, WITNESSES[4]: bad})
    assert not two.is_open
    assert two.is_sick


def test_one_node_that_went_to_sleep_freezes_nothing_and_opens_nothing() -> None:
    asleep = ask(dict.fromkeys(WITNESSES, well(FIRST[1:], sick=FIRST[:1])))
    assert (asleep.is_open, asleep.is_sick) == (False, False)


@pytest.mark.parametrize(
    ("well_ones", "bad", "sick"), [(0, 1, 1), (1, 1, 0), (0, 2, 1), (2, 1, 0), (1, 2, 1), (15, 2, 0), (13, 3, 1)]
)
def test_how_many_are_the_commands_doing(well_ones: int, bad: int, sick: int) -> None:
    names = [NodeId(f"{number:03d}") for number in range(well_ones + bad)]
    did = {name: Did(command=KNOWN, wave=0, outcome=Outcome.DONE) for name in names}
    said = Health(command=KNOWN, wave=0, at_s=1, well=tuple(names[bad:]), sick=tuple(names[:bad]))
    assert is_sick(said, did) == bool(sick)


def test_sick_nodes_that_did_nothing_are_no_reason() -> None:
    bad = well((), sick=(LATER,))
    assert not ask(dict.fromkeys(WITNESSES, bad)).is_sick


def test_silence_waits_and_does_not_trip() -> None:
    assert ask({}) == Gate(is_open=False, why="wave 0 is vouched for by 0 of 4 witnesses")


def test_a_wave_without_nodes_is_passed() -> None:
    assert ask({}, wave=1).is_open


def test_without_witnesses_no_gate_opens() -> None:
    alone = a_roll(Level.HOME, NODES, ["ada"])
    command = a_command(alone)
    known = command_id(encode_command(command))
    assert not gate(command, known, alone, 0, {}, {}).is_open
    assert [witnesses_needed(many) for many in (0, 1, 2, 3, 4, 5, 10)] == [1, 1, 2, 3, 4, 4, 8]


def test_witnesses_of_one_owner_are_one() -> None:
    home = a_roll(Level.HOME, NODES, ["ada"], WITNESSES)
    same = home.witnesses[0].owner

    roll = msgspec.structs.replace(
        home,
        witnesses=tuple(msgspec.structs.replace(w, owner=same if n < 4 else "b") for n, w in enumerate(home.witnesses)),
    )
    command = a_command(roll)
    known = command_id(encode_command(command))
    first = tuple(sorted(n for n in roll.nodes if wave_of(command, known, roll, n) == 0))
    did = {node: Did(command=known, wave=0, outcome=Outcome.DONE) for node in first}
    said = Health(command=known, wave=0, at_s=command.not_before_s + command.soak_s, well=first)
    assert not gate(command, known, roll, 0, did, {id_of(name): said for name in WITNESSES[:4]}).is_open
    assert gate(command, known, roll, 0, did, {id_of(name): said for name in WITNESSES}).is_open
