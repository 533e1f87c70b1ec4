"""Errors that are ours and Python's own at once: what is written for ``concurrent.futures`` catches what it always caught."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError

from worldos.errors import BadRequest


class Unsendable(BadRequest, PicklingError):
    """A function, an argument or a result cannot be sent to another process."""


class InitializerFailed(BadRequest, BrokenExecutor):
    """The function that each worker runs first failed: no call will ever run."""


class BadChunk(BadRequest, ValueError):
    """A chunk has at least one item."""
