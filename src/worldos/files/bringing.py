"""Folders brought back as they were: bytes, modes, times, links.

Files that lie in one pack are written out of one stream over it, in the order in which they lie there, so that no chunk is
fetched or opened twice; others come a few at a time, so that one is asked for while another is written.
A file is brought under another name first and gets its own when it is whole; links come last, and nothing is written through
one. Invariant: an interrupted get leaves whole files under their names, and nothing else.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from worldos.errors import BadRequest, Damaged, DiskFull, NotAllowed, WorldError
from worldos.files.about import Progress
from worldos.files.limits import MEDIUM_AT_ONCE, MEDIUM_BYTES_MAX, PACK_GAP_BYTES
from worldos.store.directory import Named
from worldos.store.erasure import Buffer
from worldos.store.ops import FileRef

if TYPE_CHECKING:
    from worldos.files.files import Files

Told = Callable[[Progress], None]
Row = tuple[Named, FileRef]


def get_folder(files: Files, found: Named, dest: Path, progress: Told | None) -> None:
    """Bring a folder with all that is in it; what is in ``dest`` already and not in the folder stays."""
    with files.session.catalog.look(at_once=True) as directory:
        rows = list(directory.walk(found.path))
    FolderGet(files, dest, len(found.path) + 1 if found.path else 0, progress).run(rows)


class FolderGet:
    """One folder being brought. ``prefix`` is how much of each path is above it."""

    def __init__(self, files: Files, dest: Path, prefix: int, progress: Told | None) -> None:
        self._files = files
        self._dest = dest
        self._prefix = prefix
        self._progress = progress
        self._total_bytes = self._done_bytes = self._done_files = 0

    def run(self, rows: list[Named]) -> None:
        """Bring all of it."""
        _make_folder(self._dest)
        for row in rows:
            if row.file is None:
                _make_folder(self._at(row))
        some = [(row, row.file) for row in rows if row.file is not None and not row.file.target]
        self._total_bytes = sum(ref.size_bytes for _, ref in some)
        self._alone([each for each in some if not each[1].packed])
        for run in packed_runs(each for each in some if each[1].packed):
            self._out_of_pack(run)
        for row in rows:
            if row.file is not None and row.file.target:
                self._see_no_link_above(row)
                _write_link(row.file, self._at(row))

    def _alone(self, rows: list[Row]) -> None:
        """Bring files that stand alone: large ones one by one, others a few at a time."""
        under_way: deque[tuple[Row, Future[None]]] = deque()

        def take_in(left: int) -> None:
            while len(under_way) > left:
                row, future = under_way.popleft()
                future.result()
                self._tell(row)

        with ThreadPoolExecutor(MEDIUM_AT_ONCE, "wos-get") as pool:
            try:
                for row in rows:
                    if row[1].size_bytes > MEDIUM_BYTES_MAX:
                        self._write(row)
                        self._tell(row)
                    else:
                        under_way.append((row, pool.submit(self._write, row)))
                        take_in(2 * MEDIUM_AT_ONCE)
                take_in(0)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _out_of_pack(self, run: list[Row]) -> None:
        """Bring files that lie behind each other in one pack."""
        start = run[0][1].offset
        end = max(ref.offset + ref.size_bytes for _, ref in run)
        span = Span(self._files.parts(replace(run[0][1], offset=start, size_bytes=end - start)), start)
        for row in run:
            self._write(row, [span.take(row[1].offset, row[1].size_bytes)])
            self._tell(row)

    def _write(self, row: Row, parts: Iterable[Buffer] | None = None) -> None:
        self._see_no_link_above(row[0])
        write_file(self._files, row[1], self._at(row[0]), lambda _: None, parts)

    def _at(self, row: Named) -> Path:
        return self._dest / row.path[self._prefix :]

    def _see_no_link_above(self, row: Named) -> None:
        """Refuse to write through a symbolic link that lies in the way below the folder."""
        at = self._dest
        for part in row.path[self._prefix :].split("/")[:-1]:
            at = at / part
            if at.is_symlink():
                raise NotAllowed(
                    f"{at} is a link, where a folder was to be", hint="move it away, or get into another folder"
                )

    def _tell(self, row: Row) -> None:
        self._done_bytes += row[1].size_bytes
        self._done_files += 1
        if self._progress is not None:
            told = Progress(
                name=row[0].path,
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                done_files=self._done_files,
            )
            self._progress(told)


class Span:
    """Part of a pack, read once from its beginning to its end. ``at`` is where in the pack it begins."""

    def __init__(self, parts: Iterator[memoryview], at: int) -> None:
        self._parts = parts
        self._held = bytearray()
        self._at = at

    def take(self, offset: int, size_bytes: int) -> bytes:
        """Return some bytes of the pack, at or after where the last ones began."""
        skip = offset - self._at
        while len(self._held) < skip + size_bytes:
            part = next(self._parts, None)
            if part is None:
                raise Damaged("a pack of files ends before its files do")
            self._held += part
        del self._held[:skip]
        self._at = offset
        return bytes(self._held[:size_bytes])


def packed_runs(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Put the files together that lie in one pack without much between them, in the order in which they lie."""
    run: list[Row] = []
    for row in sorted(rows, key=lambda each: (each[1].write, each[1].read, each[1].offset)):
        if run:
            last, ref = run[-1][1], row[1]
            near = ref.offset <= last.offset + last.size_bytes + PACK_GAP_BYTES
            if (last.write, last.read) != (ref.write, ref.read) or not near:
                yield run
                run = []
        run.append(row)
    if run:
        yield run


def write_file(
    files: Files, ref: FileRef, dest: Path, told: Callable[[int], None], parts: Iterable[Buffer] | None = None
) -> None:
    """Write a file with its time and mode: under another name first, so that its own never stands for half of it.

    ``parts`` are its bytes, where somebody has read them already.
    """
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
            for part in files.parts(ref) if parts is None else parts:
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise _cannot_write(folder, cause) from cause


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
