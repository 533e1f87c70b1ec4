"""The log of an attempt: all that it puts out, in a room of fixed size.

The first ``LOG_HEAD_BYTES`` are kept, and of the rest the last ``LOG_END_BYTES``; what lies between is cut out, and whoever
reads is told how much that was. So a command that writes 100 GB costs 8 MB of disk. Positions count what was written, cut out
or not: a follower asks for what comes after the position that it has reached. The file is a beginning and a ring; up to
``LOG_MEMORY_BYTES`` there is no file at all. One writer, any number of readers in other threads. Sizes and positions in bytes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from worldos.jobs.limits import LOG_END_BYTES, LOG_HEAD_BYTES, LOG_MEMORY_BYTES
from worldos.model.work import TAIL_BYTES_MAX

PIECE_BYTES = 256 * 1024


class Log:
    """A log under way. ``path``: where its file will be, if it needs one."""

    def __init__(self, path: Path, head_bytes: int = LOG_HEAD_BYTES, end_bytes: int = LOG_END_BYTES) -> None:
        self._path = path
        self._head_bytes = head_bytes
        self._end_bytes = end_bytes
        self._memory = bytearray()
        self._fd = -1
        self._lock = threading.Lock()
        self._output: hashlib._Hash | None = None
        self.written = 0
        self.ended = False

    def digest_output(self) -> None:
        """From the beginning on, make a digest of standard output: it is to be compared."""
        self._output = hashlib.sha256()

    def output_digest(self) -> bytes:
        """Return the digest of standard output."""
        assert self._output is not None, "said before the first output"
        return self._output.digest()

    @property
    def cut_bytes(self) -> int:
        """How much was cut out of the middle."""
        return max(0, self.written - self._head_bytes - self._end_bytes)

    @property
    def kept_bytes(self) -> int:
        """How much can be read."""
        return self.written - self.cut_bytes

    def put_out(self, data: bytes | bytearray) -> None:
        """Append what came on standard output."""
        if self._output is not None:
            self._output.update(data)
        self.write(data)

    def write(self, data: bytes | bytearray) -> None:
        """Append; what does not fit pushes out the oldest after the beginning."""
        with self._lock:
            if self._fd < 0:
                self._memory += data
                self.written += len(data)
                if len(self._memory) > min(LOG_MEMORY_BYTES, self._head_bytes):
                    self._spill()
                return
            self._append(memoryview(data))

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return what was written from ``offset`` on, and where that begins: later, if it was cut out."""
        with self._lock:
            if self._head_bytes <= offset < self._head_bytes + self.cut_bytes:
                offset = self._head_bytes + self.cut_bytes
            end = min(self.written, offset + size)
            if self.cut_bytes and offset < self._head_bytes:
                end = min(end, self._head_bytes)
            if offset >= end:
                return min(offset, self.written), b""
            if self._fd < 0:
                return offset, bytes(self._memory[offset:end])
            parts = []
            at = offset
            while at < end:
                place, room = self._place(at)
                part = os.pread(self._fd, min(end - at, room), place)
                assert part, "the log's file is as long as was written"
                parts.append(part)
                at += len(part)
            return offset, b"".join(parts)

    def pieces(self) -> Iterator[bytes]:
        """Yield all that is kept, with a line of ours where something was cut out."""
        at = 0
        while True:
            start, data = self.read(at, PIECE_BYTES)
            if not data:
                return
            if start > at:
                yield b"\n[... %d bytes are cut out here ...]\n" % (start - at)
            yield data
            at = start + len(data)

    def tail(self, size: int = TAIL_BYTES_MAX) -> bytes:
        """Return the last bytes."""
        start = max(0, self.written - size)
        return self.read(start, size)[1]

    def close(self) -> None:
        """Let go of the file, and remove it."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._path.unlink(missing_ok=True)
            self._memory = bytearray()
            self.written = 0

    def _spill(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        data, self._memory, self.written = self._memory, bytearray(), 0
        self._append(memoryview(data))

    def _append(self, data: memoryview) -> None:
        skipped = len(data) - self._head_bytes - self._end_bytes
        if skipped > 0 and self.written >= self._head_bytes:  # all of the ring and more at once: the last of it will do
            self.written += skipped
            data = data[skipped:]
        while data:
            place, room = self._place(self.written)
            count = os.pwrite(self._fd, data[:room], place)
            self.written += count
            data = data[count:]

    def _place(self, at: int) -> tuple[int, int]:
        """Return where in the file a position lies, and how much follows it there without a break."""
        if at < self._head_bytes:
            return at, self._head_bytes - at
        inside = (at - self._head_bytes) % self._end_bytes
        return self._head_bytes + inside, self._end_bytes - inside
