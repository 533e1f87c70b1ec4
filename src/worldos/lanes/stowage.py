"""Where the large arguments of a lane are until their calls are done: in shared segments, or beside them.

An argument is stowed once, at submit, as it is then; all attempts of its call refer to that. A segment has uses: its call
until it is done, each worker that has it, each result that lies in it. With the last use it is free for the next argument.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from worldos.errors import BadRequest, PeerBroke
from worldos.lanes import shm
from worldos.lanes.future import Part
from worldos.lanes.link import Link

COPY_BYTES_MAX: Final = 64 * 1024 * 1024
MEMORY_ASK_BYTES: Final = 256 * 1024 * 1024


def memory_free_bytes() -> int:
    """Return how much memory this machine has left, or more than any argument if it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62


def check_size(total: int, bounds: list[int]) -> None:
    """Refuse arguments that cannot be: more than all workers that get them as bytes may hold, or than this machine has.

    ``bounds``: the memory of those workers, 0 for no bound.
    """
    if bounds and all(0 < bound < total for bound in bounds):
        raise BadRequest(
            f"the arguments are {total / 1e9:.3g} GB, more than the {max(bounds) / 1e9:.3g} GB of memory leased",
            hint='lease more with memory="...", or pass them in pieces or as files',
        )
    if total >= MEMORY_ASK_BYTES and total > (free := memory_free_bytes()):
        raise BadRequest(
            f"the arguments are {total / 1e9:.3g} GB, and this machine has {free / 1e9:.3g} GB of memory free",
            hint="pass them in pieces, or as files",
        )


class Stowage:
    """The segments of a lane. ``lock``: the lane's; copying is done outside it."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._pool = shm.Pool()
        self._unseen: list[int] = []

    def stow(self, views: list[memoryview], far: list[int], *, share: bool) -> list[Part]:
        """Take arguments in. What is too large to copy and is not shared stays where it is.

        ``far``: the memory of the workers that would get them as bytes. Raises BadRequest if they are too large.
        """
        total = sum(view.nbytes for view in views)
        check_size(total, far)
        parts: list[Part] = []
        for view in views:
            segment = None
            if share and view.nbytes >= shm.SHARE_BYTES:
                with self._lock:
                    segment = self._pool.take(view.nbytes)
            if segment is not None:
                segment.write(view)
                parts.append(Part(segment.bytes(view.nbytes), segment))
            elif view.readonly or total > COPY_BYTES_MAX:
                parts.append(Part(view, None))
            else:
                parts.append(Part(memoryview(bytes(view)), None))
        return parts

    def release(self, parts: list[Part]) -> None:
        """A call is done."""
        for part in parts:
            if part.segment is not None:
                self._pool.release(part.segment.number)

    def released(self, link: Link, numbers: list[int]) -> None:
        """A worker looks at these no more."""
        for number in numbers:
            if link.held.get(number):
                link.held[number] -= 1
                self._pool.release(number)

    def hung_up(self, link: Link) -> None:
        """A worker looks at nothing any more."""
        for number, uses in link.held.items():
            self._pool.release(number, uses)
        link.held.clear()

    def result(self, link: Link, number: int, offset: int, size: int) -> memoryview:
        """Return a result that is a piece of an argument of ours."""
        with self._lock:
            segment = self._pool.used(number)
            if segment is None or number not in link.held or not 0 <= offset < offset + size <= segment.size:
                raise PeerBroke(f"a result names {size} bytes at {offset} of a segment that it does not have")
            segment.uses += 1
        return segment.mapping.view(offset, size, lambda: self._unseen.append(number), writable=True)

    def tidy(self) -> list[int]:
        """Take back what nobody looks at as a result any more; return the segments that workers should forget."""
        while self._unseen:
            self._pool.release(self._unseen.pop())
        retired, self._pool.retired = self._pool.retired, []
        return retired

    @property
    def untidy(self) -> bool:
        """Whether ``tidy`` has something to do."""
        return bool(self._unseen or self._pool.retired)

    def close(self) -> None:
        """Give all back; what somebody still looks at, when he has done."""
        self._pool.close()
