"""A bid goes up and down a tree of realms and comes back in time with who could fill it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.contacts import contact, cpus
from tests.kernel.offers import cpu, offer

from worldos.kernel.bid_route import ChildRoute, Route
from worldos.kernel.bids import BidDone, BidResult, Bids, ChildDoubted
from worldos.kernel.effects import Send
from worldos.kernel.shortlist import fitting
from worldos.kernel.summary import merged, summarize
from worldos.model import limits, wire
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.offer import Offer, OfferRules
from worldos.model.realm import HOPS_MAX, BidAnswer, BidAsk, Candidate, Epoch, RealmId
from worldos.model.summary import Summary

MS = limits.MS
LENT = OfferRules(owners_only=False)
DEPTH = 6


class Realm:
    """One realm of a test's tree; ``free`` cores in its nodes where it is a site. Its primary is the node ``p-<name>``."""

    def __init__(self, name: str, *below: Realm, free: Iterable[int] = (), path: str = "") -> None:
        self.name, self.below, self.path = RealmId(name), below, path or name
        self.offers = [
            offer(f"{name}.{at}", cores=max(cores, 1), free=cores * 1000, owner=name, rules=LENT, memory_free=0)
            for at, cores in enumerate(free)
        ]
        self.above: Realm | None = None
        self.superior: Realm | None = None
        self.says: Summary | None = None  # what it promises instead of the truth
        self.at = ""  # its primary, if that is another realm's too
        for child in below:
            child.above = child.superior = self

    @property
    def node(self) -> NodeId:
        return NodeId(self.at or f"p-{self.name}")

    def all(self) -> list[Realm]:
        return [self, *(each for child in self.below for each in child.all())]

    def place(self, above: str = "") -> None:
        self.path = f"{above}/{self.name}".strip("/")
        for child in self.below:
            child.place(self.path)

    def summary(self) -> Summary:
        if self.says is not None:
            return self.says
        return merged(c.summary() for c in self.below) if self.below else summarize(self.offers, lend=True)


class World:
    """The tree's primaries, and the messages between them: each takes ``way_ns``, and goes through its bytes."""

    def __init__(self, root: Realm, *, way_ns: int = MS, together: tuple[str, ...] = ()) -> None:
        root.place()
        for realm in root.all():
            realm.at = "p" if realm.name in together else ""
        self.way_ns = way_ns
        self.now_ns = 0
        self.realms = {realm.name: realm for realm in root.all()}
        self.bids = {realm.node: Bids(node=realm.node, boot=1) for realm in root.all()}
        self.credit = dict.fromkeys(self.realms, 1000)
        self.silent: set[NodeId] = set()
        self.queue: list[tuple[int, int, NodeId, NodeId, bytes]] = []
        self.asks: list[BidAsk] = []
        self.sent = 0
        self.done: list[BidDone] = []
        self.doubted: list[str] = []

    def route(self, realm: Realm) -> Route:
        return Route(
            realm=realm.name,
            path=realm.path,
            superior=None if realm.superior is None else (realm.superior.name, realm.superior.node),
            children=tuple(
                ChildRoute(realm=c.name, node=c.node, path=c.path, summary=c.summary(), credibility=self.credit[c.name])
                for c in realm.below
            ),
        )

    def bid(self, home: str, *needs: Need, within: str = "", wait_ns: int = limits.BID_WAIT_NS) -> BidDone:
        """Start a bid on a realm's primary, and let time pass until it is done."""
        self.asks.clear()
        self.done.clear()
        self.doubted.clear()
        self.sent = 0
        realm = self.realms[RealmId(home)]
        me = contact(realm.node, realm.name)
        start_ns = self.now_ns
        bid, sends = self.bids[realm.node].start(self.now_ns, me, needs, within, realm.node, realm.name, wait_ns)
        self.perform(realm.node, list(sends))
        while not self.done:
            self.step()
        assert self.now_ns - start_ns <= wait_ns + 2 * limits.BID_TICK_NS
        assert [each.bid for each in self.done] == [bid]
        return self.done[0]

    def settle(self) -> None:
        """Let all that is still under way come to its end; nothing may be left over."""
        while self.queue or any(each.due_ns < limits.NEVER_NS for each in self.bids.values()):
            self.step()
        for bids in self.bids.values():
            assert [bids.mine, bids.relays, bids.asks, bids.done] == [{}, {}, {}, {}]

    def step(self) -> None:
        due_ns, node = min((bids.due_ns, node) for node, bids in self.bids.items())
        if self.queue and self.queue[0][0] <= due_ns:
            self.now_ns, _, sender, receiver, data = heapq.heappop(self.queue)
            self.hear(sender, receiver, data)
        else:
            assert due_ns < limits.NEVER_NS, "a bid waits for nothing"
            self.now_ns = max(self.now_ns, due_ns)
            self.perform(node, self.bids[node].tick(self.now_ns))

    def hear(self, sender: NodeId, receiver: NodeId, data: bytes) -> None:
        if receiver in self.silent:
            return
        message = wire.decode(data)
        bids = self.bids[receiver]
        if isinstance(message, BidAsk):
            realm = self.realms[message.realm]
            here = self.here(realm, message) if not realm.below else None
            self.perform(receiver, bids.asked(self.now_ns, sender, message, self.route(realm), here))
        elif isinstance(message, BidAnswer):
            self.perform(receiver, bids.answered(self.now_ns, sender, message))
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(bids), type=Bids) == bids

    def here(self, realm: Realm, ask: BidAsk) -> tuple[Candidate, ...]:
        return tuple(fitting(ask, map(candidate, realm.offers)))[:8]

    def perform(self, node: NodeId, results: Iterable[BidResult]) -> None:
        for result in results:
            if isinstance(result, BidDone):
                self.done.append(result)
            elif isinstance(result, ChildDoubted):
                self.doubted.append(result.child)
                self.credit[result.child] = self.credit[result.child] * 3 // 4
            else:
                self.sent += 1
                if isinstance(result.message, BidAsk):
                    self.asks.append(result.message)
                way_ns = 0 if result.node == node else self.way_ns
                data = wire.encode(result.message)
                heapq.heappush(self.queue, (self.now_ns + way_ns, self.sent, node, result.node, data))


def candidate(one: Offer) -> Candidate:
    return Candidate(offer=one, contact=contact(one.node, one.owner), realm=RealmId(one.owner), epoch=Epoch(1))


def nodes(done: BidDone) -> list[str]:
    return [each.contact.node for each in done.candidates]


def acme() -> World:
    """Return two cities of three sites each, of which the last one of the second city has room."""
    sites = [Realm(f"s{at}", free=[0]) for at in range(5)]
    return World(Realm("acme", Realm("berlin", *sites[:3]), Realm("munich", *sites[3:], Realm("s5", free=[8, 2]))))


def test_a_need_goes_up_and_down_to_the_one_site_that_has_room() -> None:
    world = acme()
    done = world.bid("s0", cpu(4000))
    assert nodes(done) == ["s5.0"]
    assert [each.realm for each in world.asks] == ["s0", "berlin", "acme", "munich", "s5"]
    assert [each.down for each in world.asks] == [False, False, False, True, True]
    assert done.hops == 10
    assert done.why == ""
    world.settle()


def test_one_node_may_be_the_center_of_several_realms_of_the_way() -> None:
    sites = [Realm(f"s{at}", free=[0]) for at in range(3)]
    for together in (("s0", "berlin", "acme"), ("s0", "acme"), ("berlin", "munich", "s3"), ("s0", "s3", "munich")):
        root = Realm("acme", Realm("berlin", *sites), Realm("munich", Realm("s3", free=[8])))
        world = World(root, together=together)
        assert nodes(world.bid("s0", cpu(4000))) == ["s3.0"], together
        assert [each.realm for each in world.asks] == ["s0", "berlin", "acme", "munich", "s3"]
        assert world.bid("s1", cpu(9000)).why == "3 realms asked, none had 9 cores free"
        world.settle()


def test_who_has_it_at_home_asks_nobody_else() -> None:
    world = acme()
    assert nodes(world.bid("s5", cpu(4000))) == ["s5.0"]
    assert world.sent == 2


def test_what_nobody_has_is_refused_with_how_many_were_asked() -> None:
    world = acme()
    done = world.bid("s0", Need(kind="GPU", amount=4000))
    assert done.candidates == ()
    assert done.why == "3 realms asked, none had 4 GPUs free"
    assert done.asked == 3
    world.settle()


def test_a_need_within_a_realm_stays_there() -> None:
    world = acme()
    assert world.bid("s0", cpu(4000), within="berlin").candidates == ()
    assert [each.realm for each in world.asks] == ["s0", "berlin"]
    assert nodes(world.bid("s0", cpu(4000), within="acme/munich")) == ["s5.0"]
    assert nodes(world.bid("s0", cpu(4000), within="munich/s5")) == ["s5.0"]
    assert world.bid("s5", cpu(4000), within="munich/s4").candidates == ()


def test_a_gang_gathers_nodes_from_several_realms() -> None:
    world = World(Realm("top", Realm("home", free=[]), *(Realm(f"s{at}", free=[2]) for at in range(5))))
    done = world.bid("home", *[cpu(2000, apart=True)] * 4)
    assert len(done.candidates) == 5
    assert done.why == ""
    done = world.bid("home", *[cpu(2000, apart=True)] * 7)
    assert len(done.candidates) == 5
    assert done.why == "7 realms asked, only 5 nodes, for a part of it"
    world.settle()


def test_the_best_of_several_children_is_waited_for_a_little() -> None:
    world = World(Realm("top", Realm("home", free=[]), Realm("s1", free=[16]), Realm("s2", free=[4])))
    assert sorted(nodes(world.bid("home", cpu(4000)))) == ["s1.0", "s2.0"]
    world.silent = {NodeId("p-s1")}
    done = world.bid("home", cpu(4000))
    assert nodes(done) == ["s2.0"]
    assert world.now_ns < 200 * MS
    assert world.doubted == []


def test_a_lying_child_loses_credibility_and_nothing_else() -> None:
    liars = [Realm(f"liar{at}", free=[]) for at in range(3)]
    for liar in liars:
        liar.says = cpus(10**12, largest=10**12, nodes=10**6)
    world = World(Realm("top", Realm("home", free=[]), *liars, Realm("zoo", free=[8])))
    assert nodes(world.bid("home", cpu(4000))) == ["zoo.0"]
    assert sorted(world.doubted) == ["liar0", "liar1", "liar2"]
    for _ in range(3):
        assert nodes(world.bid("home", cpu(4000))) == ["zoo.0"]
    assert "zoo" in [each.realm for each in world.asks[:5]], "asked in the first round now"
    assert world.credit[RealmId("zoo")] == 1000
    world.settle()


def test_a_child_that_sends_nodes_which_do_not_fit_is_doubted() -> None:
    world = World(Realm("top", Realm("home", free=[]), Realm("s1", free=[8])))
    top = world.bids[NodeId("p-top")]
    ask = BidAsk(
        bid=7,
        home=contact("p-home", "home"),
        realm=RealmId("top"),
        needs=(cpu(8000),),
        within="",
        trail=(),
        hops=1,
        wait_ns=limits.SECOND,
        down=False,
    )
    top.asked(0, NodeId("p-home"), ask, world.route(world.realms[RealmId("top")]), None)
    lie = BidAnswer(
        bid=7,
        home=NodeId("p-home"),
        realm=RealmId("s1"),
        candidates=(candidate(offer("x", cores=1, owner="s1", rules=LENT)),),
        why="",
        hops=4,
    )
    results = top.answered(1, NodeId("p-s1"), lie)
    assert results[0] == ChildDoubted(realm=RealmId("top"), child=RealmId("s1"))
    assert isinstance(results[1], Send)
    assert isinstance(results[1].message, BidAnswer)
    assert results[1].message.candidates == ()


def test_a_silent_child_costs_bounded_time_and_a_silent_parent_too() -> None:
    world = acme()
    world.realms[RealmId("s4")].says = cpus(10**9, largest=10**9)
    world.silent = {NodeId("p-s4")}
    assert nodes(world.bid("s0", cpu(4000))) == ["s5.0"]
    world.realms[RealmId("s5")].says = Summary()
    done = world.bid("s0", cpu(4000))
    assert done.candidates == ()
    assert world.doubted == ["s4", "munich"], "who passes a false promise on is held to it too"
    world.silent = {NodeId("p-acme")}
    begun = world.now_ns
    done = world.bid("s0", cpu(4000))
    assert done.why == "2 realms asked, none had 4 cores free; the superior of berlin did not answer in time"
    assert world.now_ns - begun <= limits.BID_WAIT_NS
    world.silent = {NodeId("p-s0")}
    assert world.bid("s0", cpu(4000)).why == "no center answered in time"


def test_a_loop_of_parents_ends() -> None:
    world = acme()
    world.realms[RealmId("acme")].superior = world.realms[RealmId("berlin")]
    world.realms[RealmId("s0")].below = (world.realms[RealmId("munich")],)
    for home in ("s0", "s1", "s5"):
        world.bid(home, cpu(64_000))
        assert world.sent <= 30
    world.settle()


def test_a_lost_link_is_as_good_as_an_answer() -> None:
    world = acme()
    berlin = world.bids[NodeId("p-berlin")]
    ask = BidAsk(
        bid=1,
        home=contact("p-s0", "s0"),
        realm=RealmId("berlin"),
        needs=(cpu(4000),),
        within="",
        trail=(RealmId("s0"),),
        hops=2,
        wait_ns=limits.SECOND,
        down=False,
    )
    berlin.asked(0, NodeId("p-s0"), ask, world.route(world.realms[RealmId("berlin")]), None)
    (result,) = berlin.unlinked(1, NodeId("p-acme"))
    assert isinstance(result, Send)
    assert isinstance(result.message, BidAnswer)
    assert result.message.why == "1 realm asked, none had 4 cores free; the superior of berlin is gone"
    assert not berlin.asks
    bid, _ = berlin.start(5, contact("p-berlin"), (cpu(),), "", NodeId("far"), RealmId("x"))
    (done,) = berlin.unlinked(6, NodeId("far"))
    assert done == BidDone(bid=bid, candidates=(), why="the center that was asked is gone", hops=0, asked=0)


def an_ask(world: World, **more: object) -> tuple[Bids, BidAsk, Route]:
    given = {"trail": ("s0",), "hops": 2, "home": contact("p-s0", "s0"), "needs": (cpu(4000),), **more}
    ask = BidAsk(bid=1, realm=RealmId("berlin"), within="", wait_ns=limits.SECOND, down=False, **given)  # type: ignore[arg-type]
    return world.bids[NodeId("p-berlin")], ask, world.route(world.realms[RealmId("berlin")])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"trail": ("x", "berlin")}, "a bid went in a circle"),
        ({"trail": ()}, "a bid begins at its own node"),
        ({"hops": HOPS_MAX}, "the bid has come too far"),
        ({"trail": tuple(f"r{at}" for at in range(256))}, "the bid has come too far"),
        ({"needs": (Need(kind="CPU", amount=-1),)}, "the amount of a need must be more than zero and less than 2**62"),
    ],
)
def test_a_bid_that_is_not_in_order_is_answered_with_why(more: dict[str, object], why: str) -> None:
    bids, ask, route = an_ask(acme(), **more)
    (result,) = bids.asked(0, NodeId("other"), ask, route, None)
    assert isinstance(result, Send)
    assert isinstance(result.message, BidAnswer)
    assert result.message.why == why
    assert not bids.relays


def test_a_bid_is_worked_on_once_however_often_it_comes() -> None:
    bids, ask, route = an_ask(acme())
    first = bids.asked(0, NodeId("p-s0"), ask, route, None)
    assert len(first) == 1
    assert bids.asked(1, NodeId("p-s0"), ask, route, None) == []
    (again,) = bids.asked(1, NodeId("p-s1"), ask, route, None)
    assert isinstance(again, Send)
    assert isinstance(again.message, BidAnswer)
    assert again.message.why == "this realm was asked already"


def test_answers_that_nobody_waits_for_mean_nothing() -> None:
    bids, ask, route = an_ask(acme())
    bids.asked(0, NodeId("p-s0"), ask, route, None)
    before = msgspec.msgpack.encode(bids)
    answer = BidAnswer(bid=1, home=NodeId("p-s0"), realm=RealmId("acme"), candidates=(), why="", hops=4)
    assert bids.answered(1, NodeId("liar"), answer) == []
    assert bids.answered(1, NodeId("p-acme"), msgspec.structs.replace(answer, bid=2)) == []
    assert bids.answered(1, NodeId("p-acme"), msgspec.structs.replace(answer, realm=RealmId("s1"))) == []
    assert msgspec.msgpack.encode(bids) == before
    assert len(bids.answered(1, NodeId("p-acme"), answer)) == 1
    assert bids.answered(1, NodeId("p-acme"), answer) == []


def test_one_asker_cannot_fill_the_table() -> None:
    bids, ask, route = an_ask(acme())
    for number in range(limits.BIDS_PER_PEER_MAX):
        bids.asked(0, NodeId("p-s0"), msgspec.structs.replace(ask, bid=10 + number), route, None)
    (result,) = bids.asked(0, NodeId("p-s0"), ask, route, None)
    assert isinstance(result, Send)
    assert isinstance(result.message, BidAnswer)
    assert "waiting here already" in result.message.why
    assert isinstance(bids.asked(0, NodeId("p-s1"), ask, route, None)[0], Send)
    assert len(bids.relays) == limits.BIDS_PER_PEER_MAX + 1
    bids.tick(2 * limits.SECOND)
    bids.tick(3 * limits.SECOND)
    assert [bids.relays, bids.asks, bids.done] == [{}, {}, {}]


def test_a_bid_that_nobody_wants_any_more_is_forgotten() -> None:
    bids = Bids(node=NodeId("a"), boot=3)
    bid, _ = bids.start(0, contact("a"), (cpu(),), "", NodeId("b"), RealmId("r"))
    assert bid == (3 << 32) + 1
    bids.cancel(bid)
    assert bids.tick(10 * limits.SECOND) == []


@st.composite
def trees(draw: st.DrawFn) -> Realm:
    count = iter(range(1000))

    def grow(level: int) -> Realm:
        name = f"r{next(count)}"
        width = 0 if level == DEPTH else draw(st.integers(0 if level > 1 else 1, 4 if level < 4 else 2))
        if width == 0:
            return Realm(name, free=draw(st.lists(st.sampled_from([0, 0, 1, 4]), max_size=2)))
        return Realm(name, *(grow(level + 1) for _ in range(width)))

    return grow(1)


def depth_of(realm: Realm) -> int:
    return 1 + max((depth_of(child) for child in realm.below), default=0)


@given(trees(), st.randoms(use_true_random=False), st.sampled_from([1000, 4000, 8000]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_whenever_some_site_can_a_bid_finds_it_in_bounded_hops_and_messages(
    root: Realm, random: object, amount: int, narrow: bool
) -> None:
    world = World(root)
    sites = [realm for realm in root.all() if not realm.below]
    home = random.choice(sites)  # type: ignore[attr-defined]
    within = random.choice(root.all()).path if narrow else ""  # type: ignore[attr-defined]
    can = [
        site.name
        for site in sites
        if (not within or f"{site.path}/".startswith(f"{within}/"))
        and any(one.resources[0].free >= amount for one in site.offers)
    ]
    done = world.bid(home.name, cpu(amount), within=within)
    found = {each.realm for each in done.candidates}
    assert found <= set(can)
    assert bool(found) == bool(can), (within, can, done)
    assert all(each.hops <= 2 * depth_of(root) for each in world.asks)
    assert done.hops <= 4 * depth_of(root)
    asked = [each.realm for each in world.asks]
    assert len(asked) == len(set(asked)), "a realm is asked once"
    assert world.sent <= 2 * len(root.all())
    assert world.doubted == []
    assert world.now_ns <= (4 * depth_of(root) + 2) * MS + DEPTH * limits.BID_LINGER_NS
    world.settle()


@given(trees(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_with_liars_and_silence_everywhere_a_bid_still_ends_in_time(root: Realm, random: object) -> None:
    world = World(root, way_ns=20 * MS)
    for realm in root.all():
        dice = random.random()  # type: ignore[attr-defined]
        if dice < 0.2:
            realm.says = cpus(10**9, largest=10**9)
        elif dice < 0.3:
            world.silent.add(realm.node)
        elif dice < 0.4:
            realm.superior = random.choice(root.all())  # type: ignore[attr-defined]
    home = random.choice(root.all())  # type: ignore[attr-defined]
    done = world.bid(home.name, cpu(4000))
    for each in done.candidates:
        assert each.offer.resources[0].free >= 4000
    asked = [each.realm for each in world.asks]
    assert len(asked) <= (limits.BID_FANOUT * limits.BID_ROUNDS_MAX + 1) * len(world.realms)
    world.settle()
