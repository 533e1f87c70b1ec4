"""Files on the way to a command and back: a tar stream, packed and unpacked as it flows, never whole in memory or on disk.

What comes out of a stream is checked member by member: relative names without "..", only folders, plain files, and
links that stay inside; anything else raises BadRequest and ends the unpacking.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from worldos.errors import BadRequest, PeerBroke

CHUNK_BYTES: Final = 256 * 1024
MEMBERS_MAX: Final = 1_000_000

Seen = dict[str, tuple[int, int, int]]


class _Sink:
    """A file object that hands on what is written, in chunks."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), CHUNK_BYTES):
            self._send(bytes(data[start : start + CHUNK_BYTES]))
        return len(data)


class _Source:
    """A file object over a function that gives the next chunk, empty at the end."""

    def __init__(self, receive: Callable[[], bytes | bytearray]) -> None:
        self._receive = receive
        self._rest = bytearray()
        self._ended = False

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and not self._ended:
            chunk = self._receive()
            self._ended = not chunk
            self._rest += chunk
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data

    def drain(self) -> None:
        """Read to the end of the stream."""
        while not self._ended:
            self._ended = not self._receive()


def pack(members: Iterable[tuple[str, Path]], send: Callable[[bytes], None]) -> int:
    """Send files as one tar stream; return how many. ``members``: name in the stream, and where it is."""
    count = 0
    with tarfile.open(fileobj=_any(_Sink(send)), mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK_BYTES) as tar:
        for name, path in members:
            info = tar.gettarinfo(str(path), name)
            if not (info.isreg() or info.isdir() or info.issym()):
                continue
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.isreg():
                info.type = tarfile.REGTYPE
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
            count += 1
    return count


def unpack(folder: Path, receive: Callable[[], bytes | bytearray]) -> list[str]:
    """Unpack a stream into a folder; return the names of the files. Raises BadRequest for a member that may not be."""
    names: list[str] = []
    source = _Source(receive)
    try:
        with tarfile.open(fileobj=_any(source), mode="r|", bufsize=CHUNK_BYTES) as tar:
            for count, member in enumerate(tar):
                if count >= MEMBERS_MAX:
                    raise BadRequest(f"more than {MEMBERS_MAX} files in one parcel")
                _check(member)
                tar.extract(member, folder, filter="data")
                if not member.isdir():
                    names.append(member.name)
    except tarfile.FilterError as error:
        raise BadRequest(f"a file in the parcel is refused: {error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise PeerBroke(f"the parcel of files is damaged: {error}") from None
    source.drain()
    return names


def _any(thing: Any) -> Any:
    return thing


def _check(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise BadRequest(f"a file in the parcel would land outside its folder: {member.name!r}")
    if not (member.isreg() or member.isdir() or member.issym()):
        raise BadRequest(f"a parcel holds files, folders and links, but {member.name!r} is none of these")


def inputs(paths: Iterable[Path], base: Path) -> list[tuple[str, Path]]:
    """Return what to send for files and folders that a person named: as seen from ``base``, or by their last name."""
    members: list[tuple[str, Path]] = []
    for path in paths:
        full = Path(os.path.abspath(base / path))
        if not full.exists():
            raise BadRequest(f"there is no {path}")
        inside = full.is_relative_to(base) and full != base
        name = str(full.relative_to(base)) if inside else ("" if full == base else full.name)
        if full.is_dir():
            members.extend(_tree(full, name))
        else:
            members.append((name, full))
    return members


def _tree(folder: Path, name: str) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = [(name, folder)] if name else []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        found.extend(
            (os.path.join(name, os.path.relpath(os.path.join(parent, each), folder)), Path(parent) / each)
            for each in sorted([*folders, *files])
        )
    return found


def seen(folder: Path) -> Seen:
    """Note what is in a folder, to know later what has changed."""
    notes: Seen = {}
    for name, path in _tree(folder, ""):
        if path.is_symlink() or path.is_file():
            status = path.lstat()
            notes[name] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return notes


def changed(folder: Path, before: Seen) -> list[tuple[str, Path]]:
    """Return the files that are new or changed since ``before``, by name."""
    after = seen(folder)
    return [(name, folder / name) for name, note in sorted(after.items()) if before.get(name) != note]
