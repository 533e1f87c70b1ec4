"""The functions that every peer is asked to run. They import nothing heavy: a worker's start is part of the answer."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def nothing(_item: Any = None) -> None:
    """Do nothing: what is left is the cost of the call."""


def same(value: Any) -> Any:
    """Return what came."""
    return value


def attempt(notes: str) -> int:
    """Note who runs this and when, and hang if it is the first attempt; return the number of the attempt."""
    path = Path(notes)
    with path.open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()} {time.monotonic_ns()}\n")
    tries = len(path.read_text(encoding="ascii").splitlines())
    if tries == 1:
        time.sleep(600)
    return tries
