"""What a node's agent says to its runner: the process that brings attempts of jobs to leases (jobs/runner.py).

The runner listens with the order ``runner_hear`` of the local socket: each word is msgpack of one of these. What it has to say in
turn are commands of the work (``model/work``), which attempts it holds (``Holding``), and answers to ``LogAsk``.
Units: seconds, bytes.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from worldos.model.work import BATCH_MAX, Attempt, JobSpec

LOG_PIECE_BYTES_MAX: Final = 256 * 1024
HELD_MAX: Final = 100_000

CANCELLED: Final = "cancel"
PREEMPTED: Final = "preempt"

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Why = Annotated[str, msgspec.Meta(max_length=1024)]


class TaskGiven(msgspec.Struct, frozen=True, kw_only=True, tag="given", omit_defaults=True):
    """Run these attempts of one job. ``checkpoints``: where the attempt before left off, for those that have such a file."""

    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]
    spec: JobSpec
    checkpoints: dict[int, Annotated[str, msgspec.Meta(max_length=128)]] = {}


class TaskStop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Stop this attempt: its job was cancelled, or it makes way for what is more urgent (``why`` says for what)."""

    attempt: Attempt
    reason: Annotated[str, msgspec.Meta(pattern="^(cancel|preempt)$")]
    why: _Why = ""
    grace_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30


class LogAsk(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """What has this attempt put out from ``offset`` on? Answered by the order ``runner_told`` with a ``LogPiece``."""

    request: _Count
    attempt: Attempt
    offset: _Count
    size: Annotated[int, msgspec.Meta(ge=1, le=LOG_PIECE_BYTES_MAX)] = LOG_PIECE_BYTES_MAX


RunnerOrder = TaskGiven | TaskStop | LogAsk


class LogPiece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """A piece of a log, and where it begins: later than asked where the middle of a long log was cut out.

    ``written``: how much was put out so far. ``gone``: nothing is known here of that attempt.
    """

    offset: _Count
    data: Annotated[bytes, msgspec.Meta(max_length=LOG_PIECE_BYTES_MAX)] = b""
    written: _Count = 0
    ended: bool = False
    gone: bool = False


class Holding(msgspec.Struct, frozen=True, kw_only=True, tag="holding"):
    """All attempts that this runner has and has not ended: what is not among them, it does not run."""

    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=HELD_MAX)] = ()
