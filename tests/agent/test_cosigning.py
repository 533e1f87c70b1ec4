"""Cosigning between nodes: in memory, with logs on disk; each way to tell two stories ends in a refusal or a conviction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.agent.cosigning import MESSAGES_PER_SECOND, Cosigning
from worldos.agent.decision_log import DecisionLog
from worldos.errors import Unreachable
from worldos.kernel.decisions import Answered, Ended
from worldos.kernel.effects import Notice
from worldos.model.audit import AuditMessage, CheckpointSeen, CheckpointTold, ForkTold
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.need import Need
from worldos.trust.keys import DeviceKey
from worldos.trust.note import cosignatures, read_note, sign_checkpoint
from worldos.trust.witness import check_fork


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


Story = Callable[[Site], Awaitable[None]]


def tell(folder: Path, count: int, story: Story) -> None:
    async def run() -> None:
        site = Site(folder, count)
        await story(site)
        await site.quiet()

    asyncio.run(run())


def names(member: Member) -> list[str]:
    return [notice.name for notice in member.notices]


def test_a_log_that_grows_is_cosigned_by_all_and_ties_are_drawn_by_their_word(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b, c = site.list()
        a.log.begin(1)
        for _ in range(3):
            await a.decide(200)
            a.cosigning.tell_all()
            await site.quiet()
        size = a.log.whole().durable
        assert {w: s for w, (s, _) in a.cosigning.cosigned.items()} == {b.id: size, c.id: size}
        note = read_note(a.log.whole().load("cosigned"))
        assert {seen.witness for seen in cosignatures(note)} == {b.id, c.id}
        assert a.log.draws.now.note, "the beacon is a witness's"
        assert b.cosigning.known[a.id].size == size

    tell(folder, 3, story)


def test_a_witness_that_comes_later_or_forgot_is_told_from_where_it_is(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b = site.list()
        a.cut.add(b.id)
        await a.decide(300)
        a.cut.clear()
        await a.decide(5)
        a.cosigning.tell_all()
        await site.quiet()
        assert b.cosigning.known[a.id].size == 305
        again = Member(site, 1)  # its next life: it has written down what it cosigned
        assert again.cosigning.known[a.id].size == 305
        a.cosigning.cosigned.clear()
        await a.decide(1)
        a.cosigning.tell_all()
        await site.quiet()
        assert again.cosigning.known[a.id].size == 306

    tell(folder, 2, story)


def test_a_log_that_was_cut_is_refused_and_says_so_itself(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b = site.list()
        await a.decide(50)
        a.cosigning.tell_all()
        await site.quiet()
        rolled = Member(site, 0, home="older")  # the same key, from an older backup
        await rolled.decide(20)
        rolled.cosigning.tell_all()
        await site.quiet()
        assert b.cosigning.known[a.id].size == 50
        assert "decision log was cut" in names(rolled)
        assert rolled.cosigning.refusing == {b.id: 50}

    tell(folder, 2, story)


def test_a_log_that_was_rewritten_gets_no_cosignature_and_convicts_itself(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b, c = site.list()
        await a.decide(51)
        a.cosigning.tell_all()
        await site.quiet()
        other = Member(site, 0, home="rewritten")
        await other.decide(60)
        other.cosigning.cosigned = dict(a.cosigning.cosigned)
        other.cosigning.tell_all()
        await site.quiet()
        assert not any(isinstance(m, CheckpointSeen) and m.line and m.size == 60 for m in (*b.said, *c.said))
        assert a.id in b.cosigning.forks
        assert a.id in c.cosigning.forks
        assert check_fork(c.cosigning.forks[a.id]) == a.id
        assert "a decision log told two stories" in names(b)
        again = Member(site, 1)
        assert a.id in again.cosigning.forks, "it is not forgotten"

    tell(folder, 3, story)


@pytest.mark.parametrize("sizes", [(40, 40), (40, 47), (47, 40), (32, 40)])
def test_two_witnesses_that_were_shown_two_histories_find_out_from_each_other(
    folder: Path, sizes: tuple[int, int]
) -> None:
    async def story(site: Site) -> None:
        a, b, c = site.list()
        a.cut.add(c.id)
        await a.decide(sizes[0])
        a.cosigning.tell_all()
        await site.quiet()
        liar = Member(site, 0, home="second")
        liar.cut.add(b.id)
        await liar.decide(sizes[1])
        liar.cosigning.tell_all()
        await site.quiet()
        assert b.cosigning.known[a.id].size, c.cosigning.known[a.id].size == sizes
        liar.cut.clear()
        for _ in range(4):
            b.cosigning.relay()
            c.cosigning.relay()
            await site.quiet()
        convicted = [m for m in (b, c) if a.id in m.cosigning.forks]
        if sizes[0] <= sizes[1]:  # it must show the tiles of the larger history, which the second story has
            assert convicted == [b, c]
        for member in convicted:
            assert check_fork(member.cosigning.forks[a.id]) == a.id

    tell(folder, 3, story)


def test_nobody_can_convict_an_honest_log_with_garbage_or_another_key(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b, c = site.list()
        await a.decide(10)
        a.cosigning.tell_all()
        await site.quiet()
        honest = a.log.whole().load("checkpoint")
        forged = sign_checkpoint(c.key, 10, bytes(32)).replace(c.id.encode(), a.id.encode())
        c.send(b.id, ForkTold(log=a.id, first=honest, second=forged))
        c.send(b.id, ForkTold(log=a.id, first=honest, second=honest))
        c.send(b.id, CheckpointTold(log=a.id, note=forged))
        c.send(b.id, CheckpointTold(log=c.id, note=honest))
        c.send(b.id, CheckpointTold(log=a.id, note=b"garbage"))
        await site.quiet()
        assert not b.cosigning.forks
        await a.decide(10)
        a.cosigning.tell_all()
        await site.quiet()
        assert b.cosigning.known[a.id].size == 20

    tell(folder, 3, story)


def test_who_says_too_much_in_a_second_is_not_heard(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b = site.list()
        for _ in range(3 * MESSAGES_PER_SECOND):
            b.cosigning.heard(a.id, CheckpointSeen(size=0))
        assert b.cosigning._buckets[a.id][1] <= 3 * MESSAGES_PER_SECOND

    tell(folder, 2, story)


def test_another_nodes_log_is_fetched_and_checked_with_the_receipts_of_what_it_granted(folder: Path) -> None:
    async def story(site: Site) -> None:
        a, b = site.list()
        need = Need(kind="CPU", amount=1000)
        granted = Answered(
            holder=b.id, ask=1, use=UseId("u"), need=need, resources=(ResourceId("r"),), lease=LeaseId("lease-1")
        )
        a.log.take([granted])
        await a.decide(600)
        a.cosigning.tell_all()
        await site.quiet()
        b.uses = Held(a.id, "lease-1")  # type: ignore[attr-defined]
        known = b.cosigning.known[a.id]
        found = await b.cosigning.pieces.audit(a.id, (known.size, known.root))
        assert (found["wrong"], found["decisions"], found["receipts"]) == ([], 601, 1)
        b.uses = Held(a.id, "lease-1", "lease-2")  # type: ignore[attr-defined]
        found = await b.cosigning.pieces.audit(a.id, (known.size, known.root))
        assert found["wrong"] == ["it granted us lease-2, and its log does not say so"]
        found = await b.cosigning.pieces.audit(a.id, (500, bytes(32)))
        assert "not there any more" in found["wrong"][0]
        a.cut.add(b.id)
        with pytest.raises(Unreachable):
            await Member(site, 5).cosigning.pieces.piece(NodeId("nobody"), "tile")  # type: ignore[arg-type]

    tell(folder, 2, story)


class Held:
    """What programs on a node hold from another."""

    def __init__(self, node: NodeId, *leases: str) -> None:
        self.held = self
        self.terms = self
        self.node = node
        self.leases = dict.fromkeys(map(LeaseId, leases), self)


def test_two_real_agents_cosign_each_other_and_check_each_others_logs(pair: tuple[RunningAgent, RunningAgent]) -> None:
    desk, attic = pair
    until(lambda: cosigned(desk) and cosigned(attic), "each is cosigned by the other", 20)
    for here, there in ((desk, attic), (attic, desk)):
        found = here.ask("audit_verify", node=there.ask("status")["node"])
        assert found["wrong"] == []
        assert found["cosigned_before"] > 0
        assert [seen["node"] for seen in found["witnesses"]] == [here.ask("status")["node"]]


def cosigned(agent: RunningAgent) -> bool:
    found = agent.ask("audit_witness")
    return bool(found["by"]) and found["by"][0]["size"] > 0 and bool(found["of"])
