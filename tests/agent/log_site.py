"""Nodes in one process that tell each other of their decision logs, each with a log of its own on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from worldos.agent.cosigning import Cosigning
from worldos.agent.decision_log import DecisionLog
from worldos.kernel.decisions import Ended
from worldos.kernel.effects import Notice
from worldos.model.audit import AuditMessage
from worldos.model.ids import LeaseId, NodeId
from worldos.trust.keys import DeviceKey


class Site:
    """Nodes in one process that hear each other at once, each with a log of its own on disk."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.tasks: set[asyncio.Task[None]] = set()
        self.nodes: dict[NodeId, Member] = {}
        for number in range(count):
            Member(self, number)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def quiet(self) -> None:
        """Wait until nobody has anything left to do."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    def list(self) -> list[Member]:
        return list(self.nodes.values())


class Member:
    """What cosigning sees of a node, and the node's log. ``sees``: those it is linked with (all by default)."""

    def __init__(self, site: Site, number: int, *, home: str = "") -> None:
        self.site = site
        self.key = DeviceKey.from_seed(bytes([number + 1]) * 32)
        self.id = self.node = NodeId(self.key.node_id)
        self.notices: list[Notice] = []
        self.folder = site.folder / (home or f"n{number}")
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self.cut: set[NodeId] = set()
        self.said: list[AuditMessage] = []
        self.log = DecisionLog(self.folder / "decisions", self.key, self.notices.append)
        self.cosigning = Cosigning(self.folder, self.log, self, self.send, site.spawn, self.notices.append)  # type: ignore[arg-type]
        site.nodes[self.id] = self

    def send(self, to: NodeId, message: AuditMessage) -> None:
        self.said.append(message)
        peer = self.site.nodes.get(to)
        if peer is not None and to not in self.cut and self.id not in peer.cut:
            asyncio.get_running_loop().call_soon(peer.cosigning.heard, self.id, message)
            self.site.spawn(asyncio.sleep(0))

    async def decide(self, count: int) -> None:
        for number in range(count):
            self.log.take([Ended(lease=LeaseId(f"l{number}"), why="expired")])
        await self.log.flush()

    def hold(self, node: NodeId, *leases: str) -> None:
        """Let programs here hold these leases from a node."""
        self.uses = Held(node, *leases)

    # what Cosigning reads of a node
    @property
    def paths(self) -> dict[NodeId, None]:
        return dict.fromkeys(n for n in self.site.nodes if n != self.id and n not in self.cut)

    @property
    def realms(self) -> Any:
        return self

    @property
    def kin(self) -> Any:
        return self

    def contact(self, node: NodeId) -> None:
        return None

    def is_member(self, node: NodeId) -> bool:
        return node in self.site.nodes


class Held:
    """What programs on a node hold from another, as far as an audit reads it."""

    def __init__(self, node: NodeId, *leases: str) -> None:
        self.held = self
        self.terms = self
        self.node = node
        self.leases = dict.fromkeys(map(LeaseId, leases), self)
