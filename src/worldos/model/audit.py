"""What nodes say to each other about decision logs: checkpoints to be cosigned, tiles to check them by, and forks.

A witness holds a new checkpoint against the last one that it cosigned and demands the proof between them. Everything here is
checked by whoever hears it: notes are signed, tiles must come to a signed root, a fork is two notes that one key signed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.model.ids import LeaseId
from worldos.model.realm import NodeName

NOTE_BYTES_MAX: Final = 8192
LINE_CHARS_MAX: Final = 512
PROOF_MAX: Final = 64
PIECE_BYTES_MAX: Final = 16 * 1024
PAYLOAD_BYTES_TOLD: Final = 64 * 1024
SIZE_MAX: Final = 2**62

NoteBytes: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=NOTE_BYTES_MAX)]
Hash: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
Path: TypeAlias = Annotated[tuple[Hash, ...], msgspec.Meta(max_length=PROOF_MAX)]
Question: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]


class CheckpointTold(msgspec.Struct, frozen=True, kw_only=True, tag="log-head"):
    """This is what the log of ``log`` is now, and the proof that it goes on from size ``old``.

    From the log itself: cosign it. From another, with ``old`` 0 and no proof: this is what I was shown.
    """

    log: NodeName
    note: NoteBytes
    old: Size = 0
    proof: Path = ()


class CheckpointSeen(msgspec.Struct, frozen=True, kw_only=True, tag="log-seen"):
    """I know your log at ``size``: with ``line`` I cosign it, without it tell me how it went on from there."""

    size: Size
    line: Annotated[str, msgspec.Meta(max_length=LINE_CHARS_MAX)] = ""


class ForkTold(msgspec.Struct, frozen=True, kw_only=True, tag="log-fork"):
    """One key signed two histories: two roots of one size, or a ``path`` by which the second had another root at the first's."""

    log: NodeName
    first: NoteBytes
    second: NoteBytes
    path: Path = ()


class Piece(StrEnum):
    """What of a log can be asked for."""

    TILE = "tile"
    ENTRIES = "entries"
    COSIGNED = "cosigned"


class PieceAsk(msgspec.Struct, frozen=True, kw_only=True, tag="log-piece?", omit_defaults=True):
    """Give me a piece of your log; ``ask`` comes back with it."""

    ask: Question
    piece: Piece
    level: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    index: Size = 0
    width: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0


class PieceTold(msgspec.Struct, frozen=True, kw_only=True, tag="log-piece"):
    """The piece; empty where there is none."""

    ask: Question
    data: Annotated[bytes, msgspec.Meta(max_length=PIECE_BYTES_MAX)]


class ReceiptAsk(msgspec.Struct, frozen=True, kw_only=True, tag="log-receipt?"):
    """Say where in your log it is that you granted me this lease."""

    ask: Question
    lease: Annotated[LeaseId, msgspec.Meta(max_length=128)]


class ReceiptTold(msgspec.Struct, frozen=True, kw_only=True, tag="log-receipt"):
    """It is leaf ``number``: these words with this salt. Number -1: I know of no such decision."""

    ask: Question
    number: Annotated[int, msgspec.Meta(ge=-1, le=SIZE_MAX)]
    salt: Annotated[bytes, msgspec.Meta(max_length=16)] = b""
    payload: Annotated[bytes, msgspec.Meta(max_length=PAYLOAD_BYTES_TOLD)] = b""


AuditMessage: TypeAlias = CheckpointTold | CheckpointSeen | ForkTold | PieceAsk | PieceTold | ReceiptAsk | ReceiptTold
