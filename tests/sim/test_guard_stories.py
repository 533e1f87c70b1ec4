"""The guard on simulated machines: walls between them, machines that sleep or die and come back, clocks that drift.

Whatever happens, a machine carries a command out only with its quorum and after the waves before it, once; and when all is well
again every machine has carried it out, or none does any more.
"""

from __future__ import annotations

from random import Random

import pytest
from tests.kernel.guard.fleet import a_command

from worldos.kernel.effects import Carry, Effect
from worldos.kernel.events import Event, GuardSet, StatementsOffered
from worldos.kernel.guard.command import Command, command_id, encode_command
from worldos.kernel.guard.owner import RollSet, encode_change
from worldos.kernel.guard.roll import Approver, Roll, Witness, encode_roll
from worldos.kernel.guard.said import Approval, Did, Halt, Outcome, Said, encode_said, read_said, topic_of
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Topic
from worldos.sim.machine import Machine
from worldos.sim.world import World
from worldos.trust.statements import sign_statement

SIZE = 6
MINUTE = 60 * SECOND


class Oracle:
    """Looks at every step: what was carried out, and whether it might be, by the statements themselves and nothing else."""

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.carried: dict[str, list[int]] = {}
        self.done: dict[str, set[int]] = {}

    def stepped(self, machine: Machine, event: Event, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Carry):
                self._look(machine, command_id(effect.command))

    def _look(self, machine: Machine, known: str) -> None:
        assert machine.node is not None
        kept = machine.node.statements
        owners = {approver.key: approver.owner for approver in self.roll.approvers}
        approved = {
            owners[statement.signer]
            for statement in kept.of(Topic.APPROVAL).values()
            if read_said(Topic.APPROVAL, statement.body).command == known
        }
        assert len(approved) >= 2, "carried out without its quorum"
        pending = machine.node.guard.commands[known]
        if pending.wave:
            did = [read_said(Topic.HEALTH, statement.body) for statement in kept.of(Topic.HEALTH).values()]
            first = [each for each in did if isinstance(each, Did) and each.wave == 0 and each.outcome is Outcome.DONE]
            assert len(first) >= 3, "carried out before the canaries"
        assert machine.number not in self.done.setdefault(known, set()), "carried out twice"
        self.done[known].add(machine.number)


def a_site(seed: int) -> tuple[World, Roll, Oracle]:
    world = World(seed, SIZE)
    nodes = tuple(sorted(machine.id for machine in world.machines))
    roll = Roll(
        realm=RealmId("home"),
        level=Level.HOME,
        number=1,
        population=SIZE,
        approvers=tuple(Approver(key=m.id, owner=m.name) for m in world.machines[:3]),
        witnesses=tuple(Witness(node=m.id, owner=m.name) for m in world.machines[:5]),
        nodes=nodes,
    )
    oracle = Oracle(roll)
    world.watchers.append(oracle)
    for machine in world.machines:
        change = encode_change(RollSet(roll=encode_roll(roll)))
        world.feed(machine, GuardSet(now_ns=world.clock_of(machine), change=change))
    world.run_until(world.now_ns + 2 * SECOND)
    return world, roll, oracle


def state(world: World, machine: Machine, topic: Topic, body: bytes) -> None:
    said = sign_statement(machine.key, topic, body)
    world.feed(machine, StatementsOffered(now_ns=world.clock_of(machine), statements=(said,)))


def say(world: World, machine: Machine, said: Said) -> None:
    state(world, machine, topic_of(said), encode_said(said))


def due_soon(world: World, roll: Roll, note: str = "") -> Command:
    machine = world.machines[0]
    assert machine.node is not None
    now_s = machine.node.wall_s(world.clock_of(machine))
    return a_command(roll, cls=Impact.PHYSICAL, not_before_s=now_s, expires_s=now_s + 86_400, note=note)


def disturb(world: World, dice: Random, kinds: int) -> None:
    """Put a wall up, let one sleep, or let one die; all is well again within a minute."""
    machine = dice.choice(world.machines)
    kind = dice.randrange(kinds)
    back_ns = dice.randrange(1, 60) * SECOND
    if kind == 0:
        wall = world.sessions.raise_wall(set(dice.sample(range(SIZE), dice.randrange(1, SIZE))))
        world.later(back_ns, world.sessions.take_down, wall)
    elif kind == 1 and machine.running:
        world.pause(machine)
        world.later(back_ns, lambda: world.resume(machine) if machine.up and not machine.running else None)
    elif machine.running:
        world.crash(machine)
        world.later(back_ns, lambda: None if machine.up else world.start(machine))


@pytest.mark.parametrize("seed", range(4))
def test_in_a_disturbed_site_it_is_carried_out_once_by_all_and_never_before_its_time(seed: int) -> None:
    world, roll, oracle = a_site(seed)
    dice = Random(seed)
    command = due_soon(world, roll)
    known = command_id(encode_command(command))
    state(world, world.machines[0], Topic.COMMAND, encode_command(command))
    say(world, world.machines[0], Approval(command=known, key=world.machines[0].id))
    for _ in range(6):
        disturb(world, dice, 3)
        world.run_until(world.now_ns + 10 * SECOND)
    assert not oracle.done, "one approval is no quorum"
    world.run_until(world.now_ns + MINUTE)
    say(world, world.machines[1], Approval(command=known, key=world.machines[1].id))
    for _ in range(6):
        disturb(world, dice, 2)  # who dies after it did it stays sick: a person looks at that
        world.run_until(world.now_ns + 20 * SECOND)
    world.run_until(world.now_ns + 4 * MINUTE)
    nodes = [machine.node for machine in world.machines if machine.node is not None]
    if not any(node.guard.breakers for node in nodes):
        assert oracle.done[known] == set(range(SIZE))
    assert len(nodes) == SIZE


def test_a_stop_on_one_side_of_a_wall_reaches_the_other_when_it_falls() -> None:
    world, roll, oracle = a_site(1)
    command = due_soon(world, roll)
    known = command_id(encode_command(command))
    state(world, world.machines[0], Topic.COMMAND, encode_command(command))
    for machine in world.machines[:2]:
        world.run_until(world.now_ns + SECOND)
        say(world, machine, Approval(command=known, key=machine.id))
    world.run_until(world.now_ns + 5 * SECOND)
    assert len(oracle.done[known]) == 3
    waiting = [machine for machine in world.machines if machine.number not in oracle.done[known]]
    wall = world.sessions.raise_wall({waiting[0].number})
    say(world, waiting[0], Halt(command=known, why="no"))
    world.run_until(world.now_ns + 20 * SECOND)
    world.sessions.take_down(wall)
    world.run_until(world.now_ns + 3 * MINUTE)
    assert len(oracle.done[known]) == 3
    assert NodeId(waiting[1].id) in roll.nodes
