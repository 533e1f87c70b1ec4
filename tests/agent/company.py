"""Nodes of one account in one thread: real nodes, real keys and statements, and links that can be cut. Time stands still."""

from __future__ import annotations

from pathlib import Path

from worldos.agent.company import Company
from worldos.home import Home
from worldos.kernel.effects import Effect, Forget, Notice, Send
from worldos.kernel.events import ClockTicked, Event, KeyLogOffered, PeerLinked, PeerSaid, StatementsOffered
from worldos.model.ids import NodeId
from worldos.model.statements import Statement, Topic
from worldos.node import Node, new_node
from worldos.sim.machine import account_of, device_key, removal
from worldos.trust.keylog import KeyLog
from worldos.trust.statements import sign_statement, statement_id

SECOND = 1_000_000_000


class Device:
    """One node with its shell's part of what the company keeps."""

    def __init__(self, group: Group, number: int, boot: int, folder: Path) -> None:
        self.group = group
        self.number = number
        self.key = device_key(number)
        self.id = NodeId(self.key.node_id)
        self.notices: list[Notice] = []
        self.stopped = ""
        self.home = Home(folder)
        folder.mkdir(exist_ok=True)
        self.node: Node = self._new_node(boot)
        self.tickets: list[str] = []
        self.company = self._company()

    def _company(self) -> Company:
        return Company(self.home, self.key, self.node, self.state, self._copied, self.tickets.append)

    def _new_node(self, boot: int) -> Node:
        keylog = KeyLog(entries=dict(self.group.entries))
        return new_node(
            node=self.id,
            account=keylog.account,
            boot=boot,
            name=f"device {self.number}",
            place="",
            keylog=keylog,
            seed=self.number,
            now_ns=self.group.now_ns,
        )

    def _copied(self, why: str) -> None:
        self.stopped = why

    def state(self, topic: Topic, body: bytes) -> str:
        """Sign and take in, as the agent does."""
        statement = sign_statement(self.key, topic, body)
        self.feed(StatementsOffered(now_ns=self.group.now_ns, statements=(statement,)))
        self.group.deliver()
        return statement_id(statement)

    def feed(self, event: Event) -> None:
        for effect in self.node.handle(event):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self.group.waiting.append((self.id, effect))
        elif isinstance(effect, Notice):
            self.notices.append(effect)
        elif isinstance(effect, Forget):
            self.group.waiting.append((self.id, effect))

    def again(self, boot: int) -> Device:
        """Begin the next life of this device with what it has on disk."""
        kept = tuple(s for topic in Topic for s in self.node.statements.of(topic).values())
        self.node = self._new_node(boot)
        self.company = self._company()
        self.feed(StatementsOffered(now_ns=self.group.now_ns, statements=kept, stored=True))
        return self

    def begin(self) -> Device:
        self.company.begin()
        return self

    @property
    def said(self) -> list[str]:
        return [notice.name for notice in self.notices]


class Group:
    """The account and its devices; ``link`` and ``cut`` say who hears whom."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.now_ns = SECOND
        self.entries = dict(account_of(count))
        self.linked: set[frozenset[NodeId]] = set()
        self.waiting: list[tuple[NodeId, Send | Forget]] = []
        self.devices = [Device(self, number, 1, folder / f"d{number}") for number in range(count)]

    def whole(self) -> Group:
        """Begin all lives, and link everybody."""
        for device in self.devices:
            device.begin()
        self.link_all()
        self.step()
        return self

    def link_all(self) -> None:
        for one in self.devices:
            for other in self.devices:
                if one.number < other.number:
                    self.link(one, other)

    def link(self, one: Device, other: Device) -> None:
        self.linked.add(frozenset({one.id, other.id}))
        one.feed(PeerLinked(now_ns=self.now_ns, node=other.id, boot=other.node.boot))
        other.feed(PeerLinked(now_ns=self.now_ns, node=one.id, boot=one.node.boot))
        self.deliver()

    def cut(self, one: Device, other: Device) -> None:
        self.linked.discard(frozenset({one.id, other.id}))

    def cut_all(self) -> None:
        self.linked.clear()

    def deliver(self) -> None:
        """Let everything that was sent arrive, or be lost where nothing leads there."""
        while self.waiting:
            sender, send = self.waiting.pop(0)
            if isinstance(send, Forget):  # what was sent before it still arrives
                self.linked.discard(frozenset({sender, send.node}))
            elif frozenset({sender, send.node}) in self.linked:
                event = PeerSaid(now_ns=self.now_ns, node=sender, message=send.message)
                self.of(send.node).feed(event)

    def of(self, node: NodeId) -> Device:
        return next(device for device in self.devices if device.id == node)

    def step(self, seconds: int = 1) -> None:
        """Let time pass: each node ticks, each shell looks."""
        for _ in range(seconds):
            self.now_ns += SECOND
            for device in self.devices:
                device.feed(ClockTicked(now_ns=self.now_ns))
                self.deliver()
                if not device.stopped:
                    device.company.step()
                self.deliver()

    def revoke(self, out: Device, at: Device) -> None:
        """Put a device out, by the right of the recovery words, at one device."""
        signed = removal(at.node.keylog, out.id)
        at.feed(KeyLogOffered(now_ns=self.now_ns, entries=((signed.body, signed.signature),)))
        self.deliver()


def statements(device: Device, topic: Topic) -> list[Statement]:
    return list(device.node.statements.of(topic).values())
