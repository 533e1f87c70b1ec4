"""Windows: what one principal asked within ten seconds, as four figures on a logarithmic scale.

Rate: how many requests. Fan-out: how many different things they were for; one that was not asked for before weighs as much as
eight. Denials: how many were refused. Level: their weight, in which one of a class is as much as eight of the class below, so
that a single unusual lock weighs more than many usual reads. Things are known by a mark, a short hash.
"""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Container
from typing import TypeAlias

import msgspec

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.limits import CLASS_WEIGHT, STRANGE_WEIGHT, TARGETS_PER_WINDOW_MAX
from worldos.kernel.behaviour.millibits import millibits
from worldos.model.rights import Impact

Figures: TypeAlias = tuple[int, int, int, int]
"""Rate, fan-out, denials and level in millibits."""


class Feature(enum.IntEnum):
    """Which figure; the value is its place."""

    RATE = 0
    FAN_OUT = 1
    DENIALS = 2
    LEVEL = 3


@functools.lru_cache(maxsize=4096)
def mark_of(target: str) -> int:
    """Return the 48-bit mark of what was asked for."""
    return int.from_bytes(hashlib.blake2b(target.encode("utf-8", "replace"), digest_size=6).digest(), "big")


class Window(msgspec.Struct, kw_only=True):
    """What was asked since ``start_ns``. ``cls`` is the highest class in it."""

    start_ns: int
    requests: int = 0
    denials: int = 0
    weight: int = 0
    cls: int = 0
    known: dict[int, None] = {}
    strange: dict[int, None] = {}

    def add(self, asked: Asked, known: Container[int]) -> None:
        """Count one request; ``known`` are the marks of what this principal asked for before."""
        cls = min(max(asked.cls, 0), int(Impact.IRREVERSIBLE))
        self.requests += 1
        self.denials += not asked.is_allowed
        self.weight += CLASS_WEIGHT**cls
        self.cls = max(self.cls, cls)
        mark = mark_of(asked.target)
        targets = self.known if mark in known else self.strange
        if len(targets) < TARGETS_PER_WINDOW_MAX:
            targets[mark] = None

    def figures(self) -> Figures:
        """Return the four figures of what is in it so far; each only grows while the window does."""
        return (
            millibits(1 + self.requests),
            millibits(1 + len(self.known) + STRANGE_WEIGHT * len(self.strange)),
            millibits(1 + self.denials),
            millibits(1 + self.weight),
        )
