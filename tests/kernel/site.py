"""A small site: real memberships, a wire that loses, delays and cuts, and a clock that only the test moves."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from worldos.kernel.dice import Dice
from worldos.kernel.membership import Membership
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.swim import ACCUSERS_MAX, Rumor, SendSwim, Status, StatusChanged, SwimEffect, SwimMessage

ALIVE, SUSPECT, DEAD, LEFT = Status.ALIVE, Status.SUSPECT, Status.DEAD, Status.LEFT
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


class Site:
    """Nodes, the wire between them, and what each came to believe when."""

    def __init__(self, size: int, *, seed: int = 1, loss_percent: int = 0, delay_ns: int = MS) -> None:
        self.dice = Dice(state=seed)
        self.now_ns = SECOND
        self.loss_percent = loss_percent
        self.delay_ns = delay_ns
        self.names = [NodeId(f"n{i:03}") for i in range(size)] if size > 3 else [A, B, C][:size]
        self.nodes: dict[NodeId, Membership] = {}
        self.paused: set[NodeId] = set()
        self.kept: list[tuple[NodeId, NodeId, SwimMessage]] = []  # what the paused will find in their sockets
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.wire: list[tuple[int, int, NodeId, NodeId, SwimMessage]] = []
        self.timers: list[tuple[int, NodeId]] = []
        self.sent = 0
        self.events = 0
        self.told: list[tuple[int, NodeId, StatusChanged]] = []
        for name in self.names:
            self.start(name, boot=1)
        for name in self.names:
            for other in self.names:
                if name != other:
                    self.do(name, self.nodes[name].linked(self.now_ns, other, 1))

    def start(self, name: NodeId, boot: int) -> None:
        seed = self.dice.next_u64()
        self.nodes[name] = Membership.begin(me=name, boot=boot, seed=seed, now_ns=self.now_ns)
        self.do(name, [])

    def do(self, name: NodeId, effects: list[SwimEffect]) -> None:
        heapq.heappush(self.timers, (self.nodes[name].next_deadline_ns, name))
        for effect in effects:
            match effect:
                case SendSwim():
                    self.sent += 1
                    lost = self.dice.below(100) < self.loss_percent
                    if not lost and (name, effect.node) not in self.cuts:
                        at_ns = self.now_ns + self.delay_ns // 2 + self.dice.below(self.delay_ns + 1)
                        heapq.heappush(self.wire, (at_ns, self.sent, name, effect.node, effect.message))
                case StatusChanged():
                    self.told.append((self.now_ns, name, effect))

    def run(self, for_ns: int, until: Callable[[], bool] = lambda: False) -> bool:
        end_ns = self.now_ns + for_ns
        while not until():
            due_ns, name = self.first_due()
            at_ns = min(max(due_ns, self.now_ns), self.wire[0][0] if self.wire else end_ns)
            if at_ns >= end_ns:
                self.now_ns = end_ns
                return until()
            self.now_ns = at_ns
            self.events += 1
            if self.wire and self.wire[0][0] == at_ns:
                _, _, source, target, message = heapq.heappop(self.wire)
                self.deliver(source, target, message)
            else:
                self.do(name, self.nodes[name].tick(at_ns))
        return True

    def first_due(self) -> tuple[int, NodeId]:
        """Return whose timer is next. Each change of a deadline left an entry: those that hold no more are dropped."""
        while True:
            due_ns, name = self.timers[0]
            node = self.nodes.get(name)
            if node and name not in self.paused and node.next_deadline_ns == due_ns:
                return due_ns, name
            heapq.heappop(self.timers)

    def deliver(self, source: NodeId, target: NodeId, message: SwimMessage) -> None:
        if target in self.paused:
            self.kept.append((source, target, message))
        elif target in self.nodes:
            self.do(target, self.nodes[target].heard(self.now_ns, source, message))

    def crash(self, name: NodeId) -> None:
        del self.nodes[name]

    def pause(self, name: NodeId) -> None:
        self.paused.add(name)

    def resume(self, name: NodeId) -> None:
        self.paused.discard(name)
        self.do(name, [])
        kept, self.kept = self.kept, []
        for source, target, message in kept:
            self.deliver(source, target, message)

    def cut(self, *pairs: tuple[NodeId, NodeId]) -> None:
        self.cuts.update(pairs)

    def views(self, about: NodeId) -> set[Status | None]:
        return {node.status(about) for name, node in self.nodes.items() if name != about and name not in self.paused}

    def changes(self, status: Status, since_ns: int = 0) -> list[tuple[int, NodeId, NodeId]]:
        return [(at, who, told.node) for at, who, told in self.told if told.status is status and at >= since_ns]


def everyone_is_well(site: Site) -> bool:
    return all(len(node.alive()) == len(site.names) - 1 for node in site.nodes.values())


def pair(now_ns: int = 0) -> Membership:
    """Return node A, linked to B and C."""
    node = Membership.begin(me=A, boot=1, seed=1, now_ns=now_ns)
    node.linked(now_ns, B, 1)
    node.linked(now_ns, C, 1)
    return node


def rumor(node: NodeId, status: Status, incarnation: int, *accusers: NodeId) -> Rumor:
    return Rumor(node=node, status=status, incarnation=incarnation, boot=1, accusers=accusers)


def sends(effects: list[SwimEffect], to: NodeId) -> list[SwimMessage]:
    return [effect.message for effect in effects if isinstance(effect, SendSwim) and effect.node == to]


RUMORS = st.builds(
    Rumor,
    node=st.just(B),
    status=st.sampled_from(list(Status)),
    incarnation=st.integers(0, 3),
    boot=st.just(0),
    accusers=st.just(()),
).flatmap(
    lambda r: (
        st.just(r)
        if r.status is not SUSPECT
        else st.sets(st.sampled_from("uvwxyz"), min_size=1).map(
            lambda names: msgspec.structs.replace(r, accusers=tuple(sorted(names))[:ACCUSERS_MAX])
        )
    )
)
