"""A write-ahead log for tests: pages as PostgreSQL lays them out, in segment files as pg_receivewal writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from worldos.engines import wal
from worldos.engines.archive import Base
from worldos.engines.wal import PAGE_BYTES, SEGMENT_BYTES, News, segment_name, segment_start
from worldos.errors import WorldError

START = SEGMENT_BYTES  # a log begins with its second segment


def page(position: int, filled: bytes = b"") -> bytes:
    """A page at a position, so far filled with this."""
    head = wal._PAGE.pack(0xD110, 0, 1, position) + bytes(8)
    return (head + filled).ljust(PAGE_BYTES, b"\0")


class LogFiles:
    """A log that grows in files of the working folder, and base backups of it: the source of an archive."""

    major = 15
    password = "secret"

    def __init__(self) -> None:
        self.end = START
        self.begun = False
        self.ended = ""  # why it is not received any more
        self.bases = 0
        self.all = bytearray()

    def write(self, pages: int, filled: bytes = b"some records") -> None:
        """Let the log grow by pages; the last stays open for more."""
        for _ in range(pages):
            self.put(page(self.end, filled or os.urandom(1000)))

    def put(self, data: bytes) -> None:
        file = Path(segment_name(self.end) + wal.PARTIAL)
        file.touch()
        with file.open("r+b") as opened:
            opened.truncate(SEGMENT_BYTES)
            opened.seek(self.end % SEGMENT_BYTES)
            opened.write(data)
        self.all += data
        self.end += len(data)
        if self.end % SEGMENT_BYTES == 0:
            file.rename(file.with_suffix(""))

    def write_on(self, filled: bytes) -> None:
        """Let more be in the last page."""
        self.end -= PAGE_BYTES
        del self.all[-PAGE_BYTES:]
        self.put(page(self.end, filled))

    def begin(self) -> None:
        self.begun = True

    def base(self) -> Base:
        self.bases += 1
        return Base(self.end - PAGE_BYTES + 40, self.end - PAGE_BYTES + 100, self._data(f"base {self.bases}".encode()))

    def _data(self, said: bytes) -> Iterator[bytes]:
        yield said
        yield b"." * 10_000

    def news(self, position: int, most_bytes: int) -> News:
        return wal.news(position, most_bytes)

    def check(self) -> None:
        if self.ended:
            raise WorldError(self.ended)

    def waiting_bytes(self, position: int) -> int:
        return wal.waiting_bytes(position)

    def let_go(self, position: int) -> None:
        wal.let_go(position)

    def from_segment_of(self, position: int) -> bytes:
        """The log from the beginning of the segment that a position is in."""
        return bytes(self.all[segment_start(position) - START :])
