"""Statements spread by union: whoever is linked, in whatever order, has the same in the end, and nothing forged among it."""

from __future__ import annotations

import itertools
from collections import deque

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_node import node_of, scan

from worldos.kernel.effects import Effect, Notice, SaveStatements, Send
from worldos.kernel.events import ClockTicked, PeerLinked, PeerSaid, PeerUnlinked, StatementsOffered
from worldos.kernel.household import Household
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.statements import (
    FOR_KIN,
    STATEMENTS_PER_PEER_SECOND,
    STATEMENTS_PER_SIGNER_MAX,
    Statement,
    StatementsTold,
    Topic,
)
from worldos.model.wire import decode, encode
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement, statement_id

KEYS = [device_key(number) for number in range(4)]
NODES = [NodeId(key.node_id) for key in KEYS]
TOPIC = Topic.BASELINE


class Keeper(msgspec.Struct):
    """Keeps what members say; of those that begin with ``last`` the greatest of each signer, and never ``no``."""

    seen: list[str] = []

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        self.seen.append(statement_id(statement))
        if statement.body == b"no" or not house.is_member(statement.signer):
            return Verdict(keep=False, why="I do not want it")
        if not statement.body.startswith(b"last"):
            return Verdict(keep=True)
        own = {i: s for i, s in house.statements.of(statement.topic).items() if s.signer == statement.signer}
        older = {i: s.body for i, s in own.items() if s.body.startswith(b"last")}
        if any(body > statement.body for body in older.values()):
            return Verdict(keep=False)
        return Verdict(keep=True, drop=tuple(older))


class Site:
    """Nodes of one account, whose messages arrive in order when ``settle`` says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int = 3) -> None:
        self.nodes = [node_of(number) for number in range(size)]
        self.keepers = {node.node: Keeper() for node in self.nodes}
        self.on_the_way: deque[tuple[NodeId, NodeId, object]] = deque()
        self.saved: dict[NodeId, list[SaveStatements]] = {node.node: [] for node in self.nodes}
        self.notices: list[Notice] = []
        self.sent = 0
        monkeypatch.setattr(Household, "keeper_of", lambda house, topic: self.keepers[house.node])

    def do(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and effect.node in node.paths:
                self.on_the_way.append((node.node, effect.node, effect.message))
            elif isinstance(effect, SaveStatements):
                self.saved[node.node].append(effect)
            elif isinstance(effect, Notice):
                self.notices.append(effect)

    def link(self, one: int, other: int, now_ns: int = SECOND) -> None:
        for here, there in ((one, other), (other, one)):
            node = self.nodes[here]
            self.do(node, node.handle(PeerLinked(now_ns=now_ns, node=self.nodes[there].node, boot=1)))

    def cut(self, one: int, other: int, now_ns: int = SECOND) -> None:
        for here, there in ((one, other), (other, one)):
            node = self.nodes[here]
            self.do(node, node.handle(PeerUnlinked(now_ns=now_ns, node=self.nodes[there].node)))

    def settle(self, now_ns: int = SECOND) -> None:
        by_id = {node.node: node for node in self.nodes}
        while self.on_the_way:
            source, target, message = self.on_the_way.popleft()
            if isinstance(message, StatementsTold):
                self.sent += len(message.statements)
            node = by_id[target]
            if source in node.paths:
                self.do(node, node.handle(PeerSaid(now_ns=now_ns, node=source, message=decode(encode(message)))))

    def say(self, number: int, body: bytes, topic: Topic = TOPIC, now_ns: int = SECOND) -> Statement:
        statement = sign_statement(KEYS[number], topic, body)
        node = self.nodes[number]
        self.do(node, node.handle(StatementsOffered(now_ns=now_ns, statements=(statement,))))
        return statement

    def kept(self) -> list[set[bytes]]:
        return [{s.body for s in node.statements.of(TOPIC).values()} for node in self.nodes]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_what_one_says_all_linked_members_keep_and_store(site: Site) -> None:
    site.link(0, 1)
    site.link(1, 2)
    site.say(0, b"hello")
    site.settle()
    assert site.kept() == [{b"hello"}] * 3
    assert [len(saved) for saved in site.saved.values()] == [1, 1, 1]


def test_those_that_were_cut_off_find_by_digests_what_they_lack_and_send_nothing_twice(site: Site) -> None:
    site.say(0, b"a")
    site.say(1, b"b")
    site.say(1, b"c")
    site.link(0, 1)
    site.settle()
    assert site.kept()[:2] == [{b"a", b"b", b"c"}] * 2
    assert site.sent == 3


def test_a_statement_that_got_lost_comes_when_digests_are_compared(site: Site) -> None:
    site.link(0, 1)
    site.settle()
    site.say(0, b"lost on the way")
    site.on_the_way.clear()
    for second in range(2, 30):
        for node in site.nodes[:2]:
            site.do(node, node.handle(ClockTicked(now_ns=second * SECOND)))
        site.settle(second * SECOND)
    assert site.kept()[1] == {b"lost on the way"}


def test_a_forged_statement_is_named_and_does_not_keep_out_the_true_one(site: Site) -> None:
    true = sign_statement(KEYS[0], TOPIC, b"mine")
    forged = msgspec.structs.replace(true, signature=bytes(64))
    node = site.nodes[1]
    site.do(node, node.handle(StatementsOffered(now_ns=SECOND, statements=(forged,))))
    assert not node.statements.of(TOPIC)
    assert [notice.name for notice in site.notices] == ["statement refused"]
    site.do(node, node.handle(StatementsOffered(now_ns=SECOND, statements=(true,))))
    assert len(node.statements.of(TOPIC)) == 1


def test_what_was_signed_for_one_topic_is_nothing_for_another(site: Site) -> None:
    other = msgspec.structs.replace(sign_statement(KEYS[0], TOPIC, b"x"), topic=Topic.STOP)
    node = site.nodes[1]
    node.handle(StatementsOffered(now_ns=SECOND, statements=(other,)))
    assert not node.statements.of(Topic.STOP)


def test_what_its_keeper_refuses_is_not_asked_for_again(site: Site) -> None:
    site.nodes[0].statements.table[TOPIC] = {}  # a liar keeps what others refuse
    lie = sign_statement(KEYS[0], TOPIC, b"no")
    site.nodes[0].statements.table[TOPIC][statement_id(lie)] = lie
    site.link(0, 1)
    site.settle()
    assert site.sent == 1
    for second in range(2, 60):
        for node in site.nodes[:2]:
            site.do(node, node.handle(ClockTicked(now_ns=second * SECOND)))
        site.settle(second * SECOND)
    assert site.sent == 1
    assert site.keepers[site.nodes[1].node].seen == [statement_id(lie)]


def test_one_that_replaces_others_leaves_one_everywhere(site: Site) -> None:
    site.link(0, 1)
    site.say(0, b"last 1")
    site.settle()
    site.cut(0, 1)
    site.say(0, b"last 2")
    site.link(0, 1)
    site.settle()
    assert site.kept()[:2] == [{b"last 2"}] * 2


def test_what_is_on_disk_is_judged_again_in_its_order_and_told_to_nobody(site: Site) -> None:
    said = [sign_statement(KEYS[1], TOPIC, str(number).encode()) for number in range(5)]
    site.link(0, 1)
    site.settle()
    node = site.nodes[0]
    effects = node.handle(StatementsOffered(now_ns=SECOND, statements=tuple(said), stored=True))
    assert site.keepers[node.node].seen == [statement_id(each) for each in said]
    assert not [e for e in effects if isinstance(e, Send) and isinstance(e.message, StatementsTold)]
    assert not node.statements.restoring


def test_one_signer_cannot_fill_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldos.kernel.statements.STATEMENTS_PER_SIGNER_MAX", 5)
    site = Site(monkeypatch, 2)
    for number in range(8):
        site.say(0, str(number).encode())
    assert len(site.nodes[0].statements.of(TOPIC)) == 5
    assert STATEMENTS_PER_SIGNER_MAX > 5
    site.say(1, b"another")
    site.link(0, 1)
    site.settle()
    assert b"another" in site.kept()[0]


def test_a_node_of_another_account_is_heard_only_on_topics_for_kin_and_not_too_often(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, stranger = site.nodes[0], NODES[3]
    monkeypatch.setattr(type(node.realms.kin), "has", lambda _kin, peer: peer == stranger)
    many = tuple(sign_statement(KEYS[1], Topic.STOP, str(n).encode()) for n in range(STATEMENTS_PER_PEER_SECOND + 20))
    private = (sign_statement(KEYS[1], TOPIC, b"private"),)
    node.handle(PeerSaid(now_ns=SECOND, node=stranger, message=StatementsTold(statements=many + private)))
    assert Topic.STOP in FOR_KIN
    assert len(node.statements.of(Topic.STOP)) == STATEMENTS_PER_PEER_SECOND
    assert not node.statements.of(TOPIC)
    node.handle(PeerSaid(now_ns=3 * SECOND, node=stranger, message=StatementsTold(statements=many)))
    assert len(node.statements.of(Topic.STOP)) == len(many)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("say"), st.integers(0, 2), st.sampled_from([b"a", b"b", b"last 1", b"last 2", b"no"])),
            st.tuples(st.sampled_from(["link", "cut"]), st.integers(0, 2), st.integers(0, 2)),
            st.tuples(st.just("settle"), st.just(0), st.just(0)),
        ),
        max_size=20,
    )
)
def test_whatever_was_cut_and_in_whatever_order_all_have_the_same_once_all_are_linked(steps) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = Site(monkeypatch)
        for name, one, other in steps:
            if name == "say":
                site.say(one, other)
            elif name == "settle":
                site.settle()
            elif one != other:
                (site.link if name == "link" else site.cut)(one, other)
        for one, other in itertools.combinations(range(3), 2):
            site.link(one, other)
        site.settle()
        for second in range(2, 40):
            for node in site.nodes:
                site.do(node, node.handle(ClockTicked(now_ns=second * SECOND)))
            site.settle(second * SECOND)
        kept = site.kept()
        assert kept[0] == kept[1] == kept[2]


def test_a_node_knows_what_people_call_the_time_once_it_has_looked_at_its_machine() -> None:
    node = node_of()
    node.handle(msgspec.structs.replace(scan(5 * SECOND), wall_ns=1_700_000_000 * SECOND))
    assert node.wall_s(65 * SECOND) == 1_700_000_060
