"""Cosigning between nodes: in memory, with logs on disk; each way to tell two stories ends in a refusal or a conviction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.agent.log_site import Member, Site

from worldos.agent.cosigning import MESSAGES_PER_SECOND
from worldos.errors import Unreachable
from worldos.kernel.decisions import Answered
from worldos.model.audit import CheckpointSeen, CheckpointTold, ForkTold
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.need import Need
from worldos.trust.note import cosignatures, read_note, sign_checkpoint
from worldos.trust.witness import check_fork

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
        b.hold(a.id, "lease-1")
        known = b.cosigning.known[a.id]
        found = await b.cosigning.pieces.audit(a.id, (known.size, known.root))
        assert (found["wrong"], found["decisions"], found["receipts"]) == ([], 601, 1)
        b.hold(a.id, "lease-1", "lease-2")
        found = await b.cosigning.pieces.audit(a.id, (known.size, known.root))
        assert found["wrong"] == ["it granted us lease-2, and its log does not say so"]
        found = await b.cosigning.pieces.audit(a.id, (500, bytes(32)))
        assert "not there any more" in found["wrong"][0]
        a.cut.add(b.id)
        with pytest.raises(Unreachable):
            await Member(site, 5).cosigning.pieces.piece(NodeId("nobody"), "tile")  # type: ignore[arg-type]

    tell(folder, 2, story)


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
