"""The large buffers and threads that one upload works with, lent by the session and used again by the next.

One upload has a few buffers to read into, a few segments and their parity; so a file of any size takes the same memory, and a
fast reader is held back by slow stores. Pages are touched as they are used: small files make small marks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from worldos.depot.buffers import Pool
from worldos.files.limits import (
    FLIGHT_BYTES_MAX,
    IDLE_BYTES_MAX,
    READ_BUFFERS,
    READ_BYTES,
    SEGMENT_BYTES_FEW,
    SEGMENTS_IN_FLIGHT,
    UPLOADS_MAX,
)
from worldos.store.erasure import Code, share_bytes
from worldos.store.limits import SEGMENT_BYTES_MAX, SHARE_ALIGN_BYTES

CODERS = 2


def largest_segment(code: Code) -> int:
    """Return the largest class of segments whose shares a depot takes in one piece."""
    return SEGMENT_BYTES_MAX if code.k >= 3 else SEGMENT_BYTES_FEW


class Equipment:
    """Buffers for one upload under one code."""

    def __init__(self, code: Code) -> None:
        largest = largest_segment(code)
        self.code = code
        self.largest = largest
        self.reading = Pool(READ_BYTES, READ_BUFFERS)
        segment_bytes = largest + code.k * SHARE_ALIGN_BYTES
        parity_bytes = (code.n - code.k) * share_bytes(largest, code.k)
        flight = max(2, min(SEGMENTS_IN_FLIGHT, FLIGHT_BYTES_MAX // (segment_bytes + parity_bytes)))
        self.segments = Pool(segment_bytes, flight)
        self.parity = Pool(max(1, parity_bytes), flight)

    @property
    def held_bytes(self) -> int:
        """What its buffers take."""
        return self.reading.held_bytes + self.segments.held_bytes + self.parity.held_bytes


class Workshop:
    """Lends equipment to as many uploads as may run at once, and threads that pack and code for all of them."""

    def __init__(self) -> None:
        self.packing = ThreadPoolExecutor(CODERS, "wos-pack")
        self.coding = ThreadPoolExecutor(CODERS, "wos-code")
        self._free: list[Equipment] = []
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(UPLOADS_MAX)

    @contextmanager
    def lend(self, code: Code) -> Iterator[Equipment]:
        """Lend equipment for the length of a block; wait for a turn."""
        equipment = self.take(code)
        try:
            yield equipment
        finally:
            self.give_back(equipment)

    def take(self, code: Code) -> Equipment:
        """Borrow equipment, the one used last if it fits."""
        self._turns.acquire()
        with self._lock:
            while self._free:
                equipment = self._free.pop(0)
                if equipment.code == code:
                    return equipment
        return Equipment(code)

    def give_back(self, equipment: Equipment) -> None:
        """Take equipment back; where a buffer of it is still out it is not lent again."""
        with self._lock:
            if not (equipment.reading.out or equipment.segments.out or equipment.parity.out):
                self._free.insert(0, equipment)
            while len(self._free) > 1 and sum(each.held_bytes for each in self._free) > IDLE_BYTES_MAX:
                self._free.pop()
        self._turns.release()

    def close(self) -> None:
        """End the threads."""
        self.packing.shutdown(wait=True, cancel_futures=True)
        self.coding.shutdown(wait=True, cancel_futures=True)
