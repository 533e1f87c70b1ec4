"""Uses: which files are used on this device, and when it was used last: the heat that ``following`` acts upon.

One file of the home, which programs add to and the keeper reads; they take turns by a lock on a file beside it. It holds the
verify secrets of files, which open none of them, and no names. It may be lost without harm: it is rewritten whole and not
waited for. Moments in ns since 1970.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from worldos.agent.home import write_durably
from worldos.errors import DiskFull
from worldos.files.limits import FOLLOW_EVERY_S
from worldos.store.heat import Heats, Warm

_VERSION = 1
_EVERY_NS = round(FOLLOW_EVERY_S * 1_000_000_000)


class Book(msgspec.Struct, kw_only=True, array_like=True):
    """What lies in the file: when a program used files here last, and what is warm."""

    version: int = _VERSION
    used_ns: int = 0
    warm: tuple[Warm, ...] = ()


def read_book(folder: Path) -> Book:
    """Read what was used here; an empty book where that cannot be read."""
    try:
        book = msgspec.msgpack.decode((folder / "uses").read_bytes(), type=Book)
    except (OSError, msgspec.DecodeError, RecursionError):
        return Book()
    return book if book.version == _VERSION else Book()


class Uses:
    """What one program uses; written down when it is, a little later, together."""

    def __init__(self, folder: Path, place: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._folder = folder
        self._place = place
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._new: list[tuple[bytes, int, int]] = []
        self._written_ns = 0
        self._sums: dict[bytes, int] = {}
        self._summed_ns = 0

    def use(self, file: bytes, size_bytes: int) -> None:
        """Count one use of a file, known by its verify secret."""
        now_ns = self._now_ns()
        with self._lock:
            self._new.append((file, size_bytes, now_ns))
            due = now_ns >= self._written_ns + _EVERY_NS
        if due:
            self.write()

    def heat(self, file: bytes) -> int:
        """Return how hot a file was on this device a moment ago, in thousandths of a use."""
        now_ns = self._now_ns()
        with self._lock:
            if not self._summed_ns <= now_ns < self._summed_ns + _EVERY_NS:
                warm = read_book(self._folder).warm
                self._sums = {
                    each.file: Heats([each]).heat(each.file, now_ns) for each in warm if each.place == self._place
                }
                self._summed_ns = now_ns
            return self._sums.get(file, 0)

    def write(self) -> None:
        """Write down what is new."""
        with self._lock:
            new, self._new = self._new, []
            self._written_ns = self._now_ns()
            if not new:
                return
            turns = os.open(self._folder / "uses.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turns, fcntl.LOCK_EX)
                book = read_book(self._folder)
                heats = Heats(book.warm)
                for file, size_bytes, at_ns in new:
                    heats.use(file, self._place, size_bytes, at_ns)
                written = Book(used_ns=new[-1][2], warm=heats.snapshot())
                with contextlib.suppress(DiskFull):  # what is hot will be used again
                    write_durably(self._folder / "uses", msgspec.msgpack.encode(written))
            finally:
                os.close(turns)
