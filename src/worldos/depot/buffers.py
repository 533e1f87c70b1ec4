"""Large buffers, made once and used again.

The first touch of fresh memory costs five times the copy that follows it (page faults: 1.8 instead of 11 GB/s), so whoever
moves bulk borrows from a pool. A pool has a fixed number of buffers: who wants one more waits, and that is how a fast reader
is held back by slow stores. Buffers are mapped, not allocated: page-aligned, in huge pages where the system has them, and
given back to it with the pool.
"""

from __future__ import annotations

import mmap
import threading
import time
from types import TracebackType

from worldos.errors import Unreachable


class Room:
    """One borrowed buffer: ``view`` is its memory, until ``release``. A context manager; to release twice does nothing."""

    __slots__ = ("_pool", "view")

    def __init__(self, pool: Pool, view: memoryview) -> None:
        self._pool: Pool | None = pool
        self.view = view

    def release(self) -> None:
        """Give the buffer back; views of it must no longer be used."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool._take_back(self.view)

    def __enter__(self) -> memoryview:
        return self.view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Pool:
    """At most ``count`` buffers of ``size_bytes``, made as they are first wanted. Safe to use from many threads."""

    def __init__(self, size_bytes: int, count: int) -> None:
        if size_bytes < 1 or count < 1:
            raise ValueError(f"a pool of {count} buffers of {size_bytes} bytes holds nothing")
        self.size_bytes = size_bytes
        self.count = count
        self._free: list[memoryview] = []
        self._made = 0
        self._changed = threading.Condition()

    def take(self, timeout_s: float | None = None) -> Room:
        """Borrow a buffer, the one used last if there is one; wait for one where all are out."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._free and self._made == self.count:
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise Unreachable(f"all {self.count} buffers were in use for {timeout_s:g} s")
                self._changed.wait(left_s)
            if self._free:
                return Room(self, self._free.pop())
            self._made += 1
        return Room(self, _mapped(self.size_bytes))

    @property
    def out(self) -> int:
        """How many buffers are borrowed now."""
        with self._changed:
            return self._made - len(self._free)

    @property
    def held_bytes(self) -> int:
        """What all its buffers take, borrowed or not."""
        with self._changed:
            return self._made * self.size_bytes

    def _take_back(self, view: memoryview) -> None:
        with self._changed:
            self._free.append(view)
            self._changed.notify()


def _mapped(size_bytes: int) -> memoryview:
    memory = mmap.mmap(-1, size_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)
