"""What a lane host that was killed left behind: found by the lock that nobody holds any more, and removed at the next start."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

from worldos.lanes import sweep
from worldos.lanes.cage_roots import clear_leftovers

PATH_BYTES_MAX: Final = 30  # of 107 for the path of a door
RUN_PREFIX: Final = "wos-lanes-"


def temporary() -> Path:
    """Return where run folders are: a Unix socket's path is short, so not below a deep TMPDIR."""
    usual = Path(tempfile.gettempdir())
    return usual if len(bytes(usual)) <= PATH_BYTES_MAX else Path("/tmp")  # noqa: S108 - a folder of our own, 0700


def run_folder(name: str) -> tuple[Path, int]:
    """Make a folder that a next start removes when we are gone; return it, and the descriptor that holds its lock."""
    folder = Path(tempfile.mkdtemp(prefix=f"{RUN_PREFIX}{os.getuid()}-{name}-", dir=temporary()))
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def clear() -> None:
    """Remove cages and run folders of hosts of this user that live no more."""
    clear_leftovers()
    for folder in temporary().glob(f"{RUN_PREFIX}{os.getuid()}-*"):
        try:
            fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its host is about to make the lock, or its nursery about to remove the folder
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        sweep.end_named(folder)
        sweep.remove(folder)
        os.close(fd)
