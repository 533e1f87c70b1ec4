"""A room: three folders for one command, below its worker's own, made for it and gone after it.

It runs in ``work``, ``TMPDIR`` is ``tmp``, and ``WOS_CHECKPOINT`` is ``checkpoint``: what it leaves there when it was asked to
stop goes back to the holder, and is there again when the holder runs it again, anywhere. With rooms a worker runs one command
after another for its holder; they are of one account, and nothing else of one is seen by the next.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, Self

from worldos.errors import BadRequest
from worldos.lanes import wire

NAME_CHARS_MAX: Final = 96
CHECKPOINT_NAME: Final = "WOS_CHECKPOINT"


class Room:
    """The folders of one command."""

    def __init__(self, below: Path, asked: wire.Room) -> None:
        name = asked.name
        if not name or len(name) > NAME_CHARS_MAX or not all(char.isalnum() or char in "-_" for char in name):
            raise BadRequest(f"{name[:NAME_CHARS_MAX]!r} is no name of a room", hint="letters, digits, - and _")
        self._whole = below / name
        self.work = self._whole / "work"
        self.checkpoint = self._whole / "checkpoint"
        self._tmp = self._whole / "tmp"

    def __enter__(self) -> Self:
        """Make them, empty."""
        try:
            os.mkdir(self._whole, 0o700)
        except FileExistsError:  # a command before this one could not be cleared away, or made what is in our way
            shutil.rmtree(self._whole, ignore_errors=True)
            os.mkdir(self._whole, 0o700)
        for folder in (self.work, self.checkpoint, self._tmp):
            os.mkdir(folder, 0o700)
        return self

    def __exit__(self, *_: object) -> None:
        """Clear them away."""
        shutil.rmtree(self._whole, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        """What a command is told of them."""
        return {"TMPDIR": str(self._tmp), CHECKPOINT_NAME: str(self.checkpoint)}
