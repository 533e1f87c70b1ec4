"""Folders: put with all that is in them, and brought back as they were.

Small files go into the entries that name them; those up to a megabyte are laid one after the other into *packs*, files without
a name that many names share, so that a thousand of them are sealed, coded and sent as one; larger ones stand alone. What has the
size, the time and the mode that the directory knows is not read again. Symbolic links are kept as links; what is neither file
nor folder nor link (pipes, sockets, devices) is left out with a notice.

A file is brought under another name first and gets its own when it is whole; links come last, and nothing is written through
one. Invariant: an interrupted put leaves whole files under their names, and so does an interrupted get.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3
from msgspec.structs import replace

from worldos.errors import BadRequest, DiskFull, NotAllowed, WorldError
from worldos.files import source
from worldos.files.about import About, Progress
from worldos.files.limits import PACK_BYTES, PACK_FILES_MAX, PACKED_BYTES_MAX, REREADS_MAX
from worldos.files.writer import Upload
from worldos.store.directory import Directory, Named
from worldos.store.limits import FILE_INLINE_BYTES_MAX
from worldos.store.names import clean, text_of
from worldos.store.ops import FileRef, Op

if TYPE_CHECKING:
    from worldos.files.files import Files

COPY_BYTES = 1 << 20

Told = Callable[[Progress], None]


@dataclass
class _Found:
    """Something on this machine that is to be put, and the name it gets."""

    at: str
    path: str
    about: os.stat_result


@dataclass
class _Packing:
    """A pack on its way: what lies in it so far."""

    upload: Upload
    files: list[tuple[str, FileRef]] = field(default_factory=list)


class FolderPut:
    """One folder being put."""

    def __init__(self, files: Files, top: Path, path: str, progress: Told | None) -> None:
        self._files = files
        self._top = top
        self._path = path
        self._progress = progress
        self._known: dict[str, Named] = {}
        self._ready: list[tuple[str, FileRef]] = []
        self._ready_bytes = 0
        self._packing: _Packing | None = None
        self._done_bytes = 0
        self._done_files = 0

    def run(self) -> About:
        """Put all of it."""
        session = self._files.session
        session.catalog.change(lambda directory: directory.folder(self._path), self._path)
        with session.catalog.look(at_once=True) as directory:
            self._known = {each.path: each for each in directory.walk(self._path)}
        fresh_folders: list[str] = []
        try:
            for found in self._walk(str(self._top), self._path):
                mode = found.about.st_mode
                if stat.S_ISDIR(mode):
                    there = self._known.get(found.path)
                    if there is None:
                        fresh_folders.append(found.path)
                    elif there.file is not None:
                        self._notice(found, "a file has this name: left out")
                elif stat.S_ISLNK(mode):
                    self._link(found)
                elif stat.S_ISREG(mode):
                    self._file(found)
                else:
                    self._notice(found, "neither a file nor a folder: left out")
            self._end_pack()
            self._commit(fresh_folders)
        except BaseException:
            if self._packing is not None:
                self._packing.upload.abandon()
            raise
        return About(name=self._path, folder=True, size_bytes=self._done_bytes)

    # -- one after the other -------------------------------------------------------------------------------------------------

    def _walk(self, at: str, path: str) -> Iterator[_Found]:
        try:
            with os.scandir(at) as rows:
                entries = sorted(rows, key=lambda entry: entry.name)
        except OSError as cause:
            self._say(f"{at}: {cause.strerror}: left out")
            return
        for entry in entries:
            try:
                name = text_of(clean(f"{path}/{entry.name}"))
                about = entry.stat(follow_symlinks=False)
            except (BadRequest, UnicodeEncodeError) as error:
                self._say(f"{at}/{os.fsencode(entry.name)!r}: {error}: left out")
                continue
            except OSError as cause:
                self._say(f"{entry.path}: {cause.strerror}: left out")
                continue
            found = _Found(entry.path, name, about)
            yield found
            if stat.S_ISDIR(about.st_mode):
                yield from self._walk(entry.path, name)

    def _link(self, found: _Found) -> None:
        try:
            target = os.readlink(found.at)
            ref = FileRef(target=target, modified_ns=found.about.st_mtime_ns, mode=0o777)
        except OSError as cause:
            self._notice(found, f"{cause.strerror}: left out")
            return
        if len(os.fsencode(target)) > 4096 or not _is_text(target):
            self._notice(found, "it links to what is no text: left out")
            return
        there = self._known.get(found.path)
        if there is None or there.file is None or there.file.target != target:
            self._add(found.path, ref)

    def _file(self, found: _Found) -> None:
        there = self._known.get(found.path)
        about = found.about
        if there is not None:
            if there.file is None:
                self._notice(found, "a folder has this name: left out")
                return
            same = (there.file.size_bytes, there.file.modified_ns) == (about.st_size, about.st_mtime_ns)
            if same and not there.file.target:
                if there.file.mode != stat.S_IMODE(about.st_mode):
                    self._add(found.path, replace(there.file, mode=stat.S_IMODE(about.st_mode)))
                self._count(about.st_size)
                return
        try:
            if about.st_size > PACKED_BYTES_MAX:
                self._files.put_file(Path(found.at), found.path, self._sub_progress())
            else:
                self._small(found)
        except (NotAllowed, BadRequest) as error:
            self._notice(found, f"{error}: left out")
            return
        self._count(about.st_size)

    def _small(self, found: _Found) -> None:
        descriptor = source.open_source(found.at)
        try:
            for _ in range(1 + REREADS_MAX):
                before = os.fstat(descriptor)
                data = os.pread(descriptor, PACKED_BYTES_MAX + 1, 0)
                if source.seen(os.fstat(descriptor)) == source.seen(before) and len(data) == before.st_size:
                    break
            else:
                raise BadRequest("it changes while it is read")
        finally:
            os.close(descriptor)
        ref = FileRef(
            size_bytes=len(data),
            modified_ns=before.st_mtime_ns,
            mode=stat.S_IMODE(before.st_mode),
            media=source.media_of(found.path),
            digest=blake3(data).digest(),
        )
        if len(data) <= FILE_INLINE_BYTES_MAX:
            self._add(found.path, replace(ref, inline=data))
            return
        if self._packing is None:
            self._packing = _Packing(self._files.session.uploads.begin(expected_bytes=PACK_BYTES))
        packing = self._packing
        offset = packing.upload.size_bytes
        packing.upload.write(data)
        packing.files.append((found.path, replace(ref, offset=offset, packed=True)))
        if packing.upload.size_bytes >= PACK_BYTES or len(packing.files) >= PACK_FILES_MAX:
            self._end_pack()

    def _end_pack(self) -> None:
        packing, self._packing = self._packing, None
        if packing is None:
            return
        try:
            pack = packing.upload.finish(modified_ns=0, inline=False)
        finally:
            packing.upload.abandon()
        for path, ref in packing.files:
            self._add(path, replace(ref, write=pack.write))

    # -- names ---------------------------------------------------------------------------------------------------------------

    def _add(self, path: str, ref: FileRef) -> None:
        self._ready.append((path, ref))
        self._ready_bytes += len(ref.inline) + 256
        if self._ready_bytes > 4 * COPY_BYTES:
            self._commit([])

    def _commit(self, fresh_folders: list[str]) -> None:
        makes: list[tuple[Callable[[Directory], tuple[Op, ...]], str]] = [
            (lambda directory, folder=folder: directory.folder(folder), folder)  # type: ignore[misc]
            for folder in _leaves(fresh_folders)
        ]
        makes += [
            (lambda directory, path=path, ref=ref: directory.put(path, ref), path)  # type: ignore[misc]
            for path, ref in self._ready
        ]
        self._ready, self._ready_bytes = [], 0
        if makes:
            self._files.session.catalog.change_many(makes)

    # -- telling -------------------------------------------------------------------------------------------------------------

    def _count(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._done_files += 1
        if self._progress is not None:
            self._progress(Progress(name=self._path, done_bytes=self._done_bytes, done_files=self._done_files))

    def _sub_progress(self) -> Told | None:
        if self._progress is None:
            return None
        progress, done, files = self._progress, self._done_bytes, self._done_files
        return lambda told: progress(Progress(name=told.name, done_bytes=done + told.done_bytes, done_files=files))

    def _notice(self, found: _Found, what: str) -> None:
        self._say(f"{found.at}: {what}")

    def _say(self, notice: str) -> None:
        if self._progress is not None:
            self._progress(
                Progress(
                    name=self._path, done_bytes=self._done_bytes, done_files=self._done_files, notice=_shown(notice)
                )
            )


def put_folder(files: Files, top: Path, path: str, progress: Told | None) -> About:
    """Put a folder with all that is in it; what is under the name already and not in the folder stays."""
    return FolderPut(files, top, path, progress).run()


# -- back ----------------------------------------------------------------------------------------------------------------------


def get_folder(files: Files, found: Named, dest: Path, progress: Told | None) -> None:
    """Bring a folder with all that is in it; what is in ``dest`` already and not in the folder stays."""
    with files.session.catalog.look(at_once=True) as directory:
        rows = list(directory.walk(found.path))
    _make_folder(dest)
    prefix = len(found.path) + 1 if found.path else 0
    for row in rows:
        if row.file is None:
            _make_folder(dest / row.path[prefix:])
    total = sum(row.file.size_bytes for row in rows if row.file is not None)
    done_bytes = 0
    for done_files, (row, ref) in enumerate(_in_reading_order(rows), 1):
        _see_no_link_above(dest, row.path[prefix:])
        write_file(files, ref, dest / row.path[prefix:], lambda _: None)
        done_bytes += ref.size_bytes
        if progress is not None:
            progress(Progress(name=row.path, done_bytes=done_bytes, total_bytes=total, done_files=done_files))
    for row in rows:
        if row.file is not None and row.file.target:
            _write_link(row.file, dest / row.path[prefix:])


def write_file(files: Files, ref: FileRef, dest: Path, told: Callable[[int], None]) -> None:
    """Write a file with its time and mode: under another name first, so that its own never stands for half of it."""
    if ref.target:
        _write_link(ref, dest)
        return
    if dest.is_dir():
        raise BadRequest(f"{dest} is a folder", hint="say the name that the file shall have there")
    fresh = dest.with_name(f".{dest.name[:200]}.{secrets.token_hex(4)}")
    total = 0
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for part in files.parts(ref):
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
                total += len(part)
                told(total)
            os.utime(descriptor, ns=(ref.modified_ns, ref.modified_ns))
            os.fchmod(descriptor, ref.mode & 0o777 or 0o644)
        finally:
            os.close(descriptor)
        fresh.replace(dest)
    except OSError as cause:
        _unlink(fresh)
        raise _cannot_write(dest, cause) from cause
    except BaseException:
        _unlink(fresh)
        raise


def _in_reading_order(rows: list[Named]) -> Iterator[tuple[Named, FileRef]]:
    """Go through the files so that what lies in one pack is read in the order in which it lies there."""
    files = [(row, row.file) for row in rows if row.file is not None and not row.file.target]
    packed = sorted((each for each in files if each[1].packed), key=lambda each: (each[1].write, each[1].offset))
    yield from (each for each in files if not each[1].packed)
    yield from packed


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise _cannot_write(folder, cause) from cause


def _see_no_link_above(dest: Path, path: str) -> None:
    """Refuse to write through a symbolic link that lies in the way below ``dest``."""
    at = dest
    for part in path.split("/")[:-1]:
        at = at / part
        if at.is_symlink():
            raise NotAllowed(
                f"{at} is a link, where a folder was to be", hint="move it away, or get into another folder"
            )


def _write_link(ref: FileRef, dest: Path) -> None:
    fresh = dest.with_name(f".{dest.name[:200]}.{secrets.token_hex(4)}")
    try:
        fresh.symlink_to(ref.target)
        fresh.replace(dest)
    except OSError as cause:
        _unlink(fresh)
        raise _cannot_write(dest, cause) from cause


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError:
        return


def _cannot_write(dest: Path, cause: OSError) -> WorldError:
    if cause.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"there is no room for {dest}", hint="free some space, or get into another folder")
    if cause.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return NotAllowed(f"{dest} may not be written", hint="name another place")
    return BadRequest(f"{dest} cannot be written: {cause.strerror}", hint="name another place")


def _leaves(folders: list[str]) -> list[str]:
    """Leave out folders that are made anyway, as those above others."""
    ordered = sorted(folders)
    return [
        folder
        for place, folder in enumerate(ordered)
        if not "".join(ordered[place + 1 : place + 2]).startswith(folder + "/")
    ]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
