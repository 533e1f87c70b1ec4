"""Worlds: the same seed does the same, step for step, in any process; and nodes in one live as on machines."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.sim.worlds import after, begin, plan, world_of

from worldos.kernel.events import ClockTicked
from worldos.model.limits import SECOND
from worldos.sim.checkers import check_well
from worldos.sim.world import World

DIGEST = """
import sys
from hashlib import blake2b
import msgspec
from worldos.sim.run import Run, Settings
run = Run(int(sys.argv[1]), Settings(seconds=6, harsh=sys.argv[2] == "harsh"))
digest = blake2b(digest_size=16)
class Ear:
    def stepped(self, machine, event, effects):
        digest.update(msgspec.msgpack.encode((run.world.now_ns, machine.number, event, effects)))
run.world.watchers.append(Ear())
run.run()
print(digest.hexdigest(), run.world.steps)
"""


@pytest.mark.parametrize("mode", ["calm", "harsh"])
def test_one_seed_is_one_story_whatever_the_order_of_sets(mode: str) -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, "5", mode],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]


def test_nodes_of_a_new_world_know_each_other_within_a_second() -> None:
    world = World(3, 6)
    world.run_until(2 * SECOND)
    check_well(world)


def test_a_crashed_machine_is_called_dead_and_comes_back_in_another_life() -> None:
    world = world_of(1, 1, 1)
    one, two = world.machines[:2]
    world.crash(one)
    after(world, 10 * SECOND)
    assert one.id not in two.node.membership.alive()
    world.start(one)
    after(world, 2 * SECOND)
    assert two.node.paths[one.id].boot == 2
    check_well(world)


def test_who_leaves_is_not_suspected_but_gone_at_once() -> None:
    world = world_of(1, 1, 1)
    world.leave(world.machines[0])
    after(world, SECOND)
    assert all(m.node.membership.status(world.machines[0].id) == "left" for m in world.machines[1:])


def test_a_machine_without_its_disk_comes_back_as_another_device() -> None:
    world = world_of(1, 1)
    newcomer = world.lose_disk(world.machines[1])
    after(world, 5 * SECOND)
    node = world.machines[0].node
    assert list(node.paths) == [newcomer.id]
    assert not node.is_member(world.machines[1].id)
    check_well(world)


def test_a_revoked_machine_is_out_at_once_and_ends_itself() -> None:
    world = world_of(4, 4, 4)
    one, two, out = world.machines
    program = begin(world, out, plan(4000, 4000, apart=True, calls=99, rest_ns=SECOND))
    after(world, SECOND)
    assert program.granted
    world.revoke(out)
    after(world, SECOND)
    assert not out.up
    assert not one.node.leases.leases
    assert not two.node.leases.leases
    check_well(world)


def test_a_stopped_machine_accuses_nobody_when_it_goes_on() -> None:
    world = world_of(1, 1, 1)
    sleeper = world.machines[0]
    world.pause(sleeper)
    after(world, 20 * SECOND)
    world.resume(sleeper)
    after(world, 5 * SECOND)
    check_well(world)
    assert sleeper.node.membership.statistics()["deaths"] == 0


def test_nobody_is_woken_without_need() -> None:
    """Two idle nodes ping each other four times a second, and that is all that wakes them."""
    world = world_of(1, 1)
    ticks = []
    world.watchers.append(
        type("Ear", (), {"stepped": lambda _, m, event, e: ticks.append(type(event) is ClockTicked)})()
    )
    after(world, 10 * SECOND)
    assert sum(ticks) <= 2 * 10 * 5


def test_messages_as_bytes_change_nothing() -> None:
    stories = []
    for in_bytes in (False, True):
        world = World(4, 3, in_bytes=in_bytes)
        begin(world, world.machines[0], plan(500, 500))
        world.run_until(5 * SECOND)
        stories.append((world.steps, world.now_ns, [len(m.node.leases.leases) for m in world.machines]))
    assert stories[0] == stories[1]


def test_one_that_nobody_knows_yet_is_put_out_by_nobody() -> None:
    world = World(1, 3, drift=False)
    after(world, 2 * SECOND)
    newcomer = world.lose_disk(world.machines[1])
    world.crash(world.machines[0])  # who let it in
    assert world.revoke(newcomer) is world.machines[2]
    assert newcomer.lost
