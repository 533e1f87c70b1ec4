"""Upkeep on whole nodes: a command goes in waves, and witnesses look with their own eyes."""

from __future__ import annotations

import pytest
from tests.kernel.guard.fleet import BEGIN_S, a_command
from tests.test_node import node_of

from worldos.kernel.decisions import Acted
from worldos.kernel.effects import Carry, Effect, Notice, State
from worldos.kernel.events import (
    ClockTicked,
    CommandCarried,
    GuardSet,
    PeerLinked,
    PeerUnlinked,
    StatementsOffered,
)
from worldos.kernel.guard.command import Command, command_id, encode_command
from worldos.kernel.guard.limits import TICK_NS
from worldos.kernel.guard.owner import RollSet, encode_change, remembered
from worldos.kernel.guard.pending import Stage
from worldos.kernel.guard.roll import Approver, Roll, Witness, encode_roll
from worldos.kernel.guard.said import Approval, Did, Health, Outcome, encode_said, read_said, topic_of
from worldos.kernel.guard.waves import wave_of
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS, SECOND
from worldos.model.offer import Offer
from worldos.model.realm import Level, RealmId
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement

NODES = [NodeId(device_key(number).node_id) for number in range(3)]
ME, PEER, THIRD = NODES
PPM = 1_000_000
ROLL = Roll(
    realm=RealmId("realm"),
    level=Level.PERSONAL,
    number=1,
    population=3,
    approvers=(Approver(key=ME, owner="anna"),),
    witnesses=tuple(Witness(node=node, owner=node[:8]) for node in NODES),
    nodes=tuple(sorted(NODES)),
)


def command_with_first(who: NodeId) -> Command:
    """A command whose first wave is this node alone."""
    for number in range(100):
        command = a_command(ROLL, waves_ppm=(300_000, PPM), soak_s=5, beacon=bytes([number]) * 32)
        if wave_of(command, id_of(command), ROLL, who) == 0:
            return command
    raise AssertionError("no beacon has it first")


def id_of(command: Command) -> str:
    return command_id(encode_command(command))


MINE, THEIRS = command_with_first(ME), command_with_first(PEER)


def ready(*linked: NodeId) -> Node:
    """A node with the roll, linked with the others, whose offers it has."""
    node = node_of(0)
    node.wall_ahead_ns = BEGIN_S * SECOND
    node.handle(GuardSet(now_ns=SECOND, change=encode_change(RollSet(roll=encode_roll(ROLL)))))
    for peer in linked or (PEER, THIRD):
        node.handle(PeerLinked(now_ns=SECOND, node=peer, boot=1))
        node.registry.offers[peer] = Offer(
            node=peer, name="p", owner=node.registry.owner, place="", boot=1, number=1, facts={}, resources=()
        )
    return node


def say(node: Node, now_ns: int, topic: Topic, body: bytes, by: NodeId) -> list[Effect]:
    key = device_key(NODES.index(by))
    return node.handle(StatementsOffered(now_ns=now_ns, statements=(sign_statement(key, topic, body),)))


def begun(node: Node, command: Command) -> list[Effect]:
    effects = say(node, 2 * SECOND, Topic.COMMAND, encode_command(command), ME)
    said = Approval(command=id_of(command), key=ME)
    return [*effects, *say(node, 2 * SECOND, topic_of(said), encode_said(said), ME)]


def peer_did(node: Node) -> list[Effect]:
    said = Did(command=id_of(THEIRS), wave=0, outcome=Outcome.DONE)
    return say(node, 3 * SECOND, topic_of(said), encode_said(said), PEER)


def later(node: Node, seconds: int = 8) -> list[Health]:
    """What it says as a witness while time goes by; what it has signed comes back to it."""
    found: list[Health] = []
    for step in range(seconds):
        now_ns = (3 + step) * SECOND + TICK_NS
        for effect in node.handle(ClockTicked(now_ns=now_ns)):
            if isinstance(effect, State) and effect.topic is Topic.HEALTH:
                said = read_said(effect.topic, effect.body)
                found += [said] if isinstance(said, Health) else []
                say(node, now_ns, effect.topic, effect.body, ME)
    return found


def test_without_commands_it_is_never_due() -> None:
    node = ready()
    assert node.upkeep.next_ns(node) == NEVER_NS
    begun(node, MINE)
    assert node.next_deadline_ns() <= 2 * SECOND + TICK_NS


def test_what_was_carried_out_is_told_once_and_goes_into_the_decision_log() -> None:
    node = ready()
    assert [type(effect) for effect in begun(node, MINE) if isinstance(effect, Carry)] == [Carry]
    done = CommandCarried(now_ns=3 * SECOND, command=id_of(MINE), outcome="done", why="")
    effects = node.handle(done)
    assert any(isinstance(effect, State) and effect.topic is Topic.HEALTH for effect in effects)
    assert [made.what for made in node.decisions.made if isinstance(made, Acted)] == ["guard"]
    assert not any(isinstance(effect, State | Notice) for effect in node.handle(done))


def test_it_is_not_this_nodes_turn_while_the_first_one_is_not_vouched_for() -> None:
    node = ready()
    assert not any(isinstance(effect, Carry) for effect in begun(node, THEIRS))
    peer_did(node)
    assert node.guard.commands[id_of(THEIRS)].stage is Stage.WAITING


def test_a_witness_vouches_for_a_node_that_is_there_in_the_same_life() -> None:
    node = ready()
    begun(node, THEIRS)
    peer_did(node)
    assert [(seen.well, seen.sick) for seen in later(node)] == [((PEER,), ())]


@pytest.mark.parametrize(
    "event",
    [PeerUnlinked(now_ns=4 * SECOND, node=PEER), PeerLinked(now_ns=4 * SECOND, node=PEER, boot=2)],
    ids=lambda event: type(event).__name__,
)
def test_a_node_that_is_gone_or_began_anew_is_sick(event: PeerLinked | PeerUnlinked) -> None:
    node = ready()
    begun(node, THEIRS)
    peer_did(node)
    node.handle(ClockTicked(now_ns=3 * SECOND + TICK_NS))
    node.handle(event)
    assert [(seen.well, seen.sick) for seen in later(node)] == [((), (PEER,))]


def test_of_a_node_that_it_never_saw_a_witness_says_nothing() -> None:
    node = ready(THIRD)
    begun(node, THEIRS)
    peer_did(node)
    assert later(node) == []


def test_what_the_shell_left_of_an_earlier_life_is_taken_in() -> None:
    node = ready()
    begun(node, MINE)
    data = remembered(node.guard)
    other = node_of(0)
    other.handle(GuardSet(now_ns=SECOND, change=data))
    assert remembered(other.guard) != b""
    assert other.guard.rolls == node.guard.rolls


def test_a_command_that_came_before_its_roll_is_taken_in_when_it_is_told_again() -> None:
    node = node_of(0)
    node.wall_ahead_ns = BEGIN_S * SECOND
    say(node, 2 * SECOND, Topic.COMMAND, encode_command(MINE), PEER)
    say(node, 2 * SECOND, Topic.COMMAND, encode_command(MINE), PEER)
    assert not node.guard.commands
    node.handle(GuardSet(now_ns=SECOND, change=encode_change(RollSet(roll=encode_roll(ROLL)))))
    say(node, 2 * SECOND, Topic.COMMAND, encode_command(MINE), PEER)
    assert list(node.guard.commands) == [id_of(MINE)]
