"""Dumps of a database in the account's files: fetched when it begins, kept again and again while it runs, and at its end.

A dump is one file under ``databases/``; each keeping is a new version of it, so older ones can be had by ``wos history``.
What another program kept under the same name since we read it is never overwritten: ours goes beside it. What was written
since the last one is in the archive of the database (archive.py), where it has one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from worldos.engines.limits import DUMP_BYTES_MAX
from worldos.errors import BadRequest, NotThere, WorldError
from worldos.files.about import About
from worldos.files.files import Files

Pieces = Callable[[], Iterator[bytes]]
"""Makes a dump now, and yields it."""

FOLDER = "databases"


class Dumps:
    """The dumps of one database. ``rescue`` is the folder for one that the files do not take."""

    def __init__(self, name: str, rescue: Path) -> None:
        self.path = f"{FOLDER}/{name}.dump"
        self.kept = 0
        self.failed = ""
        self._rescue = rescue
        self._digest = b""
        self.files = Files.open()
        self._keeping = threading.Lock()
        self._end = threading.Event()
        self._beat: threading.Thread | None = None

    def look(self) -> About | None:
        """See what was kept last: the next one takes its place; None where there is none."""
        self.files.refresh()
        try:
            about = self.files.stat(self.path)
        except NotThere:
            return None
        self._digest = about.digest
        return about

    def last(self) -> BinaryIO | None:
        """Return the dump that was kept last, to read; None where there is none."""
        about = self.look()
        if about is None:
            return None
        if about.size_bytes > DUMP_BYTES_MAX:
            raise BadRequest(f"{self.path} has {about.size_bytes} bytes, at most {DUMP_BYTES_MAX} can be restored")
        return self.files.reader(self.path)

    def keep(self, pieces: Pieces) -> str:
        """Make a dump and keep it; return under which name."""
        with self._keeping:
            path = self._free_path()
            with self.files.writer(path) as writer:
                for piece in pieces():
                    writer.write(piece)
            self._digest = self.files.stat(path).digest
            self.path = path
            self.kept += 1
            return path

    def keep_or_rescue(self, pieces: Pieces) -> None:
        """Keep the last dump; where the files do not take it, put it into a folder here and raise why."""
        self.stop()
        try:
            self.keep(pieces)
        except WorldError as error:
            self._rescue.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._rescue / f"{Path(self.path).stem}-{time.strftime('%Y%m%d-%H%M%S')}.dump"
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                for piece in pieces():
                    opened.write(piece)
            hint = f"put it there yourself: wos put {file} {self.path}"
            raise type(error)(
                f"the database could not be kept in the files ({error}); it is in {file}", hint=hint
            ) from error

    def keep_every(self, every_s: float, pieces: Pieces) -> None:
        """Keep a dump each ``every_s`` seconds from now on."""
        self._beat = threading.Thread(target=self._beats, args=(every_s, pieces), name="keeps-dumps", daemon=True)
        self._beat.start()

    def stop(self) -> None:
        """Keep no more by itself."""
        self._end.set()
        if self._beat is not None:
            self._beat.join()

    def close(self) -> None:
        """Let go of the files."""
        self.stop()
        self.files.close()

    def _beats(self, every_s: float, pieces: Pieces) -> None:
        while not self._end.wait(every_s):
            try:
                self.keep(pieces)
            except WorldError as error:  # the next one may go; the last one is raised
                self.failed = str(error)

    def _free_path(self) -> str:
        """Return our path, or one beside it where another has kept something there since."""
        try:
            changed = self.files.stat(self.path).digest != self._digest
        except NotThere:
            changed = False
        return f"{self.path.removesuffix('.dump')}-{time.time_ns()}.dump" if changed else self.path
