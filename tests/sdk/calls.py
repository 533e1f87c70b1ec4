"""Functions that workers load by name: this module is light, so that they do not load the tests' own needs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

BOUND_S = 90.0


def square(number: int) -> int:
    return number * number


def fail(word: object) -> int:
    raise ValueError(word)


def slow(number: int) -> int:
    time.sleep(600)
    return number


def wait_for(path: str) -> str:
    """Wait until there is a file."""
    end = time.monotonic() + BOUND_S
    while not os.path.exists(path):
        assert time.monotonic() < end
        time.sleep(0.005)
    return path


def die_once(marker: str) -> int:
    """Kill the worker at the first run; at the second there is the marker."""
    if not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def remember(value: int) -> None:
    os.environ["REMEMBERED"] = str(value)


def recall(_number: int = 0) -> str:
    return os.environ["REMEMBERED"]
