"""Where the tasks of a resident work: each finds a folder as if it were the only one, and none pays for what it does not use.

    FOLDER/data.csv                      what came along, once for all tasks of the stay
    FOLDER/.wos-task/data.csv            where a task runs: links to what came along, and what it makes beside them
    FOLDER/.wos-checkpoint               its ``WOS_CHECKPOINT``
    FOLDER/.wos-made.INDEX.ATTEMPT       what a task has made, until the worker has sent it; .wos-value its value, if large
    FOLDER/.wos-left.INDEX.ATTEMPT       what it has left in its checkpoint, until then
    FOLDER/.wos-from.INDEX.ATTEMPT       the checkpoint that a task goes on from, until its turn

A task that leaves nothing leaves its folder to the next; that of one that does is moved away as a whole, and the next finds
another under the same name. Whether it did is told by when a folder was changed last, and where that says so, or cannot say as
the folder is too new, by a list of what it holds. What came along is shared, so it is for reading only.
Invariant: no task sees in these folders what another made. Source: stat(2), the st_mtime of folders; clock_gettime(2),
CLOCK_REALTIME_COARSE, from which file systems take their times.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

from worldos.lanes import parcel

TASK: Final = ".wos-task"
CHECKPOINT: Final = ".wos-checkpoint"
_MADE, _VALUE, _LEFT, FROM, _OLD = ".wos-made.", ".wos-value.", ".wos-left.", ".wos-from.", ".wos-old."
_OURS: Final = (TASK, CHECKPOINT, _MADE, _VALUE, _LEFT, FROM, _OLD)
_A_FOLDER: Final = 0  # in the place of an inode: what is in it is named itself
_READ_ONLY: Final = 0o555
_COARSE: Final = 5  # CLOCK_REALTIME_COARSE, which Python has no name for

Task = tuple[int, int]  # index, attempt
Held = dict[str, int]  # by name below a folder: the inode


class Workplace:
    """The folders of one resident. ``begin`` before each task, ``end`` after it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._brought = _brought(folder)
        self._work = _Watched(folder / TASK)
        self._checkpoint = _Watched(folder / CHECKPOINT)
        self._since_ns = 0
        for old, path in enumerate((self._work.path, self._checkpoint.path)):  # of a resident before this one
            if _moved(path, aside := folder / f"{_OLD}{os.getpid()}.{old}"):
                shutil.rmtree(aside, ignore_errors=True)
        self._make()
        self._make_checkpoint()

    def begin(self, task: Task, *, goes_on: bool) -> None:
        """Let a task find its folders; it may go on from a checkpoint that was put down for it."""
        if goes_on:
            os.rmdir(self._checkpoint.path)
            os.rename(from_of(self._folder, task), self._checkpoint.path)
            self._checkpoint.doubt()
        self._since_ns = time.clock_gettime_ns(_COARSE)

    def end(self, task: Task) -> tuple[bool, bool]:
        """Put away what a task leaves: return whether it has made files, and left a checkpoint."""
        made = left = False
        if self._work.is_changed(self._since_ns):
            made = self._work.has_more
            self._put_away(self._work.path, made_of(self._folder, task), keep=made)
            self._make()
        else:
            os.chdir(self._work.path)  # wherever it went
        if self._checkpoint.is_changed(self._since_ns):
            left = self._checkpoint.has_more
            self._put_away(self._checkpoint.path, left_of(self._folder, task), keep=left)
            self._make_checkpoint()
        return made, left

    @staticmethod
    def _put_away(path: Path, aside: Path, *, keep: bool) -> None:
        if _moved(path, aside) and not keep:
            shutil.rmtree(aside, ignore_errors=True)

    def _make(self) -> None:
        """Make a folder with links to all that came along, and be there."""
        os.mkdir(self._work.path, 0o700)
        for name, is_folder in self._brought:
            if is_folder:
                os.mkdir(self._work.path / name, 0o700)
            else:
                os.symlink(self._folder / name, self._work.path / name)
        self._work.note()
        os.chdir(self._work.path)

    def _make_checkpoint(self) -> None:
        os.mkdir(self._checkpoint.path, 0o700)
        self._checkpoint.note()


class _Watched:
    """A folder, and what it held when no task had been there. ``has_more``: a change that ``is_changed`` saw made files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_more = False
        self._untouched: Held = {}
        self._times_ns: list[tuple[str, int]] = []

    def note(self) -> None:
        """It is untouched now."""
        self._untouched = _held(self.path)
        self._note_times()

    def doubt(self) -> None:
        """It may be another by now."""
        self._times_ns = []

    def is_changed(self, since_ns: int) -> bool:
        """Tell whether anything in it was made, moved or removed from a time on, at which it was untouched.

        A change gets the clock's time, so one since then shows if all times noted are before. Not seen: what was written into
        files that were there.
        """
        if self._times_ns and all(
            known_ns < since_ns and _changed_ns(path) == known_ns for path, known_ns in self._times_ns
        ):
            return False
        now = _held(self.path)
        if now == self._untouched and _changed_ns(self.path):
            self._note_times()
            return False
        self.has_more = any(inode and self._untouched.get(name) != inode for name, inode in now.items())
        return True

    def _note_times(self) -> None:
        folders = [name for name, inode in self._untouched.items() if inode == _A_FOLDER]
        self._times_ns = [
            (path, _changed_ns(path)) for path in (str(self.path), *(f"{self.path}/{each}" for each in folders))
        ]


# -- the worker's end --------------------------------------------------------------------------------------------------------


def made_of(folder: Path, task: Task) -> Path:
    """Return where lies what a task has made."""
    return _of(folder, _MADE, task)


def value_of(folder: Path, task: Task) -> Path:
    """Return where lies the value of a task, if it is large."""
    return _of(folder, _VALUE, task)


def left_of(folder: Path, task: Task) -> Path:
    """Return where lies what a task has left in its checkpoint."""
    return _of(folder, _LEFT, task)


def from_of(folder: Path, task: Task) -> Path:
    """Return where the checkpoint lies that a task goes on from."""
    return _of(folder, FROM, task)


def abandon(folder: Path, task: Task) -> None:
    """Put away what a task leaves with which its resident has ended."""
    _moved(folder / TASK, made_of(folder, task))
    if not _moved(from_of(folder, task), left_of(folder, task)):  # it was not even begun
        _moved(folder / CHECKPOINT, left_of(folder, task))


def files(path: Path, folder: Path) -> list[tuple[str, Path]]:
    """Return the files of what was put away, by name, without the links to what came along."""
    brought = f"{folder}{os.sep}"
    return [
        (name, each)
        for name, each in parcel.changed(path, {})
        if not (each.is_symlink() and os.readlink(each) == brought + name)
    ]


def _of(folder: Path, what: str, task: Task) -> Path:
    index, attempt = task
    return folder / f"{what}{index}.{attempt}"


# -- folders -----------------------------------------------------------------------------------------------------------------


def _brought(folder: Path) -> list[tuple[str, bool]]:
    """Return what came along, by name, folders before what is in them; nothing of it may be written to from now on."""
    found: list[tuple[str, bool]] = []
    for name, inode in sorted(_held(folder).items()):
        if name.split(os.sep, 1)[0].startswith(_OURS):
            continue
        found.append((name, inode == _A_FOLDER))
        path = folder / name
        if inode != _A_FOLDER and not path.is_symlink():
            path.chmod(path.stat().st_mode & _READ_ONLY)
    return found


def _held(folder: Path) -> Held:
    """Return what is in a folder and below; of what cannot be read nothing."""
    found: Held = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    found[name] = _A_FOLDER
                    waiting.append(f"{name}{os.sep}")
                else:
                    found[name] = entry.inode()
    return found


def _moved(path: Path, to: Path) -> bool:
    """Move a folder; return whether it was there."""
    try:
        os.rename(path, to)
    except FileNotFoundError:
        return False
    return True


def _changed_ns(path: str | Path) -> int:
    """Return when a folder was changed last; 0 if there is none."""
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0
