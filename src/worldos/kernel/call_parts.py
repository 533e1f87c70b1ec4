"""A call without a result and a worker that has some, as ``calls`` knows them."""

from __future__ import annotations

from typing import Final

from worldos.model.ids import NodeId

AHEAD_NS: Final = 2_000_000
WINDOW_MAX: Final = 512


class CallEntry:
    """A call without a result. ``at``: the workers that have it. ``sent_us``: when it went to a far one that had nothing else."""

    __slots__ = (
        "at",
        "attempts",
        "digest",
        "greedy",
        "heavy",
        "queued",
        "repeatable",
        "retries",
        "sent_us",
        "size_bytes",
        "suspect",
    )

    def __init__(self, retries: int, digest: str, size_bytes: int, *, heavy: bool) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self.retries = retries
        self.repeatable = retries > 0
        self.heavy = heavy
        self.suspect = False
        self.greedy = False  # it was stopped for memory: it runs with nothing beside it in its lease
        self.queued = False
        self.sent_us = 0
        self.attempts = 0
        self.at: list[int] = []


class WorkerEntry:
    """A worker and what it has: ``out`` in order of sending, ``revoking`` those asked back."""

    __slots__ = (
        "closed",
        "doubted",
        "far",
        "id",
        "lease",
        "memory_bytes",
        "node",
        "out",
        "revoking",
        "service_ns",
        "silent_ticks",
        "solo",
        "window",
    )

    def __init__(self, number: int, node: NodeId, *, far: bool, lease: str = "", memory_bytes: int = 0) -> None:
        self.id = number
        self.node = node
        self.far = far
        self.lease = lease
        self.memory_bytes = memory_bytes if lease else 0  # of all of the lease
        self.out: dict[int, None] = {}
        self.window = 1
        self.service_ns = 0
        self.doubted = False
        self.closed = False
        self.solo = False
        self.silent_ticks = 0
        self.revoking: set[int] = set()

    def learn(self, calls: int, busy_ns: int) -> None:
        """Fit the window to the measured time of a call: quickly down, slowly up."""
        sample = busy_ns // calls
        self.service_ns = sample if sample > self.service_ns else (3 * self.service_ns + sample) // 4
        self.window = min(WINDOW_MAX, max(1, AHEAD_NS // (self.service_ns + 1)))
