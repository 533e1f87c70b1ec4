"""A lease of storage: one folder with files, and an exact quota on the bytes in them.

Used is the sum of all file lengths, those of removed files that are still open included; before a write or a
truncation lengthens a file, the new sum is compared with the quota, and a piece that does not fit changes nothing.
Names are bounded apart (``ENTRIES_MAX``): an empty file costs no bytes but a place in the disk's table.

Files are read and written in pieces at a position that the holder keeps, so that a piece that is sent twice does no
harm; remote_file.py makes a Python file of that.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any, Final

from worldos.drivers.folder import Folder, parts_of
from worldos.drivers.lane_object import Bytes, Command, LaneObject
from worldos.errors import BadRequest, OverQuota

PIECE_BYTES_MAX: Final = 1024 * 1024
FILES_OPEN_MAX: Final = 256
ENTRIES_MAX: Final = 100_000
AT_END: Final = -1
OFFSET_MAX: Final = (1 << 63) - 1 - PIECE_BYTES_MAX

MODES: Final = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w": os.O_WRONLY | os.O_CREAT,
    "w+": os.O_RDWR | os.O_CREAT,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "x+": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT,
    "a+": os.O_RDWR | os.O_CREAT,
}


@dataclass(frozen=True)
class OpenFile:
    """A file that the holder has open; ``inode`` says which file it is whatever its name is now."""

    descriptor: int
    inode: int
    path: str


class StorageLane(LaneObject):
    """Files below ``folder``, at most ``quota_bytes`` in all. Nobody else writes there."""

    kind = "Storage"

    def __init__(self, folder: str, quota_bytes: int) -> None:
        super().__init__()
        self.quota_bytes = quota_bytes
        self._folder = Folder(folder)
        sizes = list(self._folder.sizes())
        self.used_bytes = sum(sizes)
        self._entries = len(sizes)
        self._open: dict[int, OpenFile] = {}
        self._next_handle = 1
        self.commands = {
            "open": Command(self.open, (str, str)),
            "read": Command(self.read, (int, int, int)),
            "write": Command(self.write, (int, int, Bytes)),
            "truncate": Command(self.truncate, (int, int)),
            "size": Command(self.size, (int,)),
            "sync": Command(self.sync, (int,)),
            "close": Command(self.close, (int,)),
            "list": Command(self.names, (str,)),
            "stat": Command(self.stat, (str,)),
            "mkdir": Command(self.mkdir, (str,)),
            "remove": Command(self.remove, (str,)),
            "rename": Command(self.rename, (str, str)),
            "usage": Command(self.usage),
        }

    def rest(self) -> None:
        """Close what is open; the files stay until the lease ends."""
        for handle in list(self._open):
            self.close(handle)

    def open(self, path: str, mode: str) -> int:
        """Open a file as Python's ``open`` would (binary); return a handle. Writing makes missing folders."""
        flags = MODES.get(mode)
        if flags is None:
            raise BadRequest(f"{mode!r} is not a mode", hint=f"there are: {', '.join(MODES)}")
        if len(self._open) >= FILES_OPEN_MAX:
            raise OverQuota(f"{FILES_OPEN_MAX} open files are the most that one lease of storage has")
        if flags & os.O_CREAT:
            self._make_folders(parts_of(path)[:-1])
        descriptor = self._opened(path, flags)
        if mode.startswith("w"):
            self._set_length(descriptor, 0)
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._open[handle] = OpenFile(descriptor, os.fstat(descriptor).st_ino, path)
        return handle

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; none at the end of the file."""
        _check_place(offset, size)
        return os.pread(self._file(handle).descriptor, size, offset)

    def write(self, handle: int, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write all of ``data`` at ``offset`` (``AT_END``: after the last byte); return the position behind it."""
        descriptor = self._file(handle).descriptor
        view = memoryview(data).cast("B")
        length = os.fstat(descriptor).st_size
        start = length if offset == AT_END else offset
        _check_place(start, view.nbytes)
        if not view.nbytes:
            return start
        self._claim(start + view.nbytes - length)
        try:
            done = 0
            while done < view.nbytes:
                done += os.pwrite(descriptor, view[done:], start + done)
        finally:
            self.used_bytes += os.fstat(descriptor).st_size - length
        return start + view.nbytes

    def truncate(self, handle: int, size: int) -> None:
        """Make a file this long."""
        descriptor = self._file(handle).descriptor
        _check_place(size, 0)
        self._claim(size - os.fstat(descriptor).st_size)
        self._set_length(descriptor, size)

    def size(self, handle: int) -> int:
        """Return how long an open file is."""
        return os.fstat(self._file(handle).descriptor).st_size

    def sync(self, handle: int) -> None:
        """Return once what was written to a file is on the disk."""
        os.fsync(self._file(handle).descriptor)

    def close(self, handle: int) -> None:
        """Close a file; closing it twice is no error, for the answer to the first may have been lost."""
        file = self._open.pop(handle, None)
        if file is None:
            return
        entry = os.fstat(file.descriptor)
        os.close(file.descriptor)
        if entry.st_nlink == 0 and not self._is_open(entry.st_ino):
            self.used_bytes -= entry.st_size

    def names(self, path: str) -> list[tuple[str, str, int]]:
        """Return name, type (``file``, ``folder``, ``other``) and size of what is in a folder; ``""`` is the top."""
        return [(name, _type(entry), _size(entry)) for name, entry in self._folder.names(path)]

    def stat(self, path: str) -> dict[str, Any]:
        """Return type, size and the time of the last change (wall clock of this node, ns)."""
        entry = self._folder.stat(path)
        return {"type": _type(entry), "size": _size(entry), "changed_ns": entry.st_mtime_ns}

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it; one that is there already is no error."""
        self._make_folders(parts_of(path))

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder."""
        entry = self._folder.stat(path)
        self._folder.remove(path)
        self._forget(entry)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder; a file in the target's place is replaced, at once and whole."""
        self._make_folders(parts_of(target)[:-1])
        moved = self._folder.stat(source)
        try:
            replaced = self._folder.stat(target)
        except FileNotFoundError:
            replaced = None
        self._folder.rename(source, target)
        if replaced is not None and replaced.st_ino != moved.st_ino:
            self._forget(replaced)

    def usage(self) -> tuple[int, int]:
        """Return the bytes that are used and those that are leased."""
        return (self.used_bytes, self.quota_bytes)

    def _file(self, handle: int) -> OpenFile:
        file = self._open.get(handle)
        if file is None:
            raise BadRequest(f"file {handle} is not open")
        return file

    def _is_open(self, inode: int) -> bool:
        return any(file.inode == inode for file in self._open.values())

    def _opened(self, path: str, flags: int) -> int:
        """Open a file and count it if it is new."""
        if not flags & os.O_CREAT:
            return self._folder.open(path, flags)
        try:
            descriptor = self._folder.open(path, flags | os.O_EXCL)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return self._folder.open(path, flags & ~os.O_CREAT)
        self._entries += 1
        if self._entries > ENTRIES_MAX:
            os.close(descriptor)
            self.remove(path)
            raise _too_many_entries()
        return descriptor

    def _make_folders(self, parts: list[str]) -> None:
        for depth in range(1, len(parts) + 1):
            if self._entries >= ENTRIES_MAX:
                raise _too_many_entries()
            self._entries += self._folder.make("/".join(parts[:depth]))

    def _claim(self, more_bytes: int) -> None:
        """Insist that the files may grow by ``more_bytes``."""
        if more_bytes > 0 and self.used_bytes + more_bytes > self.quota_bytes:
            raise OverQuota(
                f"{more_bytes} bytes more do not fit: leased {self.quota_bytes} bytes, used {self.used_bytes}",
                hint="remove something, or lease more",
            )

    def _set_length(self, descriptor: int, size: int) -> None:
        before = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, size)
        self.used_bytes += size - before

    def _forget(self, entry: os.stat_result) -> None:
        """Count out what has lost its name; an open file keeps its bytes until it is closed."""
        self._entries -= 1
        if stat.S_ISREG(entry.st_mode) and not self._is_open(entry.st_ino):
            self.used_bytes -= entry.st_size


def _check_place(offset: int, size: int) -> None:
    if not 0 <= offset <= OFFSET_MAX:
        raise BadRequest(f"{offset} is not a position in a file")
    if not 0 <= size <= PIECE_BYTES_MAX:
        raise BadRequest(f"a piece has at most {PIECE_BYTES_MAX} bytes, not {size}")


def _too_many_entries() -> OverQuota:
    return OverQuota(f"{ENTRIES_MAX} files and folders are the most that one lease of storage has")


def _type(entry: os.stat_result) -> str:
    if stat.S_ISREG(entry.st_mode):
        return "file"
    return "folder" if stat.S_ISDIR(entry.st_mode) else "other"


def _size(entry: os.stat_result) -> int:
    return entry.st_size if stat.S_ISREG(entry.st_mode) else 0
