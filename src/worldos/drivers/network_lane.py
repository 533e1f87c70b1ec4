"""A lease of network: a way to one node on which data arrives no faster than leased.

The lane's process is at the far end (``use("Network", "100Mbps", to=NODE)`` is granted by NODE): what the holder
sends travels over the holder's own sealed link to that node and is taken in here at the leased pace; the sender is
held back by that, piece by piece. With ``to`` the holder's own node the same happens over the loopback. What has
arrived waits, up to ``WAITING_BYTES_MAX``, until it is received; a lane that is told to ``keep=False`` counts it and
lets it go, which measures a way without filling it at the other end.

What this reserves is the far end's link; the near end and what lies between are not known to anybody who could
reserve them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from worldos.drivers.lane_object import Bytes, Command, LaneObject
from worldos.drivers.pace import SECOND_NS, Pace
from worldos.errors import BadRequest, OverQuota

PIECE_BYTES_MAX: Final = 1024 * 1024
PIECE_S: Final = 0.05  # a piece is as large as passes in this time: short waits, few calls
DELAY_S_MAX: Final = 30.0
WAITING_BYTES_MAX: Final = 8 * 1024 * 1024


class NetworkLane(LaneObject):
    """The far end of a way with ``bits_per_second``."""

    kind = "Network"

    def __init__(self, bits_per_second: int) -> None:
        super().__init__()
        if bits_per_second <= 0:
            raise BadRequest(f"{bits_per_second} bits a second is no speed")
        self._pace = Pace(bits_per_second)
        self._keep = True
        self._arrived: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._total_bytes = 0
        self._first_ns = 0
        self._last_ns = 0
        self.commands = {
            "send": Command(self.send, (Bytes,)),
            "receive": Command(self.receive, (int,)),
            "usage": Command(self.usage),
        }

    def activate(self, **settings: Any) -> None:
        """Set ``keep``: whether what arrives waits to be received (it does at first)."""
        keep = settings.pop("keep", self._keep)
        if not isinstance(keep, bool):
            raise BadRequest("keep is true or false")
        super().activate(**settings)
        self._keep = keep

    def rest(self) -> None:
        """Let go of what was not received."""
        self._arrived.clear()
        self._waiting_bytes = 0

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Take in one piece at the leased pace; return how many bytes have arrived in all."""
        size = memoryview(data).nbytes
        self._check(size)
        now_ns = time.monotonic_ns()
        self._first_ns = self._first_ns or now_ns
        due_ns = self._pace.due_ns(size, now_ns)
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / SECOND_NS)
        if self._keep and size:
            self._arrived.append(bytes(data))
            self._waiting_bytes += size
        self._total_bytes += size
        self._last_ns = time.monotonic_ns()
        return self._total_bytes

    def receive(self, size_max: int) -> bytes:
        """Return what has arrived, in order, at most ``size_max`` bytes; nothing if nothing waits."""
        if not 0 <= size_max <= WAITING_BYTES_MAX:
            raise BadRequest(f"one may receive 0 to {WAITING_BYTES_MAX} bytes at once, not {size_max}")
        parts: list[bytes] = []
        room = size_max
        while room and self._arrived:
            part = self._arrived.popleft()
            parts.append(part[:room])
            if len(part) > room:
                self._arrived.appendleft(part[room:])
            room -= len(parts[-1])
        self._waiting_bytes -= size_max - room
        return b"".join(parts)

    def usage(self) -> dict[str, int]:
        """Return what is leased, what arrived, what waits, and the mean rate from the first piece to the last."""
        time_ns = self._last_ns - self._first_ns
        return {
            "leased_bits_s": self._pace.bits_per_second,
            "arrived_bytes": self._total_bytes,
            "waiting_bytes": self._waiting_bytes,
            "mean_bits_s": self._total_bytes * 8 * SECOND_NS // time_ns if time_ns > 0 else 0,
        }

    def _check(self, size: int) -> None:
        if size > PIECE_BYTES_MAX or size * 8 > self._pace.bits_per_second * DELAY_S_MAX:
            raise BadRequest(f"{size} bytes are too large a piece", hint="send smaller ones (see pieces)")
        if self._keep and self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise OverQuota(f"{self._waiting_bytes} bytes wait to be received and no more may", hint="receive them")


def pieces(data: bytes | bytearray | memoryview, bits_per_second: int) -> Iterator[memoryview]:
    """Cut data into pieces that each pass in about ``PIECE_S``."""
    size = max(1, min(PIECE_BYTES_MAX, int(bits_per_second / 8 * PIECE_S)))
    view = memoryview(data).cast("B")
    for start in range(0, view.nbytes, size):
        yield view[start : start + size]


def send_all(call: Callable[..., Any], data: bytes | bytearray | memoryview, bits_per_second: int) -> int:
    """Send data through a network lane from the holder's program; return how many bytes have arrived in all."""
    total = 0
    for piece in pieces(data, bits_per_second):
        total = call("send", bytes(piece))
    return total
