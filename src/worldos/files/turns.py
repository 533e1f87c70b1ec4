"""The turns of the programs of one home: one at a time writes to the home's log, and the others see that it did.

A file of 32 bytes that is locked for a turn: how often a turn changed something, and the number of the last entry that was
kept, with the log that it is of. A counter and not the file's time: a file system's clock ticks every few milliseconds, and of
two changes in one tick the second would not be seen; whoever writes then gives a number of the log a second time.
It is a hint for programs that run side by side; what is kept is in the logs alone. Source: flock(2), inode_set_ctime_current().
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

_STATE: Final = struct.Struct("<QQ16s")


class Told(NamedTuple):
    """What programs of this home told each other: how often something changed, and the log's last number (0: unknown)."""

    changes: int
    last: int


class Turns:
    """The turns of one home with one log; each program has its own of these."""

    def __init__(self, file: Path, log: bytes) -> None:
        self._log = log[:16]
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be the one program of this home that writes, for the length of a block."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def told(self) -> Told:
        """Return what was told last."""
        data = os.pread(self._fd, _STATE.size, 0)
        if len(data) < _STATE.size:
            return Told(0, 0)
        changes, last, log = _STATE.unpack(data)
        return Told(changes, last if log == self._log else 0)

    def tell(self, last: int = 0) -> Told:
        """Say, during a turn, that something changes or has changed: ``last`` is the number that was kept, if one was."""
        before = self.told()
        now = Told((before.changes + 1) % (1 << 64), max(last, before.last))
        with contextlib.suppress(OSError):  # a full disk: it is written in its place, so only the first can fail
            os.pwrite(self._fd, _STATE.pack(now.changes, now.last, self._log), 0)
        return now

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
