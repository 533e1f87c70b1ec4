"""A folder that nothing leads out of: every path is walked part by part from its open descriptor, and no link is followed.

Checking a path as text and then opening it leaves a gap in which a part may become a link; walking by descriptors
leaves none (openat(2) with O_NOFOLLOW). Paths are relative, ``/`` between parts, no ``.`` and no ``..``. Only regular
files and folders are touched: a pipe or a device that somebody put there is refused. Errors name the path as the
caller wrote it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from worldos.errors import BadRequest, NoCapacity, NotAllowed

PARTS_MAX: Final = 32
PART_BYTES_MAX: Final = 255
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def parts_of(path: str) -> list[str]:
    """Return the parts of a relative path; ``BadRequest`` for one that could mean anything else than a place below."""
    parts = path.split("/") if path else []
    if len(parts) > PARTS_MAX:
        raise BadRequest(f"a path has at most {PARTS_MAX} parts, not {len(parts)}")
    for part in parts:
        if part in {"", ".", ".."} or "\0" in part:
            raise BadRequest(f"{path!r} is not a path inside the leased folder", hint="write it like a/b/c")
        try:
            size = len(part.encode())
        except UnicodeEncodeError:
            raise BadRequest(f"{path!r} is not text") from None
        if size > PART_BYTES_MAX:
            raise BadRequest(f"a name has at most {PART_BYTES_MAX} bytes, not {size}")
    return parts


class Folder:
    """One folder and what is below it. Made where it is missing, for its owner only."""

    def __init__(self, root: str) -> None:
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._root)

    def open(self, path: str, flags: int) -> int:
        """Open or create a regular file; return its descriptor."""
        with self._parent(path) as (folder, name):
            descriptor = os.open(name, flags | _FILE, 0o600, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise NotAllowed(f"{path!r} is not a regular file")
            return descriptor

    def stat(self, path: str) -> os.stat_result:
        """Describe a file, a folder or a link itself; the empty path is the folder."""
        if not path:
            return os.fstat(self._root)
        with self._parent(path) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def names(self, path: str) -> list[tuple[str, os.stat_result]]:
        """Return what is in a folder, sorted by name."""
        with self._folder(path) as folder:
            found = []
            for name in sorted(os.listdir(folder)):
                try:
                    found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
                except FileNotFoundError:  # gone since it was listed
                    continue
            return found

    def make(self, path: str) -> bool:
        """Make a folder; return False where it is there already. Its parent must be there."""
        with self._parent(path) as (folder, name):
            try:
                os.mkdir(name, 0o700, dir_fd=folder)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    return False
                raise
            return True

    def remove(self, path: str) -> None:
        """Remove a file, a link or an empty folder."""
        with self._parent(path) as (folder, name):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder; a file in the target's place is replaced."""
        with self._parent(source) as (from_folder, from_name), self._parent(target) as (to_folder, to_name):
            os.rename(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def sizes(self) -> Iterator[int]:
        """Yield the size of each thing below: of files their length, of all else 0."""
        for _, folders, files, descriptor in os.fwalk(".", dir_fd=self._root, follow_symlinks=False):
            yield from (0 for _ in folders)
            for name in files:
                entry = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                yield entry.st_size if stat.S_ISREG(entry.st_mode) else 0

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Give the open folder that holds ``path``, and the last part of it."""
        parts = parts_of(path)
        if not parts:
            raise BadRequest("the leased folder itself cannot be opened, moved or removed")
        with _named(path), self._walked(parts[:-1]) as folder:
            yield folder, parts[-1]

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        parts = parts_of(path)
        with _named(path), self._walked(parts) as folder:
            yield folder

    @contextmanager
    def _walked(self, parts: list[str]) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for part in parts:
                following = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Say errors in the caller's words: with the path as it was asked, without the place on this machine."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoCapacity("the disk behind this lease is full") from error
        if error.errno == errno.ELOOP:
            raise NotAllowed(f"{path!r} is a link, and links are not followed") from error
        raise OSError(error.errno, error.strerror, path) from None
