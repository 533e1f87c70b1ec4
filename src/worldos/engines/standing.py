"""How the archives of databases stand that programs of this home use now: a small file each, for ``wos engines``.

A file is written when something changes, and locked while its program lives, so one that nobody locks is of a program that is
gone. Times are those of the wall clock, in s: for people.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final

import msgspec

from worldos.home import Home

FOLDER: Final = "standing"
BYTES_MAX: Final = 4096
WHY_CHARS: Final = 500


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One archive: ``waiting_bytes`` of the log are not kept, since ``whole_at_s``; ``why`` they cannot be now."""

    database: str
    waiting_bytes: int = 0
    whole_at_s: float = 0.0
    why: str = ""


class StandingFile:
    """What this program says of one archive of its own."""

    def __init__(self, home: Home, database: str) -> None:
        folder = home.path / "engines" / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{database}-{os.getpid()}"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        self._said = b""

    def say(self, standing: Standing) -> None:
        """Write it down, where it is news."""
        said = msgspec.json.encode(msgspec.structs.replace(standing, why=standing.why[:WHY_CHARS]))
        if said != self._said:
            os.pwrite(self._fd, said.ljust(BYTES_MAX), 0)
            self._said = said

    def close(self) -> None:
        """It is used no more."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def standings(home: Home) -> list[Standing]:
    """Return how the archives stand of what is used now, by name."""
    found = []
    for file in sorted((home.path / "engines" / FOLDER).glob("*")):
        with contextlib.suppress(OSError, msgspec.DecodeError), file.open("rb") as opened:
            if _is_held(opened.fileno()):
                found.append(_read(opened.read(BYTES_MAX)))
            else:
                file.unlink(missing_ok=True)
    return found


_read = msgspec.json.Decoder(Standing).decode


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
