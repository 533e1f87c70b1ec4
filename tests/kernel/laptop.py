"""A laptop and the centers that it may be below, for tests: real tables, and ways between them that are as long as told."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import msgspec
from tests.kernel.contacts import SECOND, center, register

from worldos.kernel.children import Children
from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.superior import Superiors
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Center,
    Level,
    RealmId,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
)
from worldos.model.wire import PeerMessage

LAPTOP = RealmId("laptop")
ME = NodeId("me")
HOME, OFFICE = RealmId("home"), RealmId("office")
FORM = register("laptop", "me", level=Level.PERSONAL)


def a_parent(name: str, *council: str, **more: object) -> Center:
    return center(name, *(council or (f"{name}1", f"{name}2", f"{name}3")), level=Level.HOME, **more)  # type: ignore[arg-type]


class Site:
    """A laptop and its parents, each with the real table of children; ``rtt_us`` is the way to each node, 0: no link."""

    def __init__(self, *parents: Center) -> None:
        self.superiors = Superiors(node=ME, realm=LAPTOP)
        self.centers = {each.realm: each for each in parents}
        self.children = {each.realm: Children(realm=each.realm) for each in parents}
        self.of = {seat.node: each.realm for each in parents for seat in each.council}
        self.rtt_us = dict.fromkeys(self.of, 1000)
        self.silent: set[NodeId] = set()
        self.form = FORM
        self.now_ns = 0
        self.inbox: list[tuple[int, int, NodeId, PeerMessage]] = []
        self.sent: list[tuple[NodeId, PeerMessage]] = []
        self.switched: list[tuple[int, RealmId]] = []
        self.notices: list[Notice] = []
        self.every: Callable[[], None] = lambda: None
        self.superiors.allow(0, {each.realm: each.council for each in parents})
        for node in self.of:
            self.way(node, 1000)

    def way(self, node: str, rtt_us: int) -> None:
        """Measure a way anew; 0: the link is gone."""
        known = NodeId(node)
        if not rtt_us:
            self.superiors.unlinked(self.now_ns, known)
        else:
            if not self.rtt_us[known] or known not in self.superiors.ways:
                self.superiors.linked(self.now_ns, known)
            self.superiors.path_measured(self.now_ns, known, rtt_us)
        self.rtt_us[known] = rtt_us

    def ways(self, realm: str, rtt_us: int) -> None:
        for seat in self.centers[RealmId(realm)].council:
            self.way(seat.node, rtt_us)

    def run(self, seconds: float) -> None:
        """Let time pass; ``every`` half second something may be measured."""
        end_ns = self.now_ns + int(seconds * SECOND)
        next_ns = self.now_ns
        while True:
            at_ns = min(next_ns, max(self.now_ns, self.superiors.due_ns), self.inbox[0][0] if self.inbox else end_ns)
            if at_ns >= end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = at_ns
            if at_ns == next_ns:
                self.every()
                next_ns += SECOND // 2
            if self.inbox and self.inbox[0][0] <= at_ns:
                _, _, peer, message = heapq.heappop(self.inbox)
                self.hear(peer, message)
            if self.superiors.due_ns <= at_ns:
                self.perform(self.superiors.tick(at_ns, self.form))
                assert self.superiors.due_ns > at_ns, "time must go on"

    def hear(self, peer: NodeId, message: PeerMessage) -> None:
        if isinstance(message, Registered):
            self.perform(self.superiors.registered(self.now_ns, peer, message))
        elif isinstance(message, RegisterRefused):
            self.perform(self.superiors.refused(self.now_ns, peer, message))
        snapshot = msgspec.msgpack.encode(self.superiors)
        assert msgspec.msgpack.decode(snapshot, type=Superiors) == self.superiors

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Notice):
                self.notices.append(effect)
                if effect.name == "superior":
                    self.switched.append((self.now_ns, RealmId(str(effect.fields["superior"]))))
            elif isinstance(effect, Send):
                assert self.rtt_us[effect.node], "nothing is sent without a link"
                self.sent.append((effect.node, effect.message))
                self.answer(effect.node, effect.message)

    def answer(self, node: NodeId, message: PeerMessage) -> None:
        if node in self.silent:
            return
        realm = self.of[node]
        here, table = self.centers[realm], self.children[realm]
        if isinstance(message, SummaryTold):
            table.summary_told(self.now_ns, ME, message)
            return
        assert isinstance(message, Register)
        elsewhere = here.primary.node != node
        why = "this is not the center" if elsewhere else ""
        said = table.registered(self.now_ns, ME, message, here, refusal=why, alternative=here if elsewhere else None)
        for each in said:
            if isinstance(each, Send):
                at_ns = self.now_ns + self.rtt_us[node] * 1000
                heapq.heappush(self.inbox, (at_ns, len(self.sent), node, each.message))

    def asked(self) -> list[NodeId]:
        return [node for node, message in self.sent if isinstance(message, Register)]
