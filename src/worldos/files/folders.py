"""Folders: put with all that is in them.

Small files go into the entries that name them; those up to a megabyte are laid one after the other into *packs*, files without
a name that many names share, so that a thousand of them are sealed, coded and sent as one; larger ones stand alone, a few under
way at a time, and are named together. What has the size, the time and the mode that the directory knows is not read again;
what has the size and the digest of another file in the folder is kept once. Symbolic links are kept as links; what is neither
file nor folder nor link (pipes, sockets, devices) is left out with a notice.
Invariant: an interrupted put leaves whole files under their names.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3
from msgspec.structs import replace

from worldos.errors import BadRequest, NotAllowed, WorldError
from worldos.files import source
from worldos.files.about import About, Progress
from worldos.files.limits import (
    MEDIUM_AT_ONCE,
    MEDIUM_BYTES_MAX,
    NAMED_EVERY_BYTES,
    PACK_BYTES,
    PACK_FILES_MAX,
    PACKED_BYTES_MAX,
    REREADS_MAX,
)
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
    offsets: dict[bytes, int] = field(default_factory=dict)  # by the digest of what lies there


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
        self._unnamed_bytes = 0
        self._kept: dict[tuple[int, bytes], FileRef] = {}  # what lies with the stores, by its size and digest
        self._sizes: set[int] = set()  # of large files that were put or are being put
        self._putting: ThreadPoolExecutor | None = None
        self._under_way: deque[tuple[_Found, Future[FileRef]]] = deque()

    def run(self) -> About:
        """Put all of it."""
        session = self._files.session
        session.catalog.change(lambda directory: directory.folder(self._path), self._path)
        with session.catalog.look(at_once=True) as directory:
            self._known = {each.path: each for each in directory.walk(self._path)}
        for each in self._known.values():
            if each.file is not None:
                self._remember(each.file)
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
            self._take_in(left=0)
            self._commit(fresh_folders)
        except BaseException:
            if self._packing is not None:
                self._packing.upload.abandon()
            for _, future in self._under_way:
                future.cancel()
            with contextlib.suppress(WorldError):  # what is kept gets its name; why it ended is what is told
                self._commit([])
            raise
        finally:
            if self._putting is not None:
                self._putting.shutdown(wait=True)
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
                self._large(found)
                return
            self._small(found)
        except (NotAllowed, BadRequest) as error:
            self._notice(found, f"{error}: left out")
            return
        self._count(about.st_size)

    def _large(self, found: _Found) -> None:
        """Put a file that stands alone: beside others, or in this thread if it keeps the machine busy by itself."""
        size = found.about.st_size
        twin = size in self._sizes
        if twin:
            self._take_in(left=0)
        self._sizes.add(size)
        if size > MEDIUM_BYTES_MAX:
            self._name_large(found, self._keep_large(found, self._sub_progress(), twin=twin))
            return
        if self._putting is None:
            self._putting = ThreadPoolExecutor(MEDIUM_AT_ONCE, "wos-put")
        self._under_way.append((found, self._putting.submit(self._keep_large, found, None, twin=twin)))
        self._take_in(left=2 * MEDIUM_AT_ONCE)

    def _keep_large(self, found: _Found, told: Told | None, *, twin: bool) -> FileRef:
        kept = self._twin_of(found) if twin else None
        return self._files.keep_file(Path(found.at), found.path, told) if kept is None else kept

    def _twin_of(self, found: _Found) -> FileRef | None:
        """Find a file with the same bytes that is kept already; this one is read for that, and only that."""
        descriptor = source.open_source(found.at)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            digest = blake3()
            while block := file.read(COPY_BYTES):
                digest.update(block)
            same = source.seen(os.fstat(descriptor)) == source.seen(before)
        kept = self._kept.get((before.st_size, digest.digest()))
        if kept is None or not same:
            return None
        mode, media = stat.S_IMODE(before.st_mode), source.media_of(found.path)
        return replace(kept, modified_ns=before.st_mtime_ns, mode=mode, media=media)

    def _take_in(self, left: int) -> None:
        """Wait for the files under way, all but the last few of them; name what is kept."""
        while len(self._under_way) > left:
            found, future = self._under_way.popleft()
            try:
                ref = future.result()
            except (NotAllowed, BadRequest) as error:
                self._notice(found, f"{error}: left out")
                continue
            self._name_large(found, ref)

    def _name_large(self, found: _Found, ref: FileRef) -> None:
        self._add(found.path, ref)
        self._count(found.about.st_size)
        self._unnamed_bytes += ref.size_bytes
        if self._unnamed_bytes > NAMED_EVERY_BYTES:
            self._commit([])

    def _remember(self, ref: FileRef) -> None:
        if ref.target or ref.inline or not ref.write:
            return
        self._kept.setdefault((ref.size_bytes, ref.digest), ref)
        if not ref.packed:
            self._sizes.add(ref.size_bytes)

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
        kept = self._kept.get((ref.size_bytes, ref.digest))
        if kept is not None:
            twin = replace(ref, write=kept.write, read=kept.read, kind=kept.kind)
            self._add(found.path, replace(twin, offset=kept.offset, packed=kept.packed))
            return
        if self._packing is None:
            self._packing = _Packing(self._files.session.uploads.begin(expected_bytes=PACK_BYTES))
        packing = self._packing
        offset = packing.offsets.get(ref.digest, packing.upload.size_bytes)
        if ref.digest not in packing.offsets:
            packing.offsets[ref.digest] = offset
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
        self._remember(ref)
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
        self._ready, self._ready_bytes, self._unnamed_bytes = [], 0, 0
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
