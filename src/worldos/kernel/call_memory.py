"""The memory of a lane's leases, and which calls it holds side by side.

All workers of a lease share its memory. A worker counts with the most that any of its calls is known to take (it runs one at a
time), and may take another one while that and what the others count with stay within the lease. What is not known counts as
nothing: it is learned from the first calls, or from the first that was stopped (``Profiles.exceeded``). A call that no lease
would hold gets the largest one for itself: what was learned may be wrong, and the kernel says for certain.

A lease in which calls were passed over again and again for others takes none but those until they fit.
Invariant: of calls whose need is known, never more run in a lease than its memory holds. Units: bytes; 0: unlimited, not known.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from worldos.kernel.profile import Profiles

PASSED_MAX: Final = 64


class Lot:
    """The memory of one lease: by worker, how many calls of each function it has."""

    __slots__ = ("calls", "memory_bytes")

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.calls: dict[int, Counter[str]] = {}


class CallMemory:
    """The lots of one lane."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles
        self._lots: dict[str, Lot] = {}
        self._of: dict[int, tuple[str, Lot]] = {}
        self._unlimited: set[int] = set()
        self._passed: Counter[str] = Counter()
        self.blocked = False  # a worker was not given a call for want of memory, since somebody looked

    def join(self, worker: int, lease: str, memory_bytes: int) -> None:
        """Count a worker in. Those of a lease without a limit, or without a name, take what there is."""
        if not (lease and memory_bytes):
            self._unlimited.add(worker)
            return
        lot = self._lots.setdefault(lease, Lot(memory_bytes))
        lot.calls.setdefault(worker, Counter())
        self._of[worker] = lease, lot

    def leave(self, worker: int) -> None:
        """Count a worker out, with its calls."""
        self._unlimited.discard(worker)
        lease, lot = self._of.pop(worker, ("", None))
        if lot is not None:
            del lot.calls[worker]
            if not lot.calls:
                del self._lots[lease]

    def sent(self, worker: int, digest: str) -> None:
        """A worker has a call of this function."""
        _, lot = self._of.get(worker, _NO_LOT)
        if lot is not None:
            lot.calls[worker][digest] += 1

    def back(self, worker: int, digest: str) -> None:
        """It has it no more."""
        _, lot = self._of.get(worker, _NO_LOT)
        if lot is not None:
            lot.calls[worker][digest] -= 1
            if lot.calls[worker][digest] <= 0:
                del lot.calls[worker][digest]

    def could_hold(self, worker: int, digest: str) -> bool:
        """Tell whether a worker's lease is one in which calls of this function run at all."""
        _, lot = self._of.get(worker, _NO_LOT)
        if lot is None or self._profiles.memory_bytes(digest) <= lot.memory_bytes:
            return True
        return not self._unlimited and lot.memory_bytes >= max(each.memory_bytes for each in self._lots.values())

    def abreast(self, worker: int, digest: str, workers: int) -> int:
        """Return how many of so many workers can run this function side by side, in leases like this worker's."""
        _, lot = self._of.get(worker, _NO_LOT)
        need_bytes = self._profiles.memory_bytes(digest)
        if lot is None or not need_bytes:
            return workers
        return max(1, min(workers, workers * lot.memory_bytes // (need_bytes * max(1, len(lot.calls)))))

    def holds(self, worker: int, digest: str) -> bool:
        """Tell whether a worker may be given a call of this function now."""
        _, lot = self._of.get(worker, _NO_LOT)
        need_bytes = self._profiles.memory_bytes(digest)
        if lot is None or not need_bytes:
            return True
        others_bytes = sum(self._taken(calls) for other, calls in lot.calls.items() if other != worker)
        if need_bytes + others_bytes <= lot.memory_bytes or (not others_bytes and self.could_hold(worker, digest)):
            self._passed.pop(digest, None)
            return True
        self.blocked = True
        runs_here = any(calls[digest] for calls in lot.calls.values())
        if not runs_here and self.could_hold(worker, digest):
            self._passed[digest] += 1
        return False

    def is_owed(self, digest: str) -> bool:
        """Tell whether calls of this function, none of which ran, were passed over so often that no others may begin first."""
        return self._passed[digest] >= PASSED_MAX

    def _taken(self, calls: Counter[str]) -> int:
        return max(map(self._profiles.memory_bytes, calls), default=0)


_NO_LOT: Final[tuple[str, Lot | None]] = ("", None)
