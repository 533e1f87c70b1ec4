"""Choosing among ways, told as stories in milliseconds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.fabric.limits import (
    DOUBT_NS,
    LINK_SILENT_NS_MAX,
    MS,
    PROBE_NS,
    SECOND,
    SETTLE_NS,
    SPARE_KEPT_NS,
    TICK_NS,
    TOGETHER_NS,
)
from worldos.fabric.paths import Action, Ask, Drop, Paths, SeekRelay


@dataclass(eq=False)
class FakeWay:
    """A link that answers as long as it is alive."""

    via: str = ""
    dialed: bool = True
    alive: bool = True
    heard_ns: int = 0
    asked_ns: int = 0
    rtt_us: int = 1000

    def silent_ns(self, now_ns: int) -> int:
        return now_ns - self.asked_ns if self.asked_ns > self.heard_ns else 0

    def ask(self, now_ns: int) -> None:
        if self.asked_ns <= self.heard_ns:
            self.asked_ns = now_ns
        if self.alive:
            self.heard_ns = now_ns + MS


class World:
    """Paths with a clock."""

    def __init__(self, *, first: bool = True) -> None:
        self.paths: Paths[FakeWay] = Paths(first=first)
        self.now_ns = SECOND
        self.said: list[Action[FakeWay]] = []

    def act(self, actions: list[Action[FakeWay]]) -> None:
        self.said += actions
        for action in actions:
            match action:
                case Ask(way):
                    way.ask(self.now_ns)
                case Drop(way):
                    self.act(self.paths.remove(way, self.now_ns))
                case _:
                    pass

    def add(self, way: FakeWay) -> FakeWay:
        way.heard_ns = self.now_ns
        self.act(self.paths.add(way, self.now_ns))
        return way

    def run(self, for_ns: int, *, unacked: bool = False, busy: bool = False) -> None:
        end_ns = self.now_ns + for_ns
        while self.now_ns < end_ns:
            self.now_ns += TICK_NS
            if unacked and self.paths.active is not None:
                self.paths.active.ask(self.now_ns)
            self.act(self.paths.tick(self.now_ns, unacked=unacked, busy=busy))

    def asks(self, way: FakeWay) -> int:
        return sum(isinstance(one, Ask) and one.way is way for one in self.said)


def test_an_idle_way_is_asked_once_a_second() -> None:
    world = World()
    way = world.add(FakeWay())
    assert world.paths.active is way
    world.run(10 * SECOND)
    assert 10 <= world.asks(way) <= 11
    assert not any(isinstance(one, SeekRelay) for one in world.said)


def test_a_silent_direct_way_gives_way_to_the_relay_that_answers_and_takes_over_again_on_heal() -> None:
    world = World()
    direct = world.add(FakeWay())
    world.run(SECOND)
    direct.alive = False
    begun_ns = world.now_ns
    while not any(isinstance(one, SeekRelay) for one in world.said):
        world.run(TICK_NS, unacked=True)
    assert world.now_ns - begun_ns <= DOUBT_NS + 2 * TICK_NS
    relay = world.add(FakeWay(via="r"))
    world.run(TICK_NS, unacked=True)
    assert world.paths.active is relay
    world.run(LINK_SILENT_NS_MAX + PROBE_NS)
    assert direct not in world.paths.ways
    again = world.add(FakeWay())
    assert world.paths.active is relay, "not before it has been good for a while"
    world.run(SETTLE_NS + PROBE_NS + TICK_NS)
    assert world.paths.active is again


def test_a_warm_spare_is_asked_before_it_is_used() -> None:
    world = World()
    direct, spare = world.add(FakeWay()), world.add(FakeWay(via="r"))
    world.run(SECOND, busy=True)
    direct.alive = spare.alive = False  # the node is stopped: it answers nowhere
    world.run(SECOND, unacked=True, busy=True)
    assert world.paths.active is direct
    spare.alive = True
    spare.heard_ns = world.now_ns
    world.run(TICK_NS, unacked=True, busy=True)
    assert world.paths.active is spare


def test_a_busy_peer_without_a_spare_gets_one_sought() -> None:
    world = World()
    world.add(FakeWay())
    world.run(TICK_NS, busy=True)
    assert SeekRelay() in world.said


def test_a_way_that_stays_silent_is_dropped_after_two_seconds_and_not_before() -> None:
    world = World()
    way = world.add(FakeWay())
    world.run(SECOND)
    way.alive = False
    world.run(LINK_SILENT_NS_MAX - 2 * TICK_NS, unacked=True)
    assert way in world.paths.ways
    world.run(3 * TICK_NS, unacked=True)
    assert way not in world.paths.ways
    assert world.paths.active is None


def test_a_flapping_cable_makes_the_return_slower_each_time() -> None:
    world = World()
    world.add(FakeWay(via="r"))
    waits = []
    for _ in range(4):
        direct = world.add(FakeWay())
        begun_ns = world.now_ns
        while world.paths.active is not direct:
            world.run(TICK_NS, busy=True)
        waits.append(world.now_ns - begun_ns)
        world.act(world.paths.remove(direct, world.now_ns))
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * waits[0]


def test_of_two_that_cross_only_the_one_dialed_by_the_larger_id_goes_and_its_dialer_closes_it() -> None:
    for first, came in itertools.product((True, False), ("dialed first", "accepted first")):
        world = World(first=first)
        ways = [world.add(FakeWay(dialed=dialed)) for dialed in (came == "dialed first", came == "accepted first")]
        dialed = next(way for way in ways if way.dialed)
        world.now_ns += 2 * MS
        assert world.paths.doubles(world.now_ns) == ([] if first else [dialed])


def test_nothing_goes_before_what_stays_has_answered() -> None:
    world = World(first=False)
    dialed, accepted = world.add(FakeWay(dialed=True)), world.add(FakeWay(dialed=False, alive=False))
    world.now_ns += 2 * MS
    assert world.paths.doubles(world.now_ns) == []
    accepted.alive = True
    accepted.ask(world.now_ns)
    world.now_ns += 2 * MS
    assert world.paths.doubles(world.now_ns) == [dialed]


def test_a_second_link_from_the_same_dialer_replaces_the_first() -> None:
    for dialed in (True, False):
        world = World()
        old = world.add(FakeWay(dialed=dialed))
        world.run(2 * TOGETHER_NS)
        world.add(FakeWay(dialed=dialed))
        world.now_ns += 2 * MS
        assert world.paths.doubles(world.now_ns) == [old]


def test_of_two_that_came_together_from_one_dialer_it_alone_says_which_goes() -> None:
    useless = []
    for dialed in (True, False):  # the ends may have seen them come the other way round
        world = World()
        ways = [world.add(FakeWay(dialed=dialed)) for _ in range(2)]
        world.now_ns += 2 * MS
        useless.append([ways.index(way) for way in world.paths.doubles(world.now_ns)])
    assert useless == [[0], []]


def test_the_peer_is_followed_only_when_the_own_way_was_long_not_heard() -> None:
    world = World()
    direct, relay = world.add(FakeWay()), world.add(FakeWay(via="r"))
    relay.heard_ns = world.now_ns
    world.act(world.paths.follow(relay, world.now_ns))
    assert world.paths.active is direct
    world.now_ns += DOUBT_NS + 2 * MS
    relay.heard_ns = world.now_ns
    direct.alive = False
    world.act(world.paths.follow(relay, world.now_ns))
    assert world.paths.active is relay
    world.run(2 * SECOND)
    assert world.paths.active is relay, "the way that was left has not answered since"


@given(st.lists(st.tuples(st.sampled_from(["direct", "relay", "die", "live", "remove", "run"]), st.integers(0, 9))))
@settings(max_examples=150, deadline=None)
def test_the_way_in_use_is_always_one_that_is_up(story: list[tuple[str, int]]) -> None:
    world = World()
    for what, which in story:
        ways = world.paths.ways
        way = ways[which % len(ways)] if ways else None
        match what:
            case "direct" | "relay":
                world.add(FakeWay(via="" if what == "direct" else "r", dialed=bool(which & 1)))
            case "run":
                world.run(which * 4 * TICK_NS, unacked=bool(which & 1), busy=bool(which & 2))
            case "remove" if way is not None:
                world.act(world.paths.remove(way, world.now_ns))
            case "die" | "live" if way is not None:
                way.alive = what == "live"
            case _:
                pass
        assert (world.paths.active in world.paths.ways) if world.paths.ways else world.paths.active is None


def test_a_spare_that_nobody_needs_is_closed() -> None:
    world = World()
    direct, spare = world.add(FakeWay()), world.add(FakeWay(via="c"))
    world.run(2 * SPARE_KEPT_NS, busy=True)
    assert world.paths.ways == [direct, spare]
    world.run(SPARE_KEPT_NS + 2 * TICK_NS)
    assert world.paths.ways == [direct]
