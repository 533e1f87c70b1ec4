"""One at a time writes to a depot: whatever waits while the disk syncs goes with the next sync, together.

So a lone put costs one sync, and a thousand at once cost one as well; nobody waits for a timer. A frame is told to the index, and
its ``Ticket`` is done, only after the sync: what was acknowledged is on the disk. A group that does not fit is tried frame by
frame, so that a drop, which gives room back, goes through where a share cannot.
Source: C. Mohan et al., "ARIES", TODS 1992 (group commit).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from worldos.depot.index import Index, State, frame_bytes
from worldos.depot.limits import (
    GROUP_BYTES_MAX,
    GROUP_FRAMES_MAX,
    INDEX_LAG_ROWS,
    INDEX_LAG_S,
    INDEX_RETRY_S,
    QUEUED_BYTES_MAX,
)
from worldos.depot.packs import Packs
from worldos.depot.records import Place, Row
from worldos.errors import DiskFull, Unreachable, WorldError
from worldos.store import pack as frames
from worldos.store.pack import Buffer, Header, Kind

Taken = Callable[[Place, int], object]


class Ticket:
    """What one caller waits for: all of its frames, or the first error."""

    __slots__ = ("_lock", "done", "left")

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self.left = count
        self.done: Future[None] = Future()
        if not count:
            self.done.set_result(None)

    def one_done(self) -> None:
        """Count one frame that is on the disk."""
        with self._lock:
            self.left -= 1
            last = not self.left
        if last and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Say why a frame is not."""
        with self._lock:
            first = not self.done.done()
        if first:
            self.done.set_exception(error)


class Waiting:
    """A frame that waits for the disk. ``order`` -1 gets a new one. ``taken(place, order)`` tells the index."""

    __slots__ = ("body", "body_bytes", "id", "kind", "meta", "order", "row", "size_bytes", "taken", "ticket", "trailer")

    def __init__(
        self, kind: Kind, frame_id: bytes, meta: bytes, body: tuple[Buffer, ...], ticket: Ticket, taken: Taken | None
    ) -> None:
        self.kind, self.id, self.meta, self.body, self.ticket, self.taken = kind, frame_id, meta, body, ticket, taken
        self.body_bytes = sum(len(part) for part in body)
        pad = frames.PAGE_BYTES if self.body_bytes > frames.PAGED_FROM_BYTES else frames.ALIGN_BYTES
        self.size_bytes = frame_bytes(len(meta), self.body_bytes) + pad  # with the most zeros that may stand before it
        self.trailer = frames.trailer_of(frame_id, *body)
        self.order = -1
        self.row: tuple[int, int, int] | None = None  # size, owner, kind of a share that is new here

    @property
    def control(self) -> bool:
        """Whether it may use the last room of the disk: what gives room back."""
        return self.kind in {Kind.DROP, Kind.BAD, Kind.FORGET}


class Writer:
    """Writes frames in the order in which they come.

    ``free(bytes)`` gives room back from the trash, if it can. ``recover()`` makes the index again from its last commit and the
    packs, where it could not be written.
    """

    def __init__(self, packs: Packs, index: Index, *, free: Callable[[int], int], recover: Callable[[], None]) -> None:
        self._packs, self._index, self._free, self._recover = packs, index, free, recover
        self._order = index.order
        self._queue: deque[Waiting] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._commit_at = time.monotonic() + INDEX_LAG_S
        self._failed = False  # the last commit did
        self._wake = False
        self._turn = threading.Lock()  # who writes to the packs
        self._working = threading.RLock()  # a group is in the index whole, or not at all
        self.written_bytes = 0
        self._thread = threading.Thread(target=self._run, name="depot writer", daemon=True)
        self._thread.start()

    def submit(self, items: list[Waiting], *, help_write: bool = False) -> None:
        """Queue frames; wait while too much is queued already.

        Who will wait for them anyway helps to write: if the disk is idle its own thread writes all that is queued, and no other
        thread has to wake up in between.
        """
        size = sum(item.size_bytes for item in items)
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._queued_bytes < QUEUED_BYTES_MAX)
            if self._closing:
                raise Unreachable("the depot is closed")
            self._queue.extend(items)
            self._queued_bytes += size
            if not help_write:
                self._changed.notify_all()
                return
        if self._turn.acquire(blocking=False):
            try:
                self._write(self._take_group())
            finally:
                self._turn.release()
        with self._changed:
            if self._queue or self._wake:
                self._wake = False
                self._changed.notify_all()

    @property
    def queued_bytes(self) -> int:
        """Return how much waits."""
        return self._queued_bytes

    def close(self) -> None:
        """Write what waits, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        with self._turn:  # whoever helped has done
            return

    def _run(self) -> None:
        while self._wait():
            with self._turn:
                self._write(self._take_group())
            self._commit_if_due()

    def _wait(self) -> bool:
        """Wait until there is something to write, or the index is due; False at the end."""
        with self._changed:
            while not self._queue:
                if self._closing:
                    return False
                due = self._commit_at - time.monotonic() if self._index.changed else None
                if due is not None and due <= 0:
                    return True
                self._changed.wait(due)
            return True

    def _take_group(self) -> list[Waiting]:
        with self._changed:
            group: list[Waiting] = []
            size = 0
            while self._queue and len(group) < GROUP_FRAMES_MAX and size < GROUP_BYTES_MAX:
                size += self._queue[0].size_bytes
                group.append(self._queue.popleft())
            return group

    def _write(self, group: list[Waiting]) -> None:
        if not group:
            return
        try:
            for part in self._that_fit(group):
                with self._working:
                    self._write_group(part)
        except sqlite3.Error as cause:  # the index could not say what may go to make room
            with self._working:
                self._recover()
            error = DiskFull("the disk of this depot is full")
            error.__cause__ = cause
            for item in group:
                item.ticket.fail(error)
        finally:
            with self._changed:
                self._queued_bytes -= sum(item.size_bytes for item in group)
                self._changed.notify_all()

    def _that_fit(self, group: list[Waiting]) -> list[list[Waiting]]:
        """Split a group where the disk has no room for all of it; fail those that have none."""
        length = sum(item.size_bytes for item in group)
        control = all(item.control for item in group)
        for _ in range(2):
            with contextlib.suppress(DiskFull):
                self._packs.make_room(length, control=control)
                return [group]
            if not self._free(length):
                break
        if len(group) > 1:
            return [[item] for item in group]
        group[0].ticket.fail(DiskFull("the disk of this depot is full"))
        return []

    def _write_group(self, group: list[Waiting]) -> None:
        length = sum(item.size_bytes for item in group)
        try:
            pack, at = self._packs.make_room(length, control=all(item.control for item in group))
            start, parts, places = at, list[Buffer](), list[Place]()
            for item in group:
                if item.order < 0:
                    self._order += 1
                    item.order = self._order
                start = frames.start_of(at, item.body_bytes)
                header = Header(
                    kind=item.kind,
                    order=item.order,
                    id=item.id,
                    meta_bytes=len(item.meta),
                    body_bytes=item.body_bytes,
                    offset=start,
                )
                if start > at:
                    parts.append(frames.zeros(start - at))
                parts += [frames.frame_head(self._packs.key, pack, header, item.meta), *item.body, item.trailer]
                places.append(Place(pack, start, header.meta_bytes, header.body_bytes))
                at = header.end
            before = self._packs.end
            self._packs.write(parts, at)
            self._packs.sync(at)
        except (OSError, DiskFull) as cause:
            if isinstance(cause, OSError):
                self._packs.abandon()
            for item in group:
                item.ticket.fail(cause if isinstance(cause, WorldError) else _full(cause))
            return
        self.written_bytes += at - before
        try:
            self._tell_index(group, places)
            self._index.set_indexed(pack, at, self._order)
        except sqlite3.Error:
            self._recover()
        for item in group:
            item.ticket.one_done()

    def _tell_index(self, group: list[Waiting], places: list[Place]) -> None:
        fresh: list[tuple[bytes, Row]] = []
        for item, place in zip(group, places, strict=True):
            if item.row is not None:
                size, owner, kind = item.row
                order = item.order
                row = Row(*place, size, order, State.ALIVE, order, 0, owner, kind, item.trailer)
                fresh.append((item.id, row))
            elif item.taken is not None:
                item.taken(place, item.order)
        if fresh:
            self._index.take_new_shares(fresh)
        if self._index.changed and not self._commit_at:
            self._commit_at = time.monotonic() + INDEX_LAG_S
            self._wake = True  # the thread must learn when the index is due

    def _commit_if_due(self) -> None:
        many = self._index.changed > INDEX_LAG_ROWS and not self._failed
        if many or (self._index.changed and time.monotonic() >= self._commit_at):
            self.commit()

    def commit(self) -> bool:
        """Write the index down; where that fails, as on a full disk, walk the end of the packs again."""
        with self._working:
            try:
                self._index.commit()
            except sqlite3.Error:
                self._recover()
                self._commit_at = time.monotonic() + INDEX_RETRY_S
                self._failed = True
                return False
            self._commit_at = 0.0
            self._failed = False
            return True


def _full(cause: OSError) -> DiskFull:
    error = DiskFull("the disk of this depot cannot be written")
    error.__cause__ = cause
    return error
