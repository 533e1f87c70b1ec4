"""Frames: the unit on a link. A fixed little-endian header of 26 bytes, then the payload.

    length u32 | kind u8 | priority u8 | channel u32 | seq u64 | ack u64 | payload (length bytes)

``seq`` numbers the frames of a session from 1; 0 marks a frame of the link alone (hello, ping, pong, ack). ``ack``
is the highest ``seq`` received in order, and rides on every frame. ``channel`` of a message is 0, or 1 if nobody waits for
its acknowledgement (who does not know that acknowledges it sooner). Decision record:
docs/decisions/0003-wire-format.md.

``Reader`` parses bytes as they come, into one buffer that is used again and again: the payload of a frame is a view
into it and is valid only until the next ``room`` call. Garbage raises ``PeerBroke`` and never anything else.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from worldos.errors import PeerBroke
from worldos.fabric.limits import FRAME_PAYLOAD_BYTES_MAX, PRIORITIES, READ_BYTES

HEADER: Final = Struct("<IBBIQQ")
HEADER_BYTES: Final = HEADER.size

# Of the link alone, never sent again:
HELLO: Final = 1
PING: Final = 2
PONG: Final = 3
ACK: Final = 4
# Of the session, each exactly once and in order:
MESSAGE: Final = 16
OPEN: Final = 17
ACCEPT: Final = 18
DATA: Final = 19
CREDIT: Final = 20
EOF: Final = 21
CLOSE: Final = 22
REFUSE: Final = 23
RELAY: Final = 24  # opens a channel for the records of other nodes

LINK_KINDS: Final = frozenset((HELLO, PING, PONG, ACK))
SESSION_KINDS: Final = frozenset((MESSAGE, OPEN, ACCEPT, DATA, CREDIT, EOF, CLOSE, REFUSE, RELAY))

Frame = tuple[int, int, int, int, int, memoryview]
"""(kind, priority, channel, seq, ack, payload)"""

_pack = HEADER.pack
_unpack_from = HEADER.unpack_from


def link_frame(kind: int, ack: int, payload: bytes) -> bytes:
    """Make a whole frame of the link alone."""
    return _pack(len(payload), kind, 0, 0, 0, ack) + payload


class Reader:
    """Cuts a byte stream into frames. O(1) copies per byte, memory bounded by the largest frame."""

    __slots__ = ("_buffer", "_end", "_start", "_view")

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0  # first byte not yet parsed
        self._end = 0  # one past the last byte received

    def room(self) -> memoryview:
        """Return where the next bytes may be written; payloads given out before are void from now on."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
            return self._view
        if len(self._buffer) - end < READ_BYTES // 4:
            self._make_room()
        return self._view[self._end :]

    def wrote(self, count: int) -> None:
        """Note that ``count`` bytes were written at the front of the last ``room``."""
        self._end += count

    def next(self) -> Frame | None:
        """Return the next whole frame, or None until more bytes come."""
        start = self._start
        body = start + HEADER_BYTES
        if body > self._end:
            return None
        length, kind, priority, channel, seq, ack = _unpack_from(self._buffer, start)
        if length > FRAME_PAYLOAD_BYTES_MAX:
            raise PeerBroke(f"a frame of {length} bytes")
        if kind not in (SESSION_KINDS if seq else LINK_KINDS) or priority >= PRIORITIES:
            raise PeerBroke(f"a frame of unknown kind {kind} or priority {priority}")
        stop = body + length
        if stop > self._end:
            return None
        self._start = stop
        return kind, priority, channel, seq, ack, self._view[body:stop]

    def _make_room(self) -> None:
        """Move what is left to the front of the buffer, or of a larger one when a frame needs it."""
        left = self._end - self._start
        old = self._view[self._start : self._end]
        wanted = READ_BYTES
        if left >= HEADER_BYTES:
            wanted = (
                HEADER_BYTES + min(_unpack_from(self._buffer, self._start)[0], FRAME_PAYLOAD_BYTES_MAX) + READ_BYTES
            )
        if wanted != len(self._buffer) and (wanted > len(self._buffer) or left <= READ_BYTES // 2):
            self._buffer = bytearray(max(wanted, left + READ_BYTES))
            self._view = memoryview(self._buffer)
        self._view[:left] = old
        self._start, self._end = 0, left
