"""Where the tasks of a resident work: each finds a folder as if it were the only one, and none pays for what it does not use.

    FOLDER/data.csv                      what came along, once for all tasks of the stay
    FOLDER/.wos-task/data.csv            where a task runs: links to what came along, and what it makes beside them
    FOLDER/.wos-checkpoint               its ``WOS_CHECKPOINT``
    FOLDER/.wos-made.INDEX.ATTEMPT       what a task has made, until the worker has sent it; .wos-value its value, if large
    FOLDER/.wos-left.INDEX.ATTEMPT       what it has left in its checkpoint, until then
    FOLDER/.wos-from.INDEX.ATTEMPT       the checkpoint that a task goes on from, until its turn

A task that leaves nothing leaves its folder to the next; that of one that does is moved away as a whole, and the next finds
another under the same name. Whether it did the kernel tells (inotify), which costs a microsecond; where it does not, or tells of
a change, a list of what the folder holds. What came along is shared, so it is for reading only.
Invariant: no task sees in these folders what another made. Source: inotify(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import termios
from pathlib import Path
from typing import Final

from worldos.lanes import parcel

TASK: Final = ".wos-task"
CHECKPOINT: Final = ".wos-checkpoint"
_MADE, _VALUE, _LEFT, FROM, _OLD = ".wos-made.", ".wos-value.", ".wos-left.", ".wos-from.", ".wos-old."
_OURS: Final = (TASK, CHECKPOINT, _MADE, _VALUE, _LEFT, FROM, _OLD)
_A_FOLDER: Final = 0  # in the place of an inode: what is in it is named itself
_CACHE: Final = "__pycache__"  # of modules that came along: made here
_READ_ONLY: Final = 0o555
_CHANGES: Final = 0xFC0 | 0x4  # IN_MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF; IN_ATTRIB
_READ_BYTES: Final = 64 * 1024
_NOTHING: Final = bytes(4)
_libc: Final = ctypes.CDLL(None, use_errno=True)

Task = tuple[int, int]  # index, attempt
Held = dict[str, int]  # by name below a folder: the inode


class Workplace:
    """The folders of one resident. ``end`` after each task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._brought = _brought(folder)
        self._signs = _Signs()
        self._work, self._checkpoint = folder / TASK, folder / CHECKPOINT
        for old, path in enumerate((self._work, self._checkpoint)):  # of a resident before this one
            _put_away(path, folder / f"{_OLD}{os.getpid()}.{old}", keep=False)
        self._make()

    def go_on(self, task: Task) -> None:
        """Let the next task find the checkpoint that was put down for it."""
        os.rmdir(self._checkpoint)
        os.rename(from_of(self._folder, task), self._checkpoint)

    def end(self, task: Task) -> tuple[bool, bool]:
        """Put away what a task leaves: return whether it has made files, and left a checkpoint."""
        if self._signs.none:
            os.fchdir(self._at)  # wherever it went
            return False, False
        if self._signs.deaf and self._is_untouched():
            os.chdir(self._work)
            return False, False
        made = _has_more(self._work, self._untouched)
        left = _has_more(self._checkpoint, {})
        _put_away(self._work, made_of(self._folder, task), keep=made)
        _put_away(self._checkpoint, left_of(self._folder, task), keep=left)
        os.close(self._at)
        self._make()
        return made, left

    def _is_untouched(self) -> bool:
        whole = self._work.is_dir() and self._checkpoint.is_dir()
        return whole and _held(self._work) == self._untouched and not _held(self._checkpoint)

    def _make(self) -> None:
        """Make folders, the one with links to all that came along, and be there."""
        for path in (self._work, self._checkpoint):
            os.mkdir(path, 0o700)
        for name, is_folder in self._brought:
            if is_folder:
                os.mkdir(self._work / name, 0o700)
            else:
                os.symlink(self._folder / name, self._work / name)
        self._untouched = _held(self._work)
        self._at = os.open(self._work, parcel.FOLDER)
        os.fchdir(self._at)
        self._signs.watch(
            [self._checkpoint, self._work, *(self._work / name for name, is_folder in self._brought if is_folder)]
        )


class _Signs:
    """What the kernel tells of changes in folders: of files made, moved or removed there, and of the folders themselves."""

    def __init__(self) -> None:
        self._fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watches: list[int] = []
        self._count = bytearray(4)

    def watch(self, folders: list[Path]) -> None:
        """Watch these, and no others."""
        if self.deaf:
            return
        for watch in self._watches:
            _libc.inotify_rm_watch(self._fd, watch)
        self._watches = [int(_libc.inotify_add_watch(self._fd, os.fsencode(each), _CHANGES)) for each in folders]
        with contextlib.suppress(BlockingIOError):  # until nothing is left of what was before
            while os.read(self._fd, _READ_BYTES):
                pass
        if min(self._watches) < 0:  # there are only so many for each user
            os.close(self._fd)
            self._fd = -1

    @property
    def deaf(self) -> bool:
        """Whether the kernel tells nothing."""
        return self._fd < 0

    @property
    def none(self) -> bool:
        """Whether nothing has changed for sure."""
        if self._fd < 0:
            return False
        fcntl.ioctl(self._fd, termios.FIONREAD, self._count)
        return self._count == _NOTHING


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
        parts = name.split(os.sep)
        if parts[0].startswith(_OURS) or _CACHE in parts:
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


def _has_more(folder: Path, untouched: Held) -> bool:
    """Tell whether files are in a folder that were not."""
    return any(inode and untouched.get(name) != inode for name, inode in _held(folder).items())


def _put_away(path: Path, aside: Path, *, keep: bool) -> None:
    """Move a folder, for good if it is not to be kept."""
    if _moved(path, aside) and not keep:
        shutil.rmtree(aside, ignore_errors=True)


def _moved(path: Path, to: Path) -> bool:
    """Move a folder; return whether it was there."""
    try:
        os.rename(path, to)
    except FileNotFoundError:
        return False
    return True
