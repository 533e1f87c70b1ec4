"""Sessions: once and in order while two lives last, whatever the ways do; and the harsh mode, where nothing is sure."""

from __future__ import annotations

import pytest
from tests.sim.worlds import after, world_of

from worldos.kernel.events import PathMeasured, PeerLinked, PeerSaid, PeerUnlinked
from worldos.model.limits import MS, SECOND
from worldos.model.wire import LeaseGone
from worldos.sim.rules import DROP, Deliver, Duplicate
from worldos.sim.world import World


class Ear:
    """What a machine heard of the fabric, without the pings."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.heard: list[object] = []
        world.watchers.append(self)

    def stepped(self, machine, event, effects) -> None:
        if machine.number != self.number:
            return
        if type(event) is PeerSaid and type(event.message) is LeaseGone:
            self.heard.append(event.message.lease)
        elif type(event) in (PeerLinked, PeerUnlinked):
            self.heard.append(type(event).__name__)
        elif type(event) is PathMeasured:
            self.heard.append(f"via {self.world.by_id[event.via].name}" if event.via else "direct")


def say(world: World, source: int, target: int, *words: str) -> None:
    for word in words:
        message = LeaseGone(lease=word, why="a test")
        world.sessions.send(world.machines[source], world.machines[target].id, message)


def test_messages_come_once_and_in_order_whatever_is_lost_doubled_or_late() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    verdicts = iter([DROP, Duplicate(MS), Deliver(300 * MS), DROP] * 5)
    world.sessions.rules.add(lambda _: next(verdicts, Deliver(0)))
    say(world, 0, 1, *"abcdefgh")
    after(world, 5 * SECOND)
    assert ear.heard == list("abcdefgh")


def test_what_is_sent_during_a_short_cut_comes_after_it() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    world.sessions.cut(0, 1)
    say(world, 0, 1, "a", "b")
    after(world, SECOND)
    assert ear.heard == []
    world.sessions.heal(0, 1)
    after(world, SECOND)
    assert ear.heard == ["a", "b"]


def test_a_silent_link_is_closed_and_the_session_goes_on_when_it_heals() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    for way in ((0, 1), (1, 0)):
        world.sessions.cut(*way)
    say(world, 0, 1, "a")
    after(world, 10 * SECOND)
    assert ear.heard == ["PeerUnlinked"]
    for way in ((0, 1), (1, 0)):
        world.sessions.heal(*way)
    after(world, SECOND)
    assert ear.heard == ["PeerUnlinked", "PeerLinked", "direct", "a"]


def test_after_a_minute_without_a_way_what_waited_is_lost() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    for way in ((0, 1), (1, 0)):
        world.sessions.cut(*way)
    say(world, 0, 1, "a")
    after(world, 70 * SECOND)
    for way in ((0, 1), (1, 0)):
        world.sessions.heal(*way)
    after(world, SECOND)
    assert "a" not in ear.heard
    assert ear.heard[-2:] == ["PeerLinked", "direct"]


def test_what_was_under_way_to_a_life_is_not_told_to_the_next() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    say(world, 0, 1, "a")
    world.crash(world.machines[1])
    world.start(world.machines[1])
    after(world, SECOND)
    assert ear.heard == ["PeerLinked", "direct"]


def test_a_third_machine_relays_between_two_that_are_cut_off_and_not_longer_than_needed() -> None:
    world = world_of(1, 1, 1)
    ear = Ear(world, 1)
    for way in ((0, 1), (1, 0)):
        world.sessions.cut(*way)
    say(world, 0, 1, "a")
    after(world, SECOND)
    assert ear.heard == ["via n2", "a"]
    for way in ((0, 1), (1, 0)):
        world.sessions.heal(*way)
    after(world, SECOND)
    assert ear.heard == ["via n2", "a", "direct"]


def test_a_sleeping_machine_finds_everything_when_it_goes_on() -> None:
    world = world_of(1, 1)
    ear = Ear(world, 1)
    world.pause(world.machines[1])
    say(world, 0, 1, "a", "b")
    after(world, SECOND)
    assert ear.heard == []
    world.resume(world.machines[1])
    after(world, SECOND)
    assert ear.heard == ["a", "b"]


@pytest.mark.parametrize("cut", [False, True])
def test_in_the_harsh_mode_messages_are_lost_doubled_and_overtaken(cut: bool) -> None:
    world = world_of(1, 1, harsh=True)
    ear = Ear(world, 1)
    verdicts = iter([DROP, Duplicate(MS), Deliver(300 * MS)])
    world.sessions.rules.add(
        lambda parcel: next(verdicts, Deliver(0)) if type(parcel.message) is LeaseGone else Deliver(0)
    )
    if cut:
        world.sessions.cut(0, 1)
    say(world, 0, 1, "a", "b", "c", "d")
    after(world, SECOND)
    assert sorted(ear.heard) == ([] if cut else ["b", "b", "c", "d"])
    assert cut or ear.heard.index("d") < ear.heard.index("c")
