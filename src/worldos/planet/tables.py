"""The tables of a center, full: what a planet's primary works with, to be measured."""

from __future__ import annotations

from typing import Final

from worldos.kernel.bid_route import ChildRoute, Route
from worldos.kernel.children import Children
from worldos.kernel.raft import WAN, Raft, RaftEffect, SendRaft
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.raft import Config
from worldos.model.realm import Contact, Level, RealmId, Register
from worldos.planet import said

NOW_NS: Final = 100 * SECOND


def full_children(amount: int) -> tuple[Children, list[Register]]:
    """Return the table of a realm with so many children registered, and how they registered."""
    center = said.center(Level.NATION)
    children = Children(realm=center.realm)
    registers = [_register(number, center.realm) for number in range(amount)]
    for register in registers:
        children.registered(NOW_NS, register.council[0].node, register, center)
    assert len(children.children) == amount
    return children, registers


def _register(number: int, parent: RealmId) -> Register:
    common = said.register(Level.GROUP)
    first = said.contact(1)
    me = Contact(
        node=NodeId(f"n{number:051d}"),
        name=first.name,
        site=first.site,
        root_cert=first.root_cert,
        addresses=first.addresses,
    )
    return Register(
        parent=parent,
        child=RealmId(f"c{number:051d}"),
        name=f"city-{number}",
        level=common.level,
        epoch=common.epoch,
        council=(me, *common.council[1:]),
        fitness=common.fitness,
        summary=common.summary,
    )


def full_route(amount: int) -> Route:
    """Return what a center with so many children knows around itself."""
    return Route(
        realm=said.realm_id(Level.NATION),
        path="earth/germany",
        superior=(said.realm_id(Level.PLANET), said.node_id(9)),
        children=tuple(
            ChildRoute(
                realm=RealmId(f"c{number:051d}"),
                node=NodeId(f"n{number:051d}"),
                path=f"earth/germany/city-{number}",
                summary=said.summary(12),
            )
            for number in range(amount)
        ),
    )


class Council:
    """A council whose members talk at once and never fail; ``beat`` is one heartbeat of its leader, all answers heard."""

    def __init__(self, voters: int) -> None:
        nodes = tuple(sorted(said.node_id(number) for number in range(1, voters + 1)))
        config = Config(voters=nodes)
        self.now_ns = 0
        self.members = {node: Raft.begin(node, seed, 0, config=config, pace=WAN) for seed, node in enumerate(nodes, 1)}
        while not any(member.is_leader for member in self.members.values()):
            self.beat()

    @property
    def leader(self) -> Raft:
        """Return who leads."""
        return next(member for member in self.members.values() if member.is_leader)

    def beat(self) -> None:
        """Let one heartbeat's time pass."""
        self.now_ns += WAN.heartbeat_ns
        wire: list[tuple[NodeId, SendRaft]] = []
        for node, member in self.members.items():
            wire += self._carried(node, member.tick(self.now_ns))
        while wire:
            source, sent = wire.pop(0)
            member = self.members[sent.node]
            wire += self._carried(sent.node, member.heard(self.now_ns, source, sent.message))

    def _carried(self, node: NodeId, effects: list[RaftEffect]) -> list[tuple[NodeId, SendRaft]]:
        written = self.members[node].persisted(self.now_ns, self.members[node].number)
        return [(node, effect) for effect in [*effects, *written] if isinstance(effect, SendRaft)]
