"""Pieces of logs between nodes: what is asked for comes checked or not at all, and nobody gets words that are not theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.agent.log_site import Member, Site

from worldos.agent import log_pieces
from worldos.errors import PeerBroke, Unreachable
from worldos.kernel.decisions import Answered
from worldos.model.audit import Piece, PieceAsk, PieceTold, ReceiptAsk, ReceiptTold
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.need import Need
from worldos.trust.merkle import leaf_hash
from worldos.trust.tiles import read_bundle

NEED = Need(kind="CPU", amount=1000)


def grant(holder: NodeId, lease: str) -> Answered:
    return Answered(holder=holder, ask=1, use=UseId("u"), need=NEED, resources=(ResourceId("r"),), lease=LeaseId(lease))


async def grown(site: Site, count: int) -> tuple[Member, Member]:
    a, b, *_ = site.list()
    await a.decide(count)
    return a, b


def test_tiles_and_bundles_are_those_on_disk_and_too_much_is_not_given(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = await grown(Site(tmp_path, 2), 300)
        pieces = b.cosigning.pieces
        bundle = read_bundle(await pieces.piece(a.id, Piece.ENTRIES, 0, 1, 44))
        tile = await pieces.piece(a.id, Piece.TILE, 0, 1, 44)
        assert tile == b"".join(map(leaf_hash, bundle))
        assert len(await pieces.piece(a.id, Piece.TILE, 1, 0, 1)) == 32
        assert await pieces.piece(a.id, Piece.TILE, 0, 1, 45) == b""
        assert await pieces.piece(a.id, Piece.ENTRIES, 0, 2**40, 1) == b""

    asyncio.run(story())


def test_only_who_was_granted_a_lease_gets_its_receipt(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 3)
        a, b, c = site.list()
        a.log.take([grant(b.id, "l1")])
        await a.decide(1)
        for peer in (b, c):
            a.cosigning.heard(peer.id, ReceiptAsk(ask=9, lease=LeaseId("l1")))
        await site.quiet()
        told = [message for message in a.said if isinstance(message, ReceiptTold)]
        assert sorted(each.number for each in told) == [-1, 0]

    asyncio.run(story())


def test_what_was_erased_is_in_no_receipt(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 2)
        a, b = site.list()
        a.log.take([grant(b.id, "l1")])
        await a.decide(1)
        await a.log.erase(0)
        a.cosigning.heard(b.id, ReceiptAsk(ask=9, lease=LeaseId("l1")))
        await site.quiet()
        assert [message.number for message in a.said if isinstance(message, ReceiptTold)] == [-1]

    asyncio.run(story())


def test_an_answer_of_somebody_else_and_one_that_nobody_waits_for_are_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 3)
        a, b, c = site.list()
        await a.decide(5)
        asked = asyncio.ensure_future(b.cosigning.pieces.piece(a.id, Piece.TILE, 0, 0, 5))
        await asyncio.sleep(0)
        b.cosigning.heard(c.id, PieceTold(ask=1, data=b"a lie"))
        b.cosigning.heard(a.id, PieceTold(ask=77, data=b"nobody asked"))
        assert len(await asked) == 160

    asyncio.run(story())


def test_a_node_that_does_not_answer_or_is_not_linked_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pieces, "WAIT_S", 0.05)

    async def story() -> None:
        a, b = await grown(Site(tmp_path, 2), 5)
        a.cut.add(b.id)
        with pytest.raises(Unreachable, match="does not show"):
            await b.cosigning.pieces.piece(a.id, Piece.TILE, 0, 0, 5)
        with pytest.raises(Unreachable, match="not linked"):
            await b.cosigning.pieces.piece(NodeId("x" * 52), Piece.TILE)

    asyncio.run(story())


def test_a_log_that_shows_other_leaves_than_it_signed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        a, b = await grown(Site(tmp_path, 2), 20)
        honest = a.log.whole().read_entries
        b.hold(a.id)
        monkeypatch.setattr(a.log.whole(), "read_entries", lambda index, width: honest(index, width)[:-1] + b"?")
        found = await b.cosigning.pieces.audit(a.id, None)
        assert found["wrong"] == ["its leaves do not come to the root that it signed"]
        monkeypatch.setattr(a.log.whole(), "read_entries", lambda index, width: honest(index, width)[:-50])
        with pytest.raises(PeerBroke):
            await b.cosigning.pieces.audit(a.id, None)

    asyncio.run(story())


def test_a_receipt_of_another_decision_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 2)
        a, b = site.list()
        a.log.take([grant(b.id, "l1"), grant(b.id, "l2")])
        await a.decide(1)
        a.log.granted[b.id, LeaseId("l2")] = a.log.granted[b.id, LeaseId("l1")]
        b.hold(a.id, "l1", "l2")
        found = await b.cosigning.pieces.audit(a.id, None)
        assert found["wrong"] == ["the receipt of l2 is that of another decision"]
        a.cosigning.heard(b.id, PieceAsk(ask=1, piece=Piece.COSIGNED))
        await site.quiet()

    asyncio.run(story())
