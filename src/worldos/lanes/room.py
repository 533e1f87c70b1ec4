"""A room: three folders below a worker's own, for one command after another; each finds them empty.

It runs in ``work``, ``TMPDIR`` is ``tmp``, and ``WOS_CHECKPOINT`` is ``checkpoint``: what it leaves there when it was asked to
stop goes back to the holder, and is there again when the holder runs it again, anywhere. The folders stay from one command to
the next, for to remove one takes longer than a small command; where something in them cannot be removed, others are made. So a
worker runs many commands for its holder; they are of one account, and nothing else of one is seen by the next.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Final

CHECKPOINT_NAME: Final = "WOS_CHECKPOINT"
_PARTS: Final = ("work", "checkpoint", "tmp")


class Room:
    """The folders. ``clear`` them between two commands."""

    def __init__(self, below: Path) -> None:
        self._below = below
        self._numbers = itertools.count(1)
        self._make()

    @property
    def env(self) -> dict[str, str]:
        """What a command is told of them."""
        return {"TMPDIR": str(self.tmp), CHECKPOINT_NAME: str(self.checkpoint)}

    def clear(self) -> None:
        """Empty them; make others if that cannot be done."""
        try:
            whole = all(_emptied(folder) for folder in (self.work, self.checkpoint, self.tmp))
        except OSError:
            whole = False
        if not whole:
            self._make()

    def _make(self) -> None:
        while True:
            whole = self._below / f"room{next(self._numbers)}"
            try:
                os.mkdir(whole, 0o700)
            except FileExistsError:
                continue
            break
        self.work, self.checkpoint, self.tmp = (whole / part for part in _PARTS)
        for folder in (self.work, self.checkpoint, self.tmp):
            os.mkdir(folder, 0o700)


def _emptied(folder: Path) -> bool:
    """Remove all that is in a folder; return whether it is an empty folder of ours now."""
    if folder.is_symlink():
        return False
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
    return not os.listdir(folder) and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
