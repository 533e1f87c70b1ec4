"""What comes in from a worker, loaded: results apart from everything else. The user's code may run here (unpickling)."""

from __future__ import annotations

from worldos.errors import PeerBroke
from worldos.lanes import outcome, wire
from worldos.lanes.future import LaneFuture
from worldos.lanes.link import Link
from worldos.lanes.outcome import Outcome
from worldos.lanes.stowage import Stowage
from worldos.lanes.wire import Frame, FrameKind


class Intake:
    """Loads results, from the frame, the worker's memory or our own. ``calls``: the open ones, for their names."""

    def __init__(self, stowage: Stowage, calls: dict[int, LaneFuture]) -> None:
        self._stowage = stowage
        self._calls = calls
        self._large: dict[int, int] = {}  # results that are not small, and their bytes

    def sort(self, link: Link, frames: list[Frame]) -> tuple[list[Outcome], int, list[Frame]]:
        """Load results; return them, the time that they took, and all other frames. Raises PeerBroke."""
        outcomes: list[Outcome] = []
        busy_ns = 0
        others: list[Frame] = []
        is_own = link.door.is_own
        for frame in frames:
            meta = frame.meta
            if frame.kind == FrameKind.RESULTS:
                busy_ns += meta[0]
                for call, status, data in meta[1]:
                    outcomes.append((call, *outcome.load(self._name(call), status, data, [], is_own=is_own)))
            elif frame.kind == FrameKind.RESULT:
                busy_ns += meta.busy_ns
                data, *buffers = self._located(link, frame)
                self._large[meta.call] = sum(place[2] for place in meta.places)
                loaded = outcome.load(self._name(meta.call), meta.status, data, buffers, is_own=is_own)
                outcomes.append((meta.call, *loaded))
            elif frame.kind == FrameKind.SEGMENT:
                if not link.inbox.fds:
                    raise PeerBroke("a shared segment came without its descriptor")
                number, size = meta
                link.windows.add(number, size, link.inbox.fds.popleft())
            else:
                others.append(frame)
        return outcomes, busy_ns, others

    def size_bytes(self, call: int) -> int:
        """Return the bytes of a result that just came, if it was large; asked once."""
        return self._large.pop(call, 0) if self._large else 0

    def _name(self, call: int) -> str:
        future = self._calls.get(call)
        return future.function.name if future is not None else "a call"

    def _located(self, link: Link, frame: Frame) -> list[memoryview]:
        """Return the pickle and the buffers of a large result."""
        parts: list[memoryview] = []
        places = frame.meta.places
        for part, (number, offset, size) in zip(wire.inline(places, frame.data), places, strict=True):
            if part is not None:
                parts.append(part)
            elif number > 0:
                parts.append(link.windows.view(number, offset, size))
            else:
                parts.append(self._stowage.result(link, -number, offset, size))
        return parts
