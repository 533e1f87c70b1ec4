"""Folders that strangers have filled: how much is in them, and how they go away, however deep they are and whatever is in them.

A file without a name is in no folder and takes room all the same, for as long as somebody has it open: ``held`` finds these.
Nothing here follows a link or leaves the file system, and a tree that is deeper or fuller than any honest one is not walked to
its end. Bytes as they lie on the disk.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from worldos.lanes.limits import HELD_MAX, SANDBOX_DEPTH_MAX, SANDBOX_FILES_MAX

REMOVE_SECONDS = 60.0


class Measure(NamedTuple):
    """What is in a folder. ``is_endless``: there is more of it than was counted."""

    size_bytes: int
    files: int
    is_endless: bool


def measure(folder: Path, *, files_max: int = SANDBOX_FILES_MAX, depth_max: int = SANDBOX_DEPTH_MAX) -> Measure:
    """Count what is below a folder, which may be changing meanwhile. What cannot be looked into has no end, for all we know."""
    size = files = 0
    pending = [(os.fspath(folder), 0)]
    while pending:
        place, depth = pending.pop()
        if depth > depth_max or files > files_max:
            return Measure(size, files, is_endless=True)
        try:
            with os.scandir(place) as entries:
                for entry in itertools.islice(entries, files_max + 1):
                    files += 1
                    with contextlib.suppress(FileNotFoundError):
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            pending.append((entry.path, depth + 1))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return Measure(size, files, is_endless=True)
    return Measure(size, files, is_endless=files > files_max)


def held(pids: Iterable[int], device: int) -> Measure:
    """Count what processes hold open or mapped of files that have no name any more, on one device: room that no folder shows.

    What is on its way through a socket is not seen.
    """
    found: dict[int, int] = {}
    looked = 0
    for pid in pids:
        links = [f"/proc/{pid}/fd/{name}" for name in _names(f"/proc/{pid}/fd")]
        links += _nameless_maps(pid)
        looked += len(links)
        if looked > HELD_MAX:
            return Measure(sum(found.values()), len(found), is_endless=True)
        for link in links:
            with contextlib.suppress(OSError):
                status = os.stat(link)
                if status.st_dev == device and not status.st_nlink:
                    found[status.st_ino] = status.st_blocks * 512
    return Measure(sum(found.values()), len(found), is_endless=False)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _nameless_maps(pid: int) -> list[str]:
    """Return where a process's mapped files without a name are found."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
    except OSError:
        return []
    spans = (line.split(maxsplit=1)[0].decode() for line in lines if line.endswith(b" (deleted)"))
    return [f"/proc/{pid}/map_files/{span}" for span in spans]


def end_named(folder: Path) -> None:
    """Kill what was started over a folder and has lost its parent before it could notice: bubblewrap in its first moments."""
    name = os.fsencode(folder) + b"/"
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
        with contextlib.suppress(OSError):
            if pid != os.getpid() and name in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def remove(folder: Path) -> None:
    """Remove a folder. Nothing may run in it any more."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # deeper than Python goes, or shut
        for command in (["/bin/chmod", "-R", "u+rwX"], ["/bin/rm", "-rf", "--one-file-system"]):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                words = [*command, "--", os.fspath(folder)]
                subprocess.run(words, check=False, timeout=REMOVE_SECONDS, capture_output=True)  # noqa: S603
