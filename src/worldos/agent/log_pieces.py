"""Pieces of decision logs: this node gives those of its own to who asks, and asks others for theirs.

Tiles and bundles of entries are served as they are on disk; who gets them checks them against a signed root. A *receipt* is the
words of one decision that concerns the asker: that it was granted a lease. Nobody else gets words of decisions.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from worldos.errors import BadRequest, BadSignature, Damaged, NotThere, PeerBroke, Unreachable
from worldos.kernel.decisions import Answered
from worldos.kernel.records import LEAF_BYTES, check_payload, read_leaf
from worldos.model.audit import (
    PAYLOAD_BYTES_TOLD,
    AuditMessage,
    Piece,
    PieceAsk,
    PieceTold,
    ReceiptAsk,
    ReceiptTold,
)
from worldos.model.ids import LeaseId, NodeId
from worldos.trust.merkle import HASH_BYTES, Tree, leaf_hash
from worldos.trust.note import check_checkpoint, cosignatures
from worldos.trust.tiles import LEVELS_MAX, WIDTH, ReadTile, read_bundle, width_of

if TYPE_CHECKING:
    from worldos.agent.decision_log import DecisionLog
    from worldos.node import Node

WAIT_S: Final = 10.0
ASKED_MAX: Final = 256
AUDITED_MAX: Final = 2**20  # leaves of another's log that are fetched and checked in one go
RECEIPTS_MAX: Final = 64
Spawn = Callable[[Coroutine[None, None, None]], Any]


class LogPieces:
    """What is served of the own log, and what is waited for of others'."""

    def __init__(
        self, log: DecisionLog, node: Node, send: Callable[[NodeId, AuditMessage], None], spawn: Spawn
    ) -> None:
        self._log = log
        self._node = node
        self._send = send
        self._spawn = spawn
        self._asked: dict[int, tuple[NodeId, asyncio.Future[PieceTold | ReceiptTold]]] = {}
        self._ask = 0

    def heard(self, peer: NodeId, message: PieceAsk | PieceTold | ReceiptAsk | ReceiptTold) -> None:
        """Serve who asks; hand an answer to who waits for it."""
        match message:
            case PieceAsk():
                self._spawn(self._serve(peer, message))
            case ReceiptAsk():
                self._spawn(self._receipt(peer, message))
            case PieceTold() | ReceiptTold():
                asked, future = self._asked.get(message.ask, (None, None))
                if asked == peer and future is not None and not future.done():
                    future.set_result(message)

    async def tiles_for(self, node: NodeId, small: int, large: int) -> ReadTile:
        """Fetch the tiles by which a log of ``large`` decisions shows what it was at ``small``."""
        wanted = {
            (level, at, width_of(level, at, large))
            for level in range(LEVELS_MAX)
            for at in {small >> 8 * (level + 1), max(0, (small >> 8 * level) - 1) >> 8, large >> 8 * (level + 1)}
        }
        tiles: dict[tuple[int, int], bytes] = {}
        for level, at, width in sorted(wanted):
            if width:
                tiles[level, at] = await self.piece(node, Piece.TILE, level, at, width)

        def read(level: int, index: int, width: int) -> bytes:
            return tiles.get((level, index), b"")[: width * HASH_BYTES]

        return read

    async def piece(self, node: NodeId, piece: Piece, level: int = 0, index: int = 0, width: int = 0) -> bytes:
        """Ask for one piece; raise Unreachable where it does not come."""
        answer = await self._question(
            node, lambda ask: PieceAsk(ask=ask, piece=piece, level=level, index=index, width=width)
        )
        if not isinstance(answer, PieceTold):
            raise PeerBroke("an answer to another question")
        return answer.data

    async def audit(self, node: NodeId, known: tuple[int, bytes] | None) -> dict[str, Any]:
        """Fetch every leaf of another node's log and check it; ``known`` is size and root of what we cosigned of it last."""
        signed = await self.piece(node, Piece.COSIGNED)
        if not signed:
            raise NotThere(f"{node[:8]} has no log to show yet", hint="try again in a moment")
        note, checkpoint = check_checkpoint(signed, node)
        if checkpoint.size > AUDITED_MAX:
            raise BadRequest(f"a log of {checkpoint.size} decisions is too long to fetch", hint="copy its files")
        tree = Tree()
        leaves: list[bytes] = []
        for index in range(-(-checkpoint.size // WIDTH)):
            width = width_of(0, index, checkpoint.size)
            entries = read_bundle(await self.piece(node, Piece.ENTRIES, 0, index, width))
            if len(entries) != width or any(len(entry) != LEAF_BYTES for entry in entries):
                raise PeerBroke("a bundle that has not as many leaves as it should")
            leaves += entries
            for entry in entries:
                tree.append_hash(leaf_hash(entry))
        wrong = [] if tree.root() == checkpoint.root else ["its leaves do not come to the root that it signed"]
        if known is not None and known[0] > checkpoint.size:
            wrong.append(f"it has {checkpoint.size} decisions, and we cosigned {known[0]}")
        elif known is not None and known[0] and tree.root(known[0]) != known[1]:
            wrong.append(f"what we cosigned at {known[0]} is not there any more")
        held, shown = await self._receipts_of(node, leaves, wrong)
        return {
            "log": node,
            "decisions": checkpoint.size,
            "root": checkpoint.root.hex(),
            "cosigned_before": known[0] if known is not None else 0,
            "witnesses": [{"node": seen.witness, "at_s": seen.at_s} for seen in cosignatures(note)],
            "leases_held": held,
            "receipts": shown,
            "wrong": wrong,
        }

    async def _receipts_of(self, node: NodeId, leaves: list[bytes], wrong: list[str]) -> tuple[int, int]:
        """Ask for the receipt of each lease that programs here hold from a node; one that is missing is an omission."""
        held = [lease for lease, each in self._node.uses.held.leases.items() if each.terms.node == node][:RECEIPTS_MAX]
        shown = 0
        for lease in sorted(held):
            answer = await self._question(node, functools.partial(_receipt_ask, lease))
            if not isinstance(answer, ReceiptTold) or not answer.number >= 0:
                wrong.append(f"it granted us {lease}, and its log does not say so")
                continue
            if answer.number >= len(leaves):
                shown += 1  # granted after the checkpoint that was fetched
                continue
            try:
                record = check_payload(read_leaf(leaves[answer.number]), answer.salt, answer.payload)
            except Damaged as error:
                wrong.append(f"the receipt of {lease}: {error}")
                continue
            if not isinstance(record, Answered) or (record.lease, record.holder) != (lease, self._node.node):
                wrong.append(f"the receipt of {lease} is that of another decision")
                continue
            shown += 1
        return len(held), shown

    async def _question(self, node: NodeId, make: Callable[[int], AuditMessage]) -> PieceTold | ReceiptTold:
        if node not in self._node.paths:
            raise Unreachable(f"{node[:8]} is not linked", hint="wos nodes shows which are")
        if len(self._asked) >= ASKED_MAX:
            raise Unreachable("too many pieces are being waited for")
        self._ask += 1
        ask = self._ask
        future: asyncio.Future[PieceTold | ReceiptTold] = asyncio.get_running_loop().create_future()
        self._asked[ask] = (node, future)
        try:
            self._send(node, make(ask))
            async with asyncio.timeout(WAIT_S):
                return await future
        except TimeoutError as cause:
            raise Unreachable(f"{node[:8]} does not show its log") from cause
        finally:
            del self._asked[ask]

    async def _serve(self, peer: NodeId, asked: PieceAsk) -> None:
        data = b""
        with suppress(NotThere, Damaged, PeerBroke, BadSignature):
            data = await asyncio.to_thread(self._read, asked)
            if not data and asked.piece is Piece.COSIGNED:
                await self._log.flush()  # it began a moment ago, and has signed nothing yet
                data = await asyncio.to_thread(self._read, asked)
        self._send(peer, PieceTold(ask=asked.ask, data=data))

    def _read(self, asked: PieceAsk) -> bytes:
        files = self._log.whole()
        if asked.piece is Piece.COSIGNED:
            return files.load("cosigned") or files.load("checkpoint")
        if not 0 < asked.width <= width_of(asked.level, asked.index, files.durable):
            return b""
        if asked.piece is Piece.ENTRIES:
            return files.read_entries(asked.index, asked.width)
        return files.read_tile(asked.level, asked.index, asked.width)

    async def _receipt(self, peer: NodeId, asked: ReceiptAsk) -> None:
        """Show who holds a lease that it was granted to it, once that is written."""
        await self._log.flush()
        receipt = self._log.granted.get((peer, asked.lease))
        if receipt is None or len(receipt.payload) > PAYLOAD_BYTES_TOLD:
            self._send(peer, ReceiptTold(ask=asked.ask, number=-1))
            return
        self._send(
            peer,
            ReceiptTold(ask=asked.ask, number=receipt.number, salt=receipt.salt, payload=receipt.payload),
        )


def _receipt_ask(lease: LeaseId, ask: int) -> ReceiptAsk:
    return ReceiptAsk(ask=ask, lease=lease)
