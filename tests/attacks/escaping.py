"""What tries to get out of a sandbox, and what shows that the attempt itself is good: a lane into one, and a lane without."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import cloudpickle
import pytest
from tests.lanes.harness import Here

from worldos.lanes import sandbox
from worldos.lanes.client import Lane
from worldos.model.isolation import Isolation

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # what runs inside cannot see this file

NEEDS_A_SANDBOX = [
    pytest.mark.skipif(not sandbox.bubblewrap(), reason="bubblewrap is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls here are those of x86_64"),
]
APART: dict[str, Any] = {"is_apart": True, "isolation": Isolation.SANDBOX}
IS_ROOT = os.geteuid() == 0


class Lanes(NamedTuple):
    """A lane into a sandbox, and one without."""

    host: Here
    inside: Lane
    outside: Lane


def tried(lane: Lane, attempt: Callable[..., Any], *args: Any) -> Any:
    """Make an attempt; return what it got, or nothing where it was refused."""
    try:
        return lane.submit_call(attempt, args, {}, retries=0).result(60)
    except OSError:
        return None


def read(path: str) -> str:
    """Read the beginning of a file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(100)
