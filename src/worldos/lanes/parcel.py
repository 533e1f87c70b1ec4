"""Files on the way to a command and back: a tar stream, packed and unpacked as it flows, never whole in memory or on disk.

What comes out of a stream is checked member by member: relative names without "..", only folders, plain files, and
links that stay inside; anything else raises BadRequest and ends the unpacking. Each is put down from folder to folder by
descriptors, and never through a link: what filters by names alone promised was broken more than once (CVE-2007-4559,
CVE-2025-4517), and the folder may hold links already.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Final

from worldos.errors import BadRequest, PeerBroke

CHUNK_BYTES: Final = 256 * 1024
MEMBERS_MAX: Final = 1_000_000
NAME_BYTES_MAX: Final = 64 * 1024
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NAMING: Final = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)

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
    with _Ground(folder) as ground:
        try:
            with tarfile.open(fileobj=_any(source), mode="r|", bufsize=CHUNK_BYTES, tarinfo=_Member) as tar:
                for count, member in enumerate(tar):
                    if count >= MEMBERS_MAX:
                        raise BadRequest(f"more than {MEMBERS_MAX} files in one parcel")
                    _check(member)
                    ground.put(tar, member)
                    if not member.isdir():
                        names.append(member.name)
        except (tarfile.TarError, EOFError, UnicodeError) as error:
            raise PeerBroke(f"the parcel of files is damaged: {error}") from None
    source.drain()
    return names


def digest(receive: Callable[[], bytes | bytearray]) -> bytes:
    """Return a digest of what unpacking a stream would make, times left out; it raises what ``unpack`` would for a member.

    A name that comes twice is refused: readers might take the one or the other, and the digest is of one.
    """
    found: dict[str, bytes] = {}
    source = _Source(receive)
    try:
        with tarfile.open(fileobj=_any(source), mode="r|", bufsize=CHUNK_BYTES, tarinfo=_Member) as tar:
            for count, member in enumerate(tar):
                if count >= MEMBERS_MAX:
                    raise BadRequest(f"more than {MEMBERS_MAX} files in one parcel")
                _check(member)
                name = str(PurePosixPath(member.name))
                if name in found:
                    raise BadRequest(f"{member.name!r} is in the parcel twice")
                found[name] = _digest(tar, member)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise PeerBroke(f"the parcel of files is damaged: {error}") from None
    source.drain()
    whole = sha256()
    for name, made in sorted(found.items()):
        whole.update(sha256(name.encode("utf-8", "surrogatepass")).digest() + made)
    return whole.digest()


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the digest of one member: a letter for its kind, and what it holds."""
    if member.isdir():
        return sha256(b"d").digest()
    if member.issym():
        return sha256(b"l" + member.linkname.encode("utf-8", "surrogatepass")).digest()
    data = tar.extractfile(member)
    if data is None:
        raise tarfile.ReadError("a file without contents")
    made = sha256(b"x" if member.mode & 0o100 else b"f")
    while piece := data.read(CHUNK_BYTES):
        made.update(piece)
    return made.digest()


class _Member(tarfile.TarInfo):
    """A member whose long names take no more memory than a path has room for."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in NAMING and self.size > NAME_BYTES_MAX:
            raise tarfile.ReadError(f"a name of {self.size} bytes")
        parent: Any = super()
        member: tarfile.TarInfo = parent._proc_member(tar)
        return member


class _Ground:
    """The folder into which a parcel is unpacked. Nothing is ever opened through a link, whoever made it and whenever."""

    def __init__(self, folder: Path) -> None:
        self._root = os.open(folder, FOLDER & ~os.O_NOFOLLOW)  # the owner's own word
        self._parts: tuple[str, ...] = ()
        self._at = os.dup(self._root)

    def __enter__(self) -> _Ground:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._at)
        os.close(self._root)

    def put(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make one folder, file or link where it belongs."""
        parts = tuple(part for part in PurePosixPath(member.name).parts if part != ".")
        if not parts:
            return  # the folder itself
        if member.isdir():
            self._go(parts)
            return
        self._go(parts[:-1])
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=self._at)
        except OSError:
            raise BadRequest(f"{member.name!r} is a folder here, and a file in the parcel") from None
        if member.issym():
            os.symlink(member.linkname, parts[-1], dir_fd=self._at)
        else:
            self._write(tar, member, parts[-1])

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        data = tar.extractfile(member)
        if data is None:
            raise tarfile.ReadError("a file without contents")
        mode = (member.mode & 0o755) | 0o600
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._at)
        with open(fd, "wb") as file:
            shutil.copyfileobj(data, file, CHUNK_BYTES)
            os.fchmod(fd, mode if mode & 0o100 else mode & 0o644)
            file.flush()
            with contextlib.suppress(OverflowError, OSError):  # times before there were files
                os.utime(fd, (member.mtime, member.mtime))

    def _go(self, parts: tuple[str, ...]) -> None:
        """Be in a folder below the root, made where it is missing; only real folders lead there."""
        if parts == self._parts:
            return
        at = os.dup(self._root)
        try:
            for part in parts:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o777, dir_fd=at)
                below = os.open(part, FOLDER, dir_fd=at)
                os.close(at)
                at = below
        except OSError as error:
            os.close(at)
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise BadRequest(f"{'/'.join(parts)!r} is a link or a file here, and a folder in the parcel") from None
            raise
        os.close(self._at)
        self._at, self._parts = at, parts


def _any(thing: Any) -> Any:
    return thing


def _check(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise BadRequest(f"a file in the parcel would land outside its folder: {member.name!r}")
    if member.type == tarfile.GNUTYPE_SPARSE or not (member.isreg() or member.isdir() or member.issym()):
        raise BadRequest(f"a parcel holds files, folders and links, but {member.name!r} is none of these")
    if member.issym() and not _stays_inside(path, member.linkname):
        raise BadRequest(f"a link in the parcel leads outside its folder: {member.name!r} to {member.linkname!r}")


def _stays_inside(path: PurePosixPath, target: str) -> bool:
    """Tell whether a link leads only to what is below the root: first up, no further than there, then only down.

    Up after down would not do: down may be a link itself, and above where that leads nobody has looked.
    """
    to = PurePosixPath(target)
    ups = next((at for at, part in enumerate(to.parts) if part != ".."), len(to.parts))
    depth = len([part for part in path.parts if part != "."]) - 1
    return bool(target) and "\0" not in target and not to.is_absolute() and ups <= depth and ".." not in to.parts[ups:]


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
