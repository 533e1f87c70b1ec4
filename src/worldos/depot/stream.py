"""Frames on a blocking socket: read by one thread at a time, written by one at a time, no payload copied.

Reads go through a small buffer, so that many small frames come with one call of the system; a payload's bytes that are not
in it yet go straight to where the caller wants them. A socket has time-outs of its own (SO_RCVTIMEO, SO_SNDTIMEO): who is
silent between two frames is only idle (``Idle``), who stops inside one is hung up on (Unreachable).
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

from worldos.depot.limits import READ_BYTES
from worldos.depot.wire import HEADER, read_lengths
from worldos.errors import PeerBroke, Unreachable

Buffer = bytes | bytearray | memoryview

IOV_MAX: Final = 256
MILLION: Final = 1_000_000
_TIMEVAL: Final = struct.Struct("ll")


class Idle(Exception):
    """No frame began within the time that the socket waits."""


def time_limits(sock: socket.socket, *, receive_s: float, send_s: float) -> None:
    """Have blocking calls of a socket end after so long without a byte (0: never)."""
    for option, limit_s in ((socket.SO_RCVTIMEO, receive_s), (socket.SO_SNDTIMEO, send_s)):
        sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(*divmod(int(limit_s * MILLION), MILLION)))


class Inlet:
    """The reading end. Not safe for several threads: who reads holds the caller's lock."""

    def __init__(self, sock: socket.socket, *, stall_s: int) -> None:
        self._sock = sock
        self._stall_s = stall_s
        self._ahead = memoryview(bytearray(READ_BYTES))
        self._begin = 0
        self._end = 0
        self._left = 0

    def next(self) -> tuple[memoryview | bytearray, int] | None:
        """Wait for a frame; return its head (good until the next call) and the length of its payload, None at the end.

        Raises Idle when none begins in time. What is left of the payload before is passed over.
        """
        self.skip()
        if not self._fill(HEADER.size, may_end=True):
            return None
        head_bytes, payload_bytes = read_lengths(self._ahead, self._begin)
        self._begin += HEADER.size
        self._left = payload_bytes
        if head_bytes > READ_BYTES:
            head = bytearray(head_bytes)
            self._read_into(memoryview(head))
            return head, payload_bytes
        self._fill(head_bytes)
        begin = self._begin
        self._begin += head_bytes
        return self._ahead[begin : self._begin], payload_bytes

    def payload_into(self, target: memoryview) -> None:
        """Read the whole payload of the frame that ``next`` returned."""
        if target.nbytes != self._left:
            raise PeerBroke(f"{self._left} bytes came where {target.nbytes} were to come")
        self._left = 0
        self._read_into(target)

    def has_more(self) -> bool:
        """Say whether bytes have come already that were not read."""
        if self._begin != self._end:
            return True
        try:
            return len(self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)) > 0
        except OSError:
            return False

    def skip(self) -> None:
        """Pass over a payload that nobody wants."""
        while self._left:
            if self._begin == self._end:
                self._begin = self._end = 0
                self._end = self._receive(self._ahead)
            take = min(self._left, self._end - self._begin)
            self._begin += take
            self._left -= take

    def _read_into(self, target: memoryview) -> None:
        ready = min(target.nbytes, self._end - self._begin)
        target[:ready] = self._ahead[self._begin : self._begin + ready]
        self._begin += ready
        while ready < target.nbytes:
            ready += self._receive(target[ready:])

    def _fill(self, wanted: int, *, may_end: bool = False) -> bool:
        """Have ``wanted`` bytes ready in the buffer. Return False for an end before the first of them, if that may be."""
        if self._end - self._begin >= wanted:
            return True
        if self._begin + wanted > READ_BYTES or self._begin == self._end:
            left = self._end - self._begin
            self._ahead[:left] = bytes(self._ahead[self._begin : self._end])
            self._begin, self._end = 0, left
        first = may_end and self._begin == self._end
        while self._end - self._begin < wanted:
            if first:
                count = self._receive_first()
                if not count:
                    return False
                first = False
            else:
                count = self._receive(self._ahead[self._end :])
            self._end += count
        return True

    def _receive_first(self) -> int:
        try:
            return self._sock.recv_into(self._ahead[self._end :])
        except BlockingIOError:
            raise Idle from None
        except OSError as cause:
            raise Unreachable("the connection broke") from cause

    def _receive(self, target: memoryview) -> int:
        until_s = time.monotonic() + self._stall_s
        while True:
            try:
                count = self._sock.recv_into(target)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise Unreachable("the other side stopped in the middle of a frame") from None
                continue
            except OSError as cause:
                raise Unreachable("the connection broke") from cause
            if not count:
                raise Unreachable("the connection ended in the middle of a frame")
            return count


def send_all(sock: socket.socket, parts: list[Buffer]) -> None:
    """Send all of these bytes, none of them copied; raise Unreachable when the other side is gone or takes no more."""
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    while views:
        try:
            sent = sock.sendmsg(views[:IOV_MAX])
        except BlockingIOError:
            raise Unreachable("the other side takes no more") from None
        except OSError as cause:
            raise Unreachable("the connection broke") from cause
        while views and sent >= views[0].nbytes:
            sent -= views[0].nbytes
            views.pop(0)
        if sent:
            views[0] = views[0][sent:]
