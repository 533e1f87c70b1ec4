"""What happened on this node, kept in its home: ``wos log`` shows earlier lives too, and works while no agent runs.

One JSON line a notice: ``{"at_ns": ns since 1970, "name": ..., "fields": {...}}``. Bounded: past 1 MB the file becomes the
older half and a new one begins. A line that was cut short by a full disk or a power cut is passed over.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from worldos.kernel.effects import Notice

FILE_BYTES_MAX = 1024 * 1024
KEPT_MAX = 1000
FILE_NAME = "notices.jsonl"
OLDER = ".older"


class Line(msgspec.Struct, frozen=True):
    """One notice and when it was. The struct is the format."""

    at_ns: int
    name: str
    fields: dict[str, str | int] = {}


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Line)


class Notices:
    """The notices of a running node: the last ones in memory, all of them in a folder if there is one."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / FILE_NAME if folder is not None else None
        self._descriptor = -1
        self._size = 0
        self._last: deque[Line] = deque(maxlen=KEPT_MAX)
        if folder is not None:
            self._last.extend(read(folder, KEPT_MAX))

    def add(self, at_ns: int, notice: Notice) -> None:
        """Keep a notice. On a full disk it is kept in memory alone."""
        line = Line(at_ns, notice.name, dict(notice.fields))
        self._last.append(line)
        if self._file is None:
            return
        with suppress(OSError):
            if self._descriptor < 0:
                self._open(self._file)
            self._size += os.write(self._descriptor, _encode(line) + b"\n")
            if self._size > FILE_BYTES_MAX:
                self.close()
                self._file.replace(self._file.with_suffix(OLDER))

    def last(self, lines: int) -> list[Line]:
        """Return the last notices, oldest first."""
        return list(self._last)[-max(1, lines) :]

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, file: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(file, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._size += os.write(self._descriptor, b"\n")  # an earlier life ended in the middle of a line


def read(folder: Path, lines: int) -> list[Line]:
    """Return the last notices that a home holds, oldest first."""
    file = folder / FILE_NAME
    found: deque[Line] = deque(maxlen=max(1, lines))
    texts = (_text(part) for part in (file.with_suffix(OLDER), file))
    for raw in itertools.chain.from_iterable(text.splitlines() for text in texts):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(_decoder.decode(raw))
    return list(found)


def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
