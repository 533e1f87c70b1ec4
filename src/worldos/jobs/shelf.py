"""What jobs keep in the realm's files: parcels, results, whole logs, checkpoints, all under ``.jobs/JOB``.

The session with the files is opened by the first that needs it: most tasks are small and never do. What a job brings along is
fetched once for all its tasks on this node. Where the realm keeps no files, that is said with what to do about it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worldos.errors import NotThere, WorldError
from worldos.home import Home
from worldos.model.work import JobSpec

if TYPE_CHECKING:
    from worldos.files.files import Files

FOLDER: Final = ".jobs"
READ_BYTES: Final = 256 * 1024


def parcel_path(job: str) -> str:
    """Return where in the realm's files the parcel of a job lies, if it is too large for the line."""
    return f"/{FOLDER}/{job}/parcel"


class Shelf:
    """The files of jobs, as one program has them. Safe to use from many threads."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._files: Files | None = None
        self._opening = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}

    def put(self, what: Path | bytes, name: str) -> None:
        """Keep a file of this machine, or bytes, under a name."""
        self._open().put(what, name)

    def get(self, name: str, target: Path) -> None:
        """Bring a file here."""
        self._open().get(name, target)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        with self._open().reader(name) as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def remove(self, name: str) -> None:
        """Drop a file or a folder; it is no matter if it is not there, or cannot be dropped now."""
        with suppress(WorldError):
            self._open().remove(name, recursive=True)

    def jobs(self) -> dict[str, int]:
        """Return the jobs of which something is kept, and since when (ns since 1970)."""
        try:
            return {about.name.rpartition("/")[2]: about.modified_ns for about in self._open().list(FOLDER)}
        except NotThere:
            return {}

    def sweep(self, is_known: Callable[[str], bool], before_ns: int) -> list[str]:
        """Drop what was kept before that moment for jobs that nobody knows any more; return which."""
        old = [job for job, since_ns in sorted(self.jobs().items()) if since_ns < before_ns and not is_known(job)]
        for job in old:
            self.remove(f"/{FOLDER}/{job}")
        return old

    def parcel(self, job: str, spec: JobSpec) -> Iterator[bytes] | None:
        """Yield what a job brings along, compressed; None if nothing."""
        if spec.parcel:
            return iter((spec.parcel,))
        if not spec.parcel_file:
            return None
        with self._opening:
            turn = self._fetching.setdefault(job, threading.Lock())
        target = self._folder / f"{job}.parcel"
        with turn:
            if not target.exists():
                fresh = target.with_suffix(".new")
                self.get(spec.parcel_file, fresh)
                fresh.rename(target)
        return _read(target)

    def forget(self, job: str) -> None:
        """Drop what was fetched for a job: no task of it is here any more."""
        with self._opening:
            self._fetching.pop(job, None)
        (self._folder / f"{job}.parcel").unlink(missing_ok=True)

    def close(self) -> None:
        """Let what is on its way arrive."""
        with self._opening:
            files, self._files = self._files, None
        if files is not None:
            files.close()

    def _open(self) -> Files:
        from worldos.files.files import Files  # noqa: PLC0415 - most tasks never need them

        with self._opening:
            if self._files is None:
                self._files = Files.open(self._home)
            return self._files


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
