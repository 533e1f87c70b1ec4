"""Work: the line and the queues of a site as one state machine, which the site's council keeps.

``apply`` is a function of what was applied before, and total: whatever a command says, it is answered and nothing is raised, so
replicas that apply the same log hold the same bytes. Time is what commands were stamped with; it never runs back. A command whose
``said`` is empty only lets time pass. Source: D. Ongaro, thesis, chapter 6 (state machines, and time in them).
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.line.line import Kept, Line
from worldos.kernel.queues.queue import Queue
from worldos.kernel.queues.queues import Queues
from worldos.model.work import Ack, Extend, Nack, Put, QueueDropped, QueueMade, Take, WorkAnswer, WorkCommand

FORM: Final = 1
_OF_QUEUES: Final = (Put, Take, Ack, Nack, Extend, QueueMade, QueueDropped)


class Whole(msgspec.Struct, array_like=True):
    """A snapshot."""

    form: int
    wall_ms: int
    line: Kept
    queues: list[Queue]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Whole).decode


class Work:
    """What a site has to do, and what waits in its queues."""

    def __init__(self) -> None:
        self.line = Line()
        self.queues = Queues()
        self.wall_ms = 0

    def apply(self, command: WorkCommand) -> tuple[WorkAnswer, ...]:
        """Do what a command says; return one answer for each of its parts, in order."""
        if command.wall_ms > self.wall_ms:
            before_ms, self.wall_ms = self.wall_ms, command.wall_ms
            self.line.tick(self.wall_ms)
            self.queues.tick(before_ms, self.wall_ms)
        wall_ms, line, queues = self.wall_ms, self.line.apply, self.queues.apply
        return tuple([queues(said, wall_ms) if isinstance(said, _OF_QUEUES) else line(said) for said in command.said])

    def snapshot(self) -> bytes:
        """Return the whole state as bytes; equal states give equal bytes."""
        return _encode(Whole(FORM, self.wall_ms, self.line.kept(), self.queues.kept()))

    @classmethod
    def restore(cls, data: bytes) -> Work:
        """Return the state of which a snapshot was made; PeerBroke if these bytes are none."""
        work = cls()
        try:
            whole = _decode(data)
            if whole.form != FORM:
                raise ValueError(whole.form)
            work.line = Line.again(whole.line, whole.wall_ms)
            work.queues = Queues.again(whole.queues)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as cause:
            raise PeerBroke("the snapshot of a site's work cannot be read") from cause
        work.wall_ms = whole.wall_ms
        return work
