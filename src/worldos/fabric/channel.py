"""Channels: duplex byte streams inside a session, each with a window of credit in both directions.

The far end's window is the invariant: never more than ``CHANNEL_WINDOW_BYTES`` are out that the far end's receiver
has not consumed. A receiver consumes by returning from ``data_received``; after ``pause`` nothing counts as
consumed until ``resume``, so at most one window more can come. Bytes keep their order; a channel outlives any link,
and ends with its session.

A writer looks at ``writable`` and waits for ``Receiver.writable``; who never stops is refused at
``CHANNEL_PENDING_BYTES_MAX``.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from worldos.errors import OverQuota, PeerBroke
from worldos.fabric import frame
from worldos.fabric.limits import (
    CHANNEL_PENDING_BYTES_MAX,
    CHANNEL_PENDING_HIGH_BYTES,
    CHANNEL_PENDING_LOW_BYTES,
    CHANNEL_WINDOW_BYTES,
    DATA_BYTES_MAX,
    REASON_BYTES_MAX,
)
from worldos.model.ids import NodeId

if TYPE_CHECKING:
    from worldos.fabric.session import Session

CREDIT_PAYLOAD: Final = Struct("<Q")
Bytes = bytes | bytearray | memoryview
LastWords = tuple[int, bytes]  # (kind, payload) of a frame that follows all bytes written before it


class Ending(StrEnum):
    """How a channel ended."""

    DONE = "done"  # one of the two ends closed it
    REFUSED = "refused"  # the far end did not take it
    BROKEN = "broken"  # the session ended below it


class Receiver(Protocol):
    """What stands at an end of a channel."""

    def accepted(self) -> None:
        """Note that the far end took the channel that this end opened."""

    def data_received(self, data: memoryview) -> None:
        """Bytes came. ``data`` is valid only during this call: copy what must stay."""

    def eof_received(self) -> None:
        """Note that the far end will write no more; this end still may."""

    def writable(self) -> None:
        """Note that what was pending is mostly sent: write again."""

    def closed(self, ending: Ending, reason: str) -> None:
        """Note that it is over; nothing more will be called."""


class Channel:
    """One end of a duplex byte stream to a node."""

    __slots__ = (
        "_acceptable",
        "_awaiting",
        "_chunks",
        "_credit",
        "_early",
        "_ended",
        "_eof_sent",
        "_far_eof",
        "_paused",
        "_queued",
        "_receiver",
        "_session",
        "_stalled",
        "_uncredited",
        "closed",
        "number",
        "pending_bytes",
        "priority",
        "relayed",
    )

    def __init__(self, session: Session, number: int, priority: int, receiver: Receiver | None) -> None:
        self._session = session
        self.number = number
        self.priority = priority
        self._receiver = receiver
        self._acceptable = receiver is None
        self._awaiting = receiver is not None  # the far end has not yet accepted
        self._far_eof = False
        self._early: list[bytes] = []  # came before ``accept``, at most a window; b"" is the far end's eof
        self._ended: tuple[Ending, str] | None = None  # the end came before ``accept``
        self._credit = CHANNEL_WINDOW_BYTES  # how much we may still send
        self._uncredited = 0  # bytes received and not yet credited back to the far end
        self._paused = False
        self._eof_sent = False
        self._queued = False  # stands in a queue of the session
        self._stalled = False  # the writer was told to wait
        self._chunks: deque[Bytes | LastWords] = deque()
        self.closed = False
        self.pending_bytes = 0
        self.relayed = False  # it carries somebody's link, not work of these two nodes

    @property
    def node(self) -> NodeId:
        """The node at the far end."""
        return self._session.node

    @property
    def writable(self) -> bool:
        """Whether a writer should go on."""
        return self.pending_bytes < CHANNEL_PENDING_HIGH_BYTES and not self.closed

    # -- what the owner of this end does -----------------------------------------------------------

    def accept(self, receiver: Receiver) -> None:
        """Take a channel that the far end opened; what came early is delivered at once."""
        assert self._acceptable, "only a channel that was opened by the far end is accepted, and once"
        self._acceptable = False
        self._receiver = receiver
        early, self._early = self._early, []
        if self._ended is None:
            self._session.queue(frame.ACCEPT, self.priority, self.number, b"")
        for data in early:
            if data:
                receiver.data_received(memoryview(data))
            else:
                receiver.eof_received()
        if self._ended is not None:
            receiver.closed(*self._ended)
        elif not self._paused:
            self._give_credit()

    def refuse(self, reason: str) -> None:
        """Turn down a channel that the far end opened."""
        assert self._acceptable, "only a channel that was opened by the far end is refused, and once"
        self._acceptable = False
        self._early.clear()
        if not self.closed:
            self._last(frame.REFUSE, reason)

    def write(self, data: Bytes) -> None:
        """Queue bytes. A ``bytes`` object is kept as it is, anything else is copied. Written after the end: dropped."""
        size = len(data)
        if self.closed or self._eof_sent or not size:
            return
        if self.pending_bytes + size > CHANNEL_PENDING_BYTES_MAX:
            raise OverQuota(
                f"{self.pending_bytes + size} bytes wait on a channel", hint="wait until the channel is writable"
            )
        self._chunks.append(data if type(data) is bytes else bytes(data))
        self.pending_bytes += size
        if self.pending_bytes >= CHANNEL_PENDING_HIGH_BYTES:
            self._stalled = True
        if self._credit > 0 and not self._queued:
            self._queued = True
            self._session.ready(self)

    def eof(self) -> None:
        """Say that this end writes no more; it still receives."""
        if not self.closed and not self._eof_sent:
            self._eof_sent = True
            self._finish((frame.EOF, b""))

    def close(self, reason: str = "") -> None:
        """End both directions after what was written has been sent. Nothing more is delivered here."""
        if not self.closed:
            self._last(frame.CLOSE, reason)

    def abort(self, reason: str = "") -> None:
        """End both directions now; what was not yet sent is dropped."""
        words = self._chunks[-1] if self._chunks else b""
        self._chunks.clear()
        self.pending_bytes = 0
        if self.closed and isinstance(words, tuple):
            self._chunks.append(words)  # closed before, and not yet said
        self.close(reason)

    def pause(self) -> None:
        """Grant the far end no more credit; at most one window more may come."""
        self._paused = True

    def resume(self) -> None:
        """Count all that came as consumed and grant credit again."""
        self._paused = False
        if not self.closed:
            self._give_credit()

    # -- what the session does ---------------------------------------------------------------------

    def take(self) -> tuple[int, Bytes] | None:
        """Return (kind, payload) of the next frame of this channel, or None where credit or bytes are missing."""
        chunks = self._chunks
        limit = min(self._credit, DATA_BYTES_MAX)
        first = chunks[0] if chunks else None
        if first is None or (limit <= 0 and not isinstance(first, tuple)):
            self._queued = False
            return None
        if isinstance(first, tuple):
            chunks.popleft()
            self._queued = bool(chunks)
            return first
        if len(chunks) == 1 and len(first) <= limit:
            chunks.clear()
            self._queued = False
            payload: Bytes = first
        else:
            payload = self._cut(limit)
            self._queued = bool(chunks)
        size = len(payload)
        self._credit -= size
        self.pending_bytes -= size
        return frame.DATA, payload

    @property
    def queued(self) -> bool:
        """Whether it has more to give to the session at once."""
        return self._queued

    def wake(self) -> None:
        """Tell the writer when enough has been sent."""
        if self._stalled and self.pending_bytes <= CHANNEL_PENDING_LOW_BYTES:
            self._stalled = False
            if self._receiver is not None and not self.closed:
                self._receiver.writable()

    def on_accept(self) -> None:
        """Note that the far end took it."""
        if not self._awaiting:
            raise PeerBroke("accepts a channel that waits for nothing")
        self._awaiting = False
        if self._receiver is not None and not self.closed:
            self._receiver.accepted()

    def on_data(self, data: memoryview) -> None:
        """Bytes came from the far end."""
        self._uncredited += len(data)
        if self._uncredited > CHANNEL_WINDOW_BYTES or self._far_eof:
            raise PeerBroke("more bytes on a channel than its window, or after its end")
        if self.closed:
            return
        if self._receiver is None:
            if data:
                self._early.append(bytes(data))
            return
        self._receiver.data_received(data)
        if not self._paused and not self.closed:
            self._give_credit()

    def on_credit(self, payload: memoryview) -> None:
        """Note that the far end consumed bytes."""
        if len(payload) != CREDIT_PAYLOAD.size:
            raise PeerBroke("a credit of the wrong size")
        self._credit += CREDIT_PAYLOAD.unpack(payload)[0]
        if self._credit > CHANNEL_WINDOW_BYTES:
            raise PeerBroke("more credit than was used")
        self._queue()

    def on_eof(self) -> None:
        """Note that the far end writes no more."""
        if self._far_eof:
            raise PeerBroke("ends a direction twice")
        self._far_eof = True
        if self._receiver is None:
            self._early.append(b"")
        elif not self.closed:
            self._receiver.eof_received()

    def on_end(self, ending: Ending, reason: str) -> None:
        """Note that it is over, by the far end or by the session."""
        self._chunks.clear()
        self.pending_bytes = 0
        if self.closed:
            return
        self.closed = True
        if ending is Ending.REFUSED and not self._awaiting:
            ending = Ending.DONE
        if self._receiver is None:
            self._ended = (ending, reason)
        else:
            self._receiver.closed(ending, reason)

    # -- inside ------------------------------------------------------------------------------------

    def _cut(self, limit: int) -> Bytes:
        """Join chunks, or cut one, to a payload of at most ``limit`` bytes."""
        chunks = self._chunks
        parts: list[Bytes] = []
        left = limit
        while chunks and left:
            chunk = chunks[0]
            if isinstance(chunk, tuple):
                break
            if len(chunk) > left:
                view = memoryview(chunk)
                parts.append(view[:left])
                chunks[0] = view[left:]
                break
            parts.append(chunk)
            chunks.popleft()
            left -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _give_credit(self) -> None:
        if self._uncredited >= CHANNEL_WINDOW_BYTES // 4:
            self._session.queue(frame.CREDIT, 0, self.number, CREDIT_PAYLOAD.pack(self._uncredited))
            self._uncredited = 0

    def _last(self, kind: int, reason: str) -> None:
        self.closed = True
        self._eof_sent = True
        self._finish((kind, encode_reason(reason)))

    def _finish(self, words: LastWords) -> None:
        self._chunks.append(words)
        self._queue()

    def _queue(self) -> None:
        if self._chunks and not self._queued:
            self._queued = True
            self._session.ready(self)


def encode_reason(reason: str) -> bytes:
    """Make the payload that says why."""
    return reason.encode()[:REASON_BYTES_MAX]


def decode_reason(payload: memoryview) -> str:
    """Read the payload that says why; what is no text is shown as such."""
    return str(payload[:REASON_BYTES_MAX], "utf-8", "replace")
