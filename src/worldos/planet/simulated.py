"""The same figures from the simulator: whole nodes that say real messages to each other, counted and encoded one by one.

Where the model is arithmetic, this is running: what both say of one site must agree, and ``tests/planet`` holds them to it.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import msgspec

from worldos.kernel.effects import Effect, Send
from worldos.kernel.events import Event
from worldos.model import wire
from worldos.model.limits import SECOND
from worldos.sim.founding import Founding
from worldos.sim.machine import Machine
from worldos.sim.realm_progress import why_no_tree
from worldos.sim.tree import even_tree
from worldos.sim.world import World

FOUND_S: Final = 120
SETTLE_S: Final = 45  # all linked, all told, and one full list of each
CAUSE: Final = {
    "Ping": "probes",
    "Ack": "probes",
    "PingRequest": "probes",
    "Nack": "probes",
    "OfferTold": "offers",
    "KeyLogHave": "key log",
    "KeyLogTold": "key log",
    "PeersTold": "peers",
    "RaftSaid": "council",
    "CenterTold": "told",
    "Register": "registers",
    "Registered": "registers",
    "RegisterRefused": "registers",
    "SummaryTold": "summaries",
}
OTHER: Final = "other"


class Count(msgspec.Struct, kw_only=True):
    """What the nodes of a world sent: messages and payload bytes by kind."""

    messages: Counter[str] = msgspec.field(default_factory=Counter)
    payload: Counter[str] = msgspec.field(default_factory=Counter)

    def stepped(self, _machine: Machine, _event: Event, effects: list[Effect]) -> None:
        """Look at what a node sends after an event (a watcher of the world)."""
        for effect in effects:
            if type(effect) is Send:
                kind = type(effect.message).__name__
                self.messages[kind] += 1
                self.payload[kind] += len(wire.encode(effect.message))

    def clear(self) -> None:
        """Begin anew."""
        self.messages.clear()
        self.payload.clear()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An even tree: so many sites of so many nodes, ``fan`` of them under a realm, in so many levels."""

    sites: int
    size: int
    fan: int
    levels: int

    @property
    def nodes(self) -> int:
        """Return how many nodes there are in all."""
        return self.sites * self.size


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What a node of a simulated site sent in a second on average, by cause."""

    nodes: int
    seconds: int
    messages: dict[str, float]
    payload: dict[str, float]


def watch_site(nodes: int, seconds: int, *, seed: int = 1, changes_every_s: int = 0) -> Observed:
    """Run a site of so many nodes and count; with ``changes_every_s`` each offer changes by half that often."""
    world = World(seed, nodes, drift=False)
    world.run_until(world.now_ns + SETTLE_S * SECOND)
    count = Count()
    world.watchers.append(count)
    end_ns = world.now_ns + seconds * SECOND
    if changes_every_s:
        for machine in world.machines:
            first_ns = int(world.dice.random() * changes_every_s * SECOND)
            world.later(first_ns, _change, world, machine, 50, changes_every_s)
    world.run_until(end_ns)
    return _observed(count, nodes, seconds)


def watch_return(nodes: int, seconds: int, *, seed: int = 1) -> Observed:
    """Run a site in which one node crashes and comes back after a third of the time, less what an idle one sends; per node."""
    idle = watch_site(nodes, seconds, seed=seed)
    world = World(seed, nodes, drift=False)
    world.run_until(world.now_ns + SETTLE_S * SECOND)
    count = Count()
    world.watchers.append(count)
    victim = world.machines[-1]
    world.crash(victim)
    world.later(seconds * SECOND // 3, world.start, victim)
    world.run_until(world.now_ns + seconds * SECOND)
    seen = _observed(count, nodes, seconds)
    return Observed(
        nodes=nodes,
        seconds=seconds,
        messages={k: (v - idle.messages.get(k, 0.0)) * seconds for k, v in seen.messages.items()},
        payload={k: (v - idle.payload.get(k, 0.0)) * seconds for k, v in seen.payload.items()},
    )


def watch_tree(plan: Plan, seconds: int, *, seed: int = 1) -> Observed:
    """Run sites under a tree of realms, founded and joined by people, until it is one tree and at rest; then count."""
    tree = even_tree(plan.sites, plan.size, plan.fan, plan.levels, Random(seed))
    world = World(seed, tree.sites, with_realms=True, drift=False)
    world.run_until(world.now_ns + 3 * SECOND)
    founding = Founding(world, tree)
    end_ns = world.now_ns + FOUND_S * SECOND
    while not founding.done or why_no_tree(world, tree):
        world.run_until(world.now_ns + SECOND // 10)
        assert world.now_ns < end_ns, "the realms do not come about"
    world.run_until(world.now_ns + SETTLE_S * SECOND)
    count = Count()
    world.watchers.append(count)
    world.run_until(world.now_ns + seconds * SECOND)
    return _observed(count, plan.nodes, seconds)


def _change(world: World, machine: Machine, percent: int, every_s: int) -> None:
    world.scan(machine, memory_percent=percent)
    world.later(every_s * SECOND, _change, world, machine, 150 - percent, every_s)


def _observed(count: Count, nodes: int, seconds: int) -> Observed:
    messages: Counter[str] = Counter()
    payload: Counter[str] = Counter()
    for kind, amount in count.messages.items():
        cause = CAUSE.get(kind, OTHER)
        messages[cause] += amount
        payload[cause] += count.payload[kind]
    share = 1 / (nodes * seconds)
    return Observed(
        nodes=nodes,
        seconds=seconds,
        messages={cause: amount * share for cause, amount in sorted(messages.items())},
        payload={cause: amount * share for cause, amount in sorted(payload.items())},
    )
