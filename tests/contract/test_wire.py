"""What both ways to other nodes promise: once and in order between two lives, over cuts, and to members only.

``agent``: two fabrics with real TLS links on the loopback, through a cable that can be cut. ``sim``: two simulated machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from tests.fabric.fabrics import Cable, Node, device
from tests.sim.worlds import world_of
from worldos.kernel.events import PeerLinked, PeerSaid
from worldos.model import wire
from worldos.model.ids import LeaseId, NodeId
from worldos.model.limits import MS
from worldos.model.wire import LeaseGone, PeerMessage
from worldos.ports import Wire
from worldos.sim.machine import device_key

PATIENCE_S = 30.0
SPAN_S = 0.5


class Pair(Protocol):
    """Node 0 and node 1. ``heard`` is what node 1 was told: ``link BOOT`` or a word."""

    heard: list[str]

    @property
    def way(self) -> Wire:
        """The wire of node 0."""

    @property
    def other(self) -> NodeId:
        """The id of node 1."""

    def wait(self, condition: Callable[[], bool], *, bound_s: float = PATIENCE_S) -> bool:
        """Let time pass until something is so, or the bound is reached."""

    def connect(self) -> None: ...
    def cut(self) -> None: ...
    def heal(self) -> None: ...
    def restart(self) -> None:
        """Let node 0 start again, in its next life."""


class Sender:
    """What agent/network.py does with a fabric, and no more."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def send(self, node: NodeId, message: PeerMessage) -> None:
        self.node.fabric.send(node, wire.encode(message))

    def forget(self, node: NodeId, why: str) -> None:
        self.node.fabric.forget(node, why)


class RealPair:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.heard: list[str] = []
        self.far = Node(2, (1,))
        notes = self.far.notes
        notes.on_message = lambda node, data: self.heard.append(wire.decode(data).lease)  # type: ignore[method-assign]
        notes.on_peer = lambda node, boot, via, rtt_us: self.heard.append(f"link {boot}")  # type: ignore[method-assign]
        self.do(self.far.fabric.start())
        self.cable = Cable(self.far.fabric.port)
        self.do(self.cable.start())
        self.boot = 0
        self._begin()

    def do(self, work) -> None:
        self.loop.run_until_complete(work)

    def _begin(self) -> None:
        self.boot += 1
        self.near = Node(1, (2,), boot=self.boot, listen=None)
        self.do(self.near.fabric.start())
        self.way = Sender(self.near)

    @property
    def other(self) -> NodeId:
        return self.far.id

    def wait(self, condition: Callable[[], bool], *, bound_s: float = PATIENCE_S) -> bool:
        async def passing() -> None:
            end_s = self.loop.time() + bound_s
            while not condition() and self.loop.time() < end_s:  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)

        self.do(passing())
        return condition()

    def connect(self) -> None:
        self.near.fabric.connect(self.other, (self.cable.address,))

    def cut(self) -> None:
        self.cable.cut()

    def heal(self) -> None:
        self.cable.heal()

    def restart(self) -> None:
        self.do(self.near.fabric.close())
        self._begin()
        self.connect()

    def close(self) -> None:
        self.cable.heal()
        for work in (self.near.fabric.close(), self.cable.stop(), self.far.fabric.close()):
            self.do(work)
        self.loop.close()


class SimulatedPair:
    def __init__(self) -> None:
        self.world = world_of(1, 1)
        self.heard: list[str] = []
        self.near, self.far = self.world.machines
        for session in list(self.world.sessions.sessions.values()):
            self.cut()
            self.world.sessions.end(session)
        self.world.watchers.append(self)

    def stepped(self, machine, event, effects) -> None:
        if machine is self.far and type(event) is PeerLinked:
            self.heard.append(f"link {event.boot}")
        elif machine is self.far and type(event) is PeerSaid and type(event.message) is LeaseGone:
            self.heard.append(event.message.lease)

    @property
    def way(self) -> Wire:
        return self.near.wire

    @property
    def other(self) -> NodeId:
        return self.far.id

    def wait(self, condition: Callable[[], bool], *, bound_s: float = PATIENCE_S) -> bool:
        end_ns = self.world.now_ns + int(bound_s * 1e9)
        while not condition() and self.world.now_ns < end_ns:
            self.world.run_until(self.world.now_ns + 5 * MS)
        return condition()

    def connect(self) -> None:
        self.heal()

    def cut(self) -> None:
        self.world.sessions.cut(0, 1)
        self.world.sessions.cut(1, 0)

    def heal(self) -> None:
        self.world.sessions.heal(0, 1)
        self.world.sessions.heal(1, 0)

    def restart(self) -> None:
        self.world.crash(self.near)
        self.world.start(self.near)

    def close(self) -> None:
        pass


@pytest.fixture(params=[RealPair, SimulatedPair], ids=["agent", "sim"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = request.param()
    yield made
    made.close()


def say(pair: Pair, *words: str) -> None:
    for word in words:
        pair.way.send(pair.other, LeaseGone(lease=LeaseId(word), why="a test"))


def words(pair: Pair) -> list[str]:
    return [word for word in pair.heard if not word.startswith("link")]


def linked(pair: Pair) -> None:
    pair.connect()
    assert pair.wait(lambda: "link 1" in pair.heard)


def test_the_link_is_told_before_the_first_word(pair: Pair) -> None:
    linked(pair)
    say(pair, "a")
    assert pair.wait(lambda: pair.heard[-1] == "a")
    assert pair.heard[0] == "link 1"


def test_words_come_once_and_in_order(pair: Pair) -> None:
    linked(pair)
    many = [f"word {number}" for number in range(500)]
    say(pair, *many)
    assert pair.wait(lambda: len(words(pair)) >= len(many))
    assert words(pair) == many


def test_what_is_said_before_the_first_link_comes_with_it(pair: Pair) -> None:
    say(pair, "early")
    linked(pair)
    assert pair.wait(lambda: words(pair) == ["early"])


def test_what_is_said_during_a_cut_comes_after_it_once(pair: Pair) -> None:
    linked(pair)
    say(pair, "before")
    assert pair.wait(lambda: words(pair) == ["before"])
    pair.cut()
    say(pair, "during 1", "during 2")
    assert not pair.wait(lambda: len(words(pair)) > 1, bound_s=SPAN_S)
    pair.heal()
    say(pair, "after")
    assert pair.wait(lambda: words(pair) == ["before", "during 1", "during 2", "after"])


def test_a_cut_that_is_longer_than_a_link_lasts_loses_nothing(pair: Pair) -> None:
    linked(pair)
    pair.cut()
    say(pair, "during")
    assert not pair.wait(lambda: bool(words(pair)), bound_s=3.0)
    pair.heal()
    assert pair.wait(lambda: words(pair) == ["during"])


def test_after_a_node_starts_again_nothing_of_its_old_life_is_heard(pair: Pair) -> None:
    """What was on the wire may still come before the news of the new life, and never behind it."""
    linked(pair)
    pair.cut()
    say(pair, "of the old life")
    pair.restart()
    pair.heal()
    assert pair.wait(lambda: "link 2" in pair.heard)
    say(pair, "of the new one")
    assert pair.wait(lambda: pair.heard[-1] == "of the new one")
    assert pair.heard[pair.heard.index("link 2") :] == ["link 2", "of the new one"]


def test_a_stranger_is_told_nothing_and_nobody_minds(pair: Pair) -> None:
    linked(pair)
    pair.way.send(NodeId(device_key(99).node_id), LeaseGone(lease=LeaseId("x"), why=""))
    pair.way.send(NodeId(device(98).node_id), LeaseGone(lease=LeaseId("y"), why=""))
    say(pair, "a")
    assert pair.wait(lambda: words(pair) == ["a"])


def test_what_was_under_way_to_who_is_forgotten_is_lost(pair: Pair) -> None:
    linked(pair)
    pair.cut()
    say(pair, "lost")
    pair.way.forget(pair.other, "a test")
    pair.heal()
    assert not pair.wait(lambda: bool(words(pair)), bound_s=SPAN_S)
