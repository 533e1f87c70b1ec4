"""``wos://`` for fsspec: pandas, pyarrow, dask and everything else that opens files by URL.

``pd.read_parquet("wos://data/t.parquet")`` reads the parts that it needs; a file that is written appears as a whole when it is
closed. All file systems of a process that use one home share one session. ``storage_options={"home": PATH}`` names another
home than that of the user. Names in results have no ``wos://`` and no slash in front.
Source: https://filesystem-spec.readthedocs.io, ``fsspec.spec.AbstractFileSystem``.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.utils import stringify_path

from worldos.errors import NotAllowed, NotThere
from worldos.files.about import About, Progress
from worldos.files.files import Files
from worldos.home import Home

SECOND_NS = 1_000_000_000
COPY_BYTES = 1 << 20

_sessions: dict[tuple[int, str], Files] = {}
_lock = threading.Lock()


def _session(home: str) -> Files:
    """Return the one session of this process with a home."""
    key = (os.getpid(), home)
    with _lock:
        if key not in _sessions:
            _sessions[key] = Files.open(Home(Path(home).expanduser().absolute()) if home else None)
        return _sessions[key]


@atexit.register
def close_sessions() -> None:
    """End every session of this process: what is still on its way to stores gets there first."""
    with _lock:
        mine = [key for key in _sessions if key[0] == os.getpid()]
        ended = [_sessions.pop(key) for key in mine]
    for files in ended:
        files.close()


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Say a failure in the words of Python's own file functions, where they have one."""
    try:
        yield
    except NotThere as error:
        raise FileNotFoundError(2, str(error), path) from error
    except NotAllowed as error:
        raise PermissionError(13, str(error), path) from error


class WosFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of the account."""

    protocol: ClassVar[str] = "wos"
    root_marker: ClassVar[str] = ""

    def __init__(self, home: str = "", **options: Any) -> None:
        super().__init__(home=home, **options)
        self.home = str(home)

    @property
    def files(self) -> Files:
        """Return the session, opened when it is first needed: in each process anew."""
        return _session(self.home)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(part) for part in path]
        return stringify_path(path).removeprefix("wos://").strip("/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Tell of one file or folder."""
        path = self._strip_protocol(path)
        if not path:
            return _row(About(name="", folder=True))
        with _told(path):
            return _row(self.files.stat(path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder, or tell of one file."""
        path = self._strip_protocol(path)
        own = self.info(path)
        with _told(path):
            rows = [_row(about) for about in self.files.list(path)] if own["type"] == "directory" else [own]
        return rows if detail else sorted(row["name"] for row in rows)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a folder; FileExistsError where something is."""
        path = self._strip_protocol(path)
        if self.exists(path):
            raise FileExistsError(17, "it is there already", path)
        if not create_parents and not self.exists(self._parent(path)):
            raise FileNotFoundError(2, "the folder that it goes into is not there", path)
        with _told(path):
            self.files.make_folder(path, parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and all above it."""
        path = self._strip_protocol(path)
        if self.isdir(path) and exist_ok:
            return
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        path = self._strip_protocol(path)
        if self.ls(path):
            raise OSError(39, "the folder is not empty", path)
        with _told(path):
            self.files.remove(path, recursive=True)

    def rm_file(self, path: str) -> None:
        """Remove one file."""
        path = self._strip_protocol(path)
        with _told(path):
            self.files.remove(path)

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and folders with all that is in them: each in one act. They can be had back for 30 days."""
        for name in [path] if isinstance(path, str | Path) else list(path):
            if recursive and maxdepth is None and not set("*?[") & set(str(name)):
                clean = self._strip_protocol(name)
                with _told(clean):
                    self.files.remove(clean, recursive=True)
            else:
                super().rm(name, recursive=recursive, maxdepth=maxdepth)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Give the contents of one file a second name: nothing is sent. A folder is made, empty."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with _told(source):
            if self.isdir(source):
                self.files.make_folder(target)
            else:
                self._make_room(target)
                self.files.copy(source, target)

    def mv(self, path1: Any, path2: Any, recursive: bool = True, maxdepth: int | None = None, **more: Any) -> None:
        """Give a file or folder another name, in one act."""
        plain = isinstance(path1, str) and isinstance(path2, str) and not set("*?[") & set(path1) and maxdepth is None
        if not plain:
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **more)
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if path2.endswith("/") or self.isdir(target):
            target = f"{target}/{source.rsplit('/', 1)[-1]}".lstrip("/")
        with _told(source):
            self._make_room(target)
            self.files.move(source, target)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Read a file, or the part from ``start`` to before ``end``; what is negative counts from the end."""
        path = self._strip_protocol(path)
        with _told(path):
            if start is None and end is None:
                return self.files.read(path)
            size = self.files.stat(path).size_bytes
            first, last, _step = slice(start, end).indices(size)
            return self.files.read(path, first, max(last - first, 0))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file at once."""
        path = self._strip_protocol(path)
        if mode == "create" and self.exists(path):
            raise FileExistsError(17, "it is there already", path)
        with _told(path):
            self._make_room(path)
            self.files.put(bytes(value), path)

    def get_file(
        self, rpath: str, lpath: Any, callback: Callback = DEFAULT_CALLBACK, outfile: Any = None, **_: Any
    ) -> None:
        """Bring a file to this machine."""
        rpath = self._strip_protocol(rpath)
        with _told(rpath):
            if self.isdir(rpath):
                os.makedirs(lpath, exist_ok=True)
            elif outfile is not None:
                self.files.get(rpath, outfile, progress=_follow(callback))
            else:
                os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
                self.files.get(rpath, Path(lpath), progress=_follow(callback))

    def put_file(
        self, lpath: Any, rpath: str, callback: Callback = DEFAULT_CALLBACK, mode: str = "overwrite", **_: Any
    ) -> None:
        """Send a file of this machine."""
        rpath = self._strip_protocol(rpath)
        if mode == "create" and self.exists(rpath):
            raise FileExistsError(17, "it is there already", rpath)
        with _told(rpath):
            if os.path.isdir(lpath):
                self.files.make_folder(rpath)
            else:
                self._make_room(rpath)
                self.files.put(Path(lpath), rpath, progress=_follow(callback))

    def modified(self, path: str) -> datetime:
        """Return when a file was written."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def created(self, path: str) -> datetime:
        """Return the same: a version is never changed."""
        return self.modified(path)

    def ukey(self, path: str) -> str:
        """Return what tells these contents from all others."""
        return str(self.info(path)["digest"])

    checksum = ukey

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **more: Any,
    ) -> WosFile:
        if mode == "xb" and self.exists(path):
            raise FileExistsError(17, "it is there already", path)
        if self.isdir(path):
            raise IsADirectoryError(21, "it is a folder", path)
        return WosFile(
            self, path, mode, block_size or "default", autocommit=autocommit, cache_options=cache_options, **more
        )

    def _make_room(self, path: str) -> None:
        """Make the folders above a file: those who write by URL take folders for granted."""
        parent = self._parent(path)
        if parent and not self.files.exists(parent):
            self.files.make_folder(parent, parents=True)


class WosFile(AbstractBufferedFile):  # type: ignore[misc]
    """An open file: read by parts as they are asked for, or written from the beginning to the end."""

    _reader: BinaryIO | None = None
    _writer: Any = None

    def _fetch_range(self, start: int, end: int) -> bytes:
        with _told(self.path):
            if self._reader is None:
                self._reader = self.fs.files.reader(self.path)
            self._reader.seek(start)
            parts, missing = [], end - start
            while missing > 0 and (part := self._reader.read(missing)):
                parts.append(part)
                missing -= len(part)
        return b"".join(parts)

    def _initiate_upload(self) -> None:
        with _told(self.path):
            self.fs._make_room(self.path)
            self._writer = self.fs.files.writer(self.path)
            if self.mode == "ab" and self.fs.files.exists(self.path):
                with self.fs.files.reader(self.path) as before:
                    while part := before.read(COPY_BYTES):
                        self._writer.write(part)

    def _upload_chunk(self, final: bool = False) -> bool:
        with _told(self.path):
            self._writer.write(self.buffer.getbuffer())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Let the new contents be there."""
        with _told(self.path):
            self._writer.close()

    def discard(self) -> None:
        """Throw the new contents away."""
        if self._writer is not None:
            self._writer.discard()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """Keep what was written, unless the block failed."""
        if kind is not None and self.mode != "rb":
            self.discard()
            self.closed = True
            return
        super().__exit__(kind, *rest)

    def close(self) -> None:
        """End; what was written is there from now on."""
        super().close()
        if self._reader is not None:
            self._reader.close()


def _row(about: About) -> dict[str, Any]:
    return {
        "name": about.name,
        "size": about.size_bytes,
        "type": "directory" if about.folder else "link" if about.target else "file",
        "mtime": about.modified_ns / SECOND_NS,
        "digest": about.digest.hex(),
    }


def _follow(callback: Callback) -> Any:
    """Tell an fsspec callback how far a file is."""

    def progress(value: Progress) -> None:
        if value.total_bytes >= 0:
            callback.set_size(value.total_bytes)
        callback.absolute_update(value.done_bytes)

    return progress
