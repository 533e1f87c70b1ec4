"""Files: what an account keeps, by name. The one interface of the command line, the WebDAV folder, fsspec and programs.

    with Files.open() as files:
        files.put(Path("holiday"), "photos/2026")
        files.read("photos/2026/one.jpg", 0, 1000)

Names are paths with slashes (store/names.py). What is put is sealed here and spread over the stores of the account; it counts
when it is kept there, and then its name is. Safe to use from many threads. All errors are those of errors.py.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from msgspec.structs import replace

from worldos.config import default_home
from worldos.errors import BadRequest, NotThere
from worldos.files import bringing, folders, source, standing
from worldos.files.about import About, Progress, Standing, StorageStatus, Usage, Version, file_about
from worldos.files.limits import REFRESH_PATIENCE_S, REREADS_MAX
from worldos.files.reader import FileReader, read_range
from worldos.files.session import Session, open_session
from worldos.files.streams import FileWriter
from worldos.files.writer import Upload
from worldos.home import Home
from worldos.store.caps import Right
from worldos.store.directory import Directory, Named
from worldos.store.names import clean, text_of
from worldos.store.ops import FileRef, Op

Told = Callable[[Progress], None]
Versions = list[Version]
Standings = list[Standing]


class Files:
    """An account's files, to work with. ``close`` it, or use it in a with block."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod
    def open(cls, home: Home | None = None) -> Files:
        """Begin to work with the files of this machine's account; ``NoAgent`` where no agent runs."""
        return cls(open_session(home or default_home()))

    def close(self) -> None:
        """Let what is on its way arrive, and give everything back."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- writing -------------------------------------------------------------------------------------------------------------

    def put(self, what: Path | bytes | BinaryIO, name: str, *, progress: Told | None = None) -> About:
        """Keep a file, bytes, what a stream gives, or a folder with all that is in it, under a name."""
        path = _named(name)
        if isinstance(what, Path):
            if what.is_dir():
                return folders.put_folder(self, what, path, progress)
            return self.put_file(what, path, progress)
        upload = self.session.uploads.begin(expected_bytes=len(what) if isinstance(what, bytes) else -1)
        try:
            if isinstance(what, bytes):
                upload.write(what)
            else:
                source.pour_stream(what, upload, _teller(progress, path, -1))
            return self._keep(upload, path)
        except BaseException:
            upload.abandon()
            raise

    def put_file(self, file: Path, path: str, progress: Told | None = None) -> About:
        """Keep a file of this machine under a name."""
        with self.session.catalog.look() as directory:
            directory.put(path, FileRef())  # a name that cannot be is refused before the rest is kept
        ref = self.keep_file(file, path, progress)
        self.session.catalog.change(lambda directory: directory.put(path, ref), path)
        return file_about(path, ref)

    def keep_file(self, file: Path, path: str, progress: Told | None = None) -> FileRef:
        """Keep a file of this machine, not yet under its name.

        One that changes while it is read is read again, and refused if it keeps changing.
        """
        descriptor = source.open_source(file)
        try:
            for _ in range(1 + REREADS_MAX):
                before = os.fstat(descriptor)
                regular = stat.S_ISREG(before.st_mode)
                size = before.st_size if regular else -1
                upload = self.session.uploads.begin(expected_bytes=size)
                try:
                    total = source.pour(descriptor, upload, str(file), size, _teller(progress, path, size))
                    same = not regular or (source.seen(os.fstat(descriptor)) == source.seen(before) and total == size)
                    if same:
                        modified_ns = before.st_mtime_ns if regular else time.time_ns()
                        mode = stat.S_IMODE(before.st_mode) if regular else 0o644
                        return upload.finish(modified_ns=modified_ns, mode=mode, media=source.media_of(path))
                finally:
                    upload.abandon()
                os.lseek(descriptor, 0, os.SEEK_SET)
        finally:
            os.close(descriptor)
        raise BadRequest(
            f"{file} changes while it is read: it was read {1 + REREADS_MAX} times",
            hint="put it when nothing writes to it, or a copy of it",
        )

    def writer(self, name: str) -> BinaryIO:
        """Return a file to write to: it has its name once it is closed, and nothing of it is seen before."""
        path = _named(name)
        with self.session.catalog.look() as directory:
            directory.put(path, FileRef())  # is the name free for a file? said now, not after all was sent
        return cast(
            "BinaryIO", FileWriter(self.session.uploads.begin(), lambda upload: _ignore(self._keep(upload, path)))
        )

    def make_folder(self, name: str, *, parents: bool = True) -> About:
        """Make a folder; one that is there already is no error."""
        path = _named(name)

        def make(directory: Directory) -> Sequence[Op]:
            above = path.rpartition("/")[0]
            if not parents and above and directory.get(above) is None:
                raise NotThere(f"{above} is not there")
            there = directory.get(path)
            if there is not None and there.file is not None:
                raise BadRequest(f"{path} is a file")
            return directory.folder(path)

        self.session.catalog.change(make, path)
        return self.stat(path)

    def move(self, name: str, target: str) -> About:
        """Give a file or folder another name; a file takes the place of one that has it."""
        path, to = _named(name), _named(target)
        self.session.catalog.change(lambda directory: directory.move(path, to), path, to)
        return self.stat(to)

    def copy(self, name: str, target: str) -> About:
        """Give a file or folder a second name; no data is copied."""
        path, to = _named(name), _named(target)

        def make(directory: Directory) -> Sequence[Op]:
            there = _there(directory, path)
            if there.file is not None:
                return directory.put(to, there.file)
            if to == path or to.startswith(path + "/"):
                raise BadRequest(f"{path} cannot be copied into itself")
            ops = list(directory.folder(to))
            for each in directory.walk(path):
                at = to + each.path[len(path) :]
                ops += directory.folder(at) if each.file is None else directory.put(at, each.file)
            return ops

        self.session.catalog.change(make, path, to)
        return self.stat(to)

    def remove(self, name: str, *, recursive: bool = False) -> None:
        """Remove a file, an empty folder, or with ``recursive`` a folder and all in it. For 30 days it can be had back."""
        path = _named(name)
        self.session.catalog.change(lambda directory: directory.remove(path, recursive=recursive), path)

    def undelete(self, name: str, version: str = "") -> About:
        """Bring back a version of a file, by default the last; or the folder that last had the name."""
        path = _named(name)
        self.session.catalog.change(lambda directory: directory.undelete(path, version), path)
        return self.stat(path)

    # -- reading -------------------------------------------------------------------------------------------------------------

    def get(self, name: str, dest: Path | BinaryIO, *, version: str = "", progress: Told | None = None) -> About:
        """Bring a file or a folder to this machine: all of it, or nothing under the names in ``dest``."""
        found = self.named(name)
        if isinstance(dest, Path) and found.file is None:
            if version:
                raise BadRequest("a folder has no versions", hint="name a file in it")
            bringing.get_folder(self, found, dest, progress)
            return about_of(found)
        if found.file is None:
            raise BadRequest(f"{found.path} is a folder", hint="say where to: a path of this machine")
        ref = self.version(found.path, version) if version else found.file
        told = _teller(progress, found.path, ref.size_bytes)
        if isinstance(dest, Path):
            bringing.write_file(self, ref, dest, told)
        else:
            total = 0
            for part in self.parts(ref):
                dest.write(part)
                total += len(part)
                told(total)
        return about_of(found if not version else replace(found, file=ref))

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Return the bytes of a file, or of a part of it."""
        ref = self.ref(name)
        if offset < 0:
            raise BadRequest(f"a place before the beginning of {name}")
        end = ref.size_bytes if length < 0 else min(ref.size_bytes, offset + length)
        if ref.inline:
            return ref.inline[offset:end]
        if offset >= end:
            return b""
        return b"".join([bytes(part) for part in self.parts(ref, offset, end - offset)])

    def reader(self, name: str) -> BinaryIO:
        """Return a file to read from anywhere, as Python's own."""
        return cast("BinaryIO", io.BufferedReader(FileReader(self.session.shelf, self.ref(name)), 1 << 16))

    def parts(self, ref: FileRef, offset: int = 0, length: int = -1) -> Iterator[memoryview]:
        """Yield the bytes of a file in parts, each good until the next one is asked for."""
        length = ref.size_bytes - offset if length < 0 else min(length, ref.size_bytes - offset)
        if length <= 0:
            return
        if ref.inline:
            yield memoryview(ref.inline)[offset : offset + length]
            return
        shelf = self.session.shelf
        yield from read_range(shelf, shelf.used(ref), ref.offset + offset, length)

    # -- looking -------------------------------------------------------------------------------------------------------------

    def list(self, name: str = "") -> list[About]:
        """Return what is in a folder, by name; a file alone is a list of itself."""
        path = _path(name)
        with self.session.catalog.look() as directory:
            there = _there(directory, path)
            return [about_of(each) for each in ([there] if there.file is not None else directory.list(path))]

    def walk(self, name: str = "") -> Iterator[About]:
        """Go through all that is below a folder, each folder before what is in it."""
        path = _path(name)
        with self.session.catalog.look() as directory:
            there = _there(directory, path)
            found = [there] if there.file is not None else list(directory.walk(path))
        return map(about_of, found)

    def stat(self, name: str) -> About:
        """Return what a name stands for; ``NotThere`` if for nothing."""
        return about_of(self.named(name))

    def exists(self, name: str) -> bool:
        """Tell whether a name stands for something."""
        with self.session.catalog.look() as directory:
            return directory.get(_path(name)) is not None

    def history(self, name: str) -> Versions:
        """Return all versions that a name has or had in the last 30 days, the newest first."""
        path = _named(name)
        with self.session.catalog.look() as directory:
            past = directory.history(path)
            names = directory.names
            if not past and directory.get(path) is None:
                raise NotThere(f"nothing is known of {path}", hint="see what is there with: wos ls")
            return [
                Version(
                    id=each.version,
                    name=path,
                    at_ns=each.at_ns,
                    device=names.get(each.device) or each.device.hex()[:8],
                    size_bytes=each.file.size_bytes,
                    digest=each.file.digest,
                    removed=each.removed,
                    current=each.current,
                )
                for each in past
            ]

    def refresh(self) -> None:
        """Ask all stores what is new, not only this machine's."""
        self.session.catalog.refresh(thorough=True, patience_s=REFRESH_PATIENCE_S)

    def usage(self, name: str = "") -> Usage:
        """Return what a name and all below it take."""
        return standing.usage(self.session, _path(name))

    def status(self, name: str = "") -> Standings:
        """Return how safe each file below a name is now."""
        return standing.status(self.session, _path(name))

    def storage(self) -> StorageStatus:
        """Return all stores, and what new files get."""
        return standing.storage(self.session)

    def data_at(self, name: str) -> dict[str, int]:
        """Return how many bytes of a file or folder lie on which node: ``use(..., data=files.data_at(name))``."""
        return standing.data_at(self.session, _path(name))

    # -- sharing -------------------------------------------------------------------------------------------------------------

    def share(self, name: str, right: Right, until_ns: int = 0) -> str:
        """Return a code of 60 characters by which others have this right to a file or folder; 0: for good."""
        from worldos.files import sharing  # noqa: PLC0415 - which most programs do without

        return sharing.share_file(self, _named(name), right, until_ns)

    def unshare(self, name: str) -> None:
        """End the codes of a file or folder: it gets new keys, which they do not open."""
        from worldos.files import sharing  # noqa: PLC0415

        sharing.unshare_file(self, _named(name))

    def open_code(self, code: str, dest: Path) -> About:
        """Bring what a code leads to to this machine."""
        from worldos.files import opening  # noqa: PLC0415

        return opening.open_code_at(self, code, dest)

    def put_by_code(self, source: Path | bytes, code: str, name: str = "") -> About:
        """Change a file, or add one to a folder, that somebody else gave a code for."""
        from worldos.files import opening  # noqa: PLC0415

        return opening.put_by_code(self, source, code, name)

    # -- what others of this room ask ------------------------------------------------------------------------------------------

    def named(self, name: str) -> Named:
        """Return the directory's line of a name; ``NotThere`` if it has none."""
        with self.session.catalog.look() as directory:
            return _there(directory, _path(name))

    def ref(self, name: str) -> FileRef:
        """Return what the name of a file stands for."""
        found = self.named(name)
        if found.file is None:
            raise BadRequest(f"{found.path or 'this'} is a folder")
        return found.file

    def version(self, path: str, version: str) -> FileRef:
        """Return an earlier version of a file, by the beginning of its id."""
        with self.session.catalog.look() as directory:
            found = [past for past in directory.history(path) if past.version.startswith(version.lower())]
        if len(found) != 1:
            what = "no version" if not found else "more than one version"
            raise BadRequest(f"{what} of {path} begins with {version[:60]!r}", hint=f"see: wos history {path}")
        return found[0].file

    def alone(self, name: str) -> FileRef:
        """Return a file that shares its secret with no other: one that lies in a pack is put again by itself.

        To be asked before a secret is given away.
        """
        found = self.named(name)
        if found.file is None:
            raise BadRequest(f"{found.path} is a folder")
        ref = found.file
        if not (ref.packed or ref.inline or not ref.size_bytes):
            return ref
        upload = self.session.uploads.begin(expected_bytes=ref.size_bytes)
        try:
            for part in self.parts(ref):
                upload.write(part)
            fresh = upload.finish(modified_ns=ref.modified_ns, mode=ref.mode, media=ref.media, inline=False)
        finally:
            upload.abandon()
        self.session.catalog.change(lambda directory: directory.put(found.path, fresh), found.path)
        return fresh

    def name(self, path: str, ref: FileRef) -> About:
        """Let a name stand for a file that is kept already."""
        self.session.catalog.change(lambda directory: directory.put(path, ref), path)
        return self.stat(path)

    def _keep(self, upload: Upload, path: str) -> About:
        with self.session.catalog.look() as directory:
            directory.put(path, FileRef())  # a name that cannot be is refused before the rest is kept
        ref = upload.finish(modified_ns=time.time_ns(), media=source.media_of(path))
        self.session.catalog.change(lambda directory: directory.put(path, ref), path)
        return file_about(path, ref)


def about_of(named: Named) -> About:
    """Say what people are told of a line of the directory."""
    if named.file is None:
        return About(name=named.path, folder=True, modified_ns=named.at_ns)
    return file_about(named.path, named.file, conflict=bool(named.conflict))


def _path(name: str) -> str:
    return text_of(clean(name))


def _named(name: str) -> str:
    path = _path(name)
    if not path:
        raise BadRequest("the top folder has no other name, and stays", hint="say a name")
    return path


def _there(directory: Directory, path: str) -> Named:
    found = directory.get(path)
    if found is None:
        raise NotThere(f"{path} is not there", hint="see what is with: wos ls")
    return found


def _teller(progress: Told | None, name: str, total_bytes: int) -> Callable[[int], None]:
    if progress is None:
        return lambda _: None
    return lambda done: progress(Progress(name=name, done_bytes=done, total_bytes=total_bytes))


def _ignore(about: About) -> None:
    del about
