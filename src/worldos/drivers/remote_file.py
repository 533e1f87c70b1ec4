"""A file on a leased disk, as an ordinary Python file in the holder's program.

``call`` carries one command to the lane (storage_lane.py) and returns its result. The position is kept here, pieces
carry it, and a piece that is sent again after a lost answer writes the same bytes to the same place; only mode ``a``
does not promise that.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import IO, Any, Final

from worldos.errors import BadRequest, PeerBroke

PIECE_BYTES: Final = 256 * 1024
AT_END: Final = -1

Call = Callable[..., Any]
"""``call(name, *args)``: one command of a storage lane, and its result."""


class RemoteFile(io.RawIOBase):
    """An open file on a leased disk, without a buffer."""

    def __init__(self, call: Call, path: str, mode: str = "r") -> None:
        super().__init__()
        self._call = call
        self._handle = -1
        self.name = path
        self.mode = mode
        self._position = 0
        self._handle = call("open", path, mode)

    def readable(self) -> bool:
        """Say whether the mode lets one read."""
        return self.mode == "r" or "+" in self.mode

    def writable(self) -> bool:
        """Say whether the mode lets one write."""
        return self.mode != "r"

    def seekable(self) -> bool:
        """Say yes: the position is ours."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the position on, as far as one piece goes."""
        self._check(self.readable(), "reading")
        view = memoryview(buffer).cast("B")
        wanted = min(view.nbytes, PIECE_BYTES)
        data = self._call("read", self._handle, self._position, wanted)
        if len(data) > wanted:
            raise PeerBroke(f"asked for {wanted} bytes of {self.name}, got {len(data)}")
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return everything from the position on."""
        self._check(self.readable(), "reading")
        parts = []
        while part := self._call("read", self._handle, self._position, PIECE_BYTES):
            parts.append(bytes(part))
            self._position += len(part)
        return b"".join(parts)

    def write(self, data: Any) -> int:
        """Write one piece from the start of ``data``; return how many bytes of it that was."""
        self._check(self.writable(), "writing")
        piece = bytes(memoryview(data).cast("B")[:PIECE_BYTES])
        if piece:
            offset = AT_END if self.mode.startswith("a") else self._position
            self._position = self._call("write", self._handle, offset, piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; return where it is."""
        self._check_open()
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._call("size", self._handle)
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if offset < 0:
            raise ValueError(f"{offset} is before the start of the file")
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Make the file this long, or end it at the position."""
        self._check(self.writable(), "writing")
        length = self._position if size is None else size
        self._call("truncate", self._handle, length)
        return length

    def sync(self) -> None:
        """Return once what was written is on the disk."""
        self._check_open()
        self._call("sync", self._handle)

    def close(self) -> None:
        """Close the file, here and there."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            if self._handle >= 0:
                self._call("close", self._handle)

    def _check(self, allowed: bool, doing: str) -> None:  # noqa: FBT001 - the answer of readable() or writable()
        self._check_open()
        if not allowed:
            raise io.UnsupportedOperation(f"{self.name} is not open for {doing}")

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed")


def open_remote(
    call: Call, path: str, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None
) -> IO[Any]:
    """Open a file on a leased disk as Python's ``open`` does: text unless ``mode`` has a ``b``; always with a buffer."""
    kind = mode.replace("b", "", 1).replace("t", "", 1)
    if "b" in mode and "t" in mode:
        raise BadRequest(f"{mode!r}: a file is text or bytes, not both")
    raw = RemoteFile(call, path, "".join(sorted(kind, key="+".__eq__)))
    buffered: io.BufferedIOBase
    if raw.readable() and raw.writable():
        buffered = io.BufferedRandom(raw, PIECE_BYTES)
    elif raw.writable():
        buffered = io.BufferedWriter(raw, PIECE_BYTES)
    else:
        buffered = io.BufferedReader(raw, PIECE_BYTES)
    if "b" in mode:
        return buffered
    return io.TextIOWrapper(buffered, encoding=encoding, newline=newline)
