"""Memory: segments that were fetched from other devices, kept in this machine's depot as well, so that they are near.

What is kept is the data shares of a segment, each under an id of its own that nobody counts as a share: a copy in a memory
says nothing about how safe a file is, and may go at any time. Which segments stay is decided by ``store.cache`` (asked for
often, for its size); how much room there is by the disk. Every copy is compared with the roots that the file's owner signed
before it is kept. What a memory has stands in one file of the home, written before the copies are, so a copy is never
kept that nobody would drop; programs of one home take turns by a lock on a file beside it.
Invariant: nothing here delays a reader for longer than ``MEMORY_WAIT_S``, or takes more than ``MEMORY_AHEAD`` segments of memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from worldos.agent.home import write_durably
from worldos.depot.link import StoreLink
from worldos.errors import DiskFull, WorldError
from worldos.files.limits import (
    ANSWER_S,
    CLOSE_PATIENCE_S,
    FAR_RTT_US,
    LINK_BYTES_PER_S,
    MEMORY_AHEAD,
    MEMORY_ROWS_MAX,
    MEMORY_TYPICAL_BYTES,
    MEMORY_WAIT_S,
)
from worldos.files.stores import Store, Stores
from worldos.store.cache import COUNT_MAX, Cache
from worldos.store.erasure import share_bytes
from worldos.store.heat import room_for_copies
from worldos.store.keys import derive
from worldos.store.leaves import leaf_digests, root_of
from worldos.store.manifest import Segment, share_ids

IDS_AT_ONCE = 4096
_VERSION = 1


class _Row(msgspec.Struct, kw_only=True, array_like=True):
    """One segment that is kept: its id, the ids of its copies, what they take, how often it was used."""

    segment: bytes
    copies: tuple[bytes, ...]
    size_bytes: int
    uses: int = 1


class _Book(msgspec.Struct, kw_only=True, array_like=True):
    """What lies in the file of a home. ``asked`` counts uses of segments that are not kept, so that the second is told."""

    version: int = _VERSION
    rows: list[_Row] = []
    asked: dict[bytes, int] = {}


@dataclass(frozen=True)
class Near:
    """A segment that can be read here: under which ids its data shares lie, and in which store."""

    ids: tuple[bytes, ...]
    store: Store

    @property
    def holders(self) -> dict[int, list[Store]]:
        """Return whom to ask for which share."""
        return {index: [self.store] for index in range(len(self.ids))}


class Memory:
    """The copies that this machine's depot has of segments which others keep."""

    def __init__(self, folder: Path, stores: Stores, owner: str) -> None:
        self._file = folder / "memory"
        self._stores = stores
        self._owner = owner
        self._lock = threading.RLock()
        self._rows: dict[bytes, _Row] = {}
        self._asked: dict[bytes, int] = {}
        self._uses: dict[bytes, int] = {}  # since the file was written
        self._cache = Cache(0, typical=MEMORY_TYPICAL_BYTES)
        self._read_at = (0, 0)
        self._turns = os.open(folder / "memory.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._keeping = ThreadPoolExecutor(1, "wos-memory")
        self._ahead = threading.BoundedSemaphore(MEMORY_AHEAD)
        self._under_way: set[Future[None]] = set()
        self._read()

    @property
    def size_bytes(self) -> int:
        """Return what all copies take."""
        with self._lock:
            return sum(row.size_bytes for row in self._rows.values())

    @property
    def room_bytes(self) -> int:
        """Return how much more there is room for."""
        with self._lock:
            return max(0, self._room_bytes() - self._cache.size)

    def are_here(self, segments: Sequence[Segment], verify: bytes) -> bool:
        """Whether all data shares of these segments are here, be it as shares or as copies."""
        here = self._stores.here()
        return here is not None and all(_near(here, segments, verify))

    def has(self, segment: Segment) -> bool:
        """Whether this segment should be here."""
        with self._lock:
            return segment.id in self._rows

    def near(self, segments: Sequence[Segment], verify: bytes) -> list[Near | None]:
        """Say which of these segments can be read here, all of each; the others are None. Counts as a use of each."""
        with self._lock:
            for segment in segments:
                self._uses[segment.id] = min(COUNT_MAX, self._uses.get(segment.id, 0) + 1)
            wanted = [segment for segment in segments if segment.id in self._rows]
        here = self._stores.here() if wanted else None
        if here is None:
            return [None] * len(segments)
        found: dict[bytes, Near] = {}
        for segment, near in zip(wanted, _near(here, wanted, verify), strict=True):
            if near is None:
                self.forget(segment)
            else:
                found[segment.id] = near
        return [found.get(segment.id) for segment in segments]

    def keep(self, segment: Segment, verify: bytes, data: memoryview, *, wanted: bool = False) -> None:
        """Keep a segment that was fetched: ``data`` has its data shares side by side, and is copied before this returns.

        One that came from near, and for the first time, is not worth it, unless it is ``wanted``; nor is one when too much else
        is being kept just now.
        """
        if len(self._stores.known()) < 2:
            return  # what this machine's store alone has is near
        here = self._stores.here()
        if here is None or self.has(segment) or not (wanted or self._is_worth(segment)):
            return
        if not self._ahead.acquire(timeout=ANSWER_S if wanted else MEMORY_WAIT_S):
            return
        try:
            future = self._keeping.submit(self._keep, here, segment, verify, bytes(data))
        except RuntimeError:  # it is being closed
            self._ahead.release()
            return
        with self._lock:
            self._under_way.add(future)
        future.add_done_callback(self._kept)

    def forget(self, segment: Segment) -> None:
        """Give up a copy that is not what it should be."""
        with self._turn():
            row = self._rows.pop(segment.id, None)
            self._cache.forget(segment.id)
            if row is not None:
                self._drop([row])
                self._write()

    def fit(self) -> None:
        """Give back what the disk has no room for any more."""
        with self._turn():
            dropped = self._cache.resize(self._room_bytes())
            if dropped:
                self._drop([self._rows.pop(key) for key in dropped if key in self._rows])
                self._write()

    def wait(self) -> None:
        """Return when all that was to be kept is."""
        with self._lock:
            under_way = list(self._under_way)
        for future in under_way:
            with contextlib.suppress(WorldError, TimeoutError):
                future.result(CLOSE_PATIENCE_S)

    def close(self) -> None:
        """Let what is being kept arrive, and write down what was used."""
        self.wait()
        self._keeping.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(DiskFull), self._turn():
            if self._uses:
                self._write()
        os.close(self._turns)

    # -- in the thread that keeps ------------------------------------------------------------------------------------------

    def _keep(self, here: Store, segment: Segment, verify: bytes, data: bytes) -> None:
        size = share_bytes(segment.size_bytes, segment.k)
        ids, lying = _ids(segment, verify), _sizes(here, share_ids(segment, verify)[: segment.k])
        view = memoryview(data)
        copies: list[tuple[bytes, memoryview, bytes]] = []
        for index in range(segment.k):
            if lying[index] == size:
                continue  # the share itself is here: it serves
            part = view[index * size : (index + 1) * size]
            digests = leaf_digests(part)
            if root_of(digests, size) != segment.roots[index]:
                return  # not what its owner signed: whoever reads it sees that as well
            copies.append((ids[index], part, digests))
        if not copies or not self._admit(segment, tuple(each[0] for each in copies), size * len(copies)):
            return
        asked = [here.ask(self._putting(*copy)) for copy in copies]
        try:
            for future in asked:
                future.result(ANSWER_S)
        except (WorldError, TimeoutError):
            self.forget(segment)

    def _putting(self, copy: bytes, part: memoryview, digests: bytes) -> Callable[[StoreLink], Future[None]]:
        return lambda link: link.put_share(copy, part, owner=self._owner, kind="cache", digests=digests)

    def _kept(self, future: Future[None]) -> None:
        with self._lock:
            self._under_way.discard(future)
        self._ahead.release()

    def _admit(self, segment: Segment, copies: tuple[bytes, ...], size_bytes: int) -> bool:
        """Write down that a segment will be here, if it is worth its room; drop what goes for it."""
        with self._turn():
            if segment.id in self._rows or len(self._rows) >= MEMORY_ROWS_MAX:
                return False
            dropped = self._cache.resize(self._room_bytes())
            self._rows[segment.id] = _Row(segment=segment.id, copies=copies, size_bytes=size_bytes)
            dropped += self._cache.offer(segment.id, size_bytes)
            self._asked.pop(segment.id, None)
            gone = [self._rows.pop(key) for key in dropped if key in self._rows]
            self._drop([row for row in gone if row.segment != segment.id])
            self._write()
            return segment.id in self._rows

    def _is_worth(self, segment: Segment) -> bool:
        """Whether it was wanted here before, or comes from far."""
        with self._lock:
            if self._asked.get(segment.id, 0) + self._uses.get(segment.id, 0) > 1:
                return True
        others = [store.at.rtt_us for store in self._stores.reachable() if not store.at.here]
        return len(others) < segment.k or sorted(others)[segment.k - 1] >= FAR_RTT_US

    def _room_bytes(self) -> int:
        here = self._stores.here()
        if here is None:
            return self._cache.capacity
        free = here.at.free + self._cache.size
        return room_for_copies(free, here.at.capacity, link_bytes_per_s=LINK_BYTES_PER_S, away_ppm=0)

    def _drop(self, rows: Sequence[_Row]) -> None:
        here = self._stores.here()
        ids = [copy for row in rows for copy in row.copies]
        if here is not None and ids:
            here.ask(lambda link: link.drop(ids))

    # -- the file ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the one program of this home that changes what is kept, knowing what the others did."""
        with self._lock:
            fcntl.flock(self._turns, fcntl.LOCK_EX)
            try:
                if self._stamp() != self._read_at:
                    self._read()
                yield
            finally:
                fcntl.flock(self._turns, fcntl.LOCK_UN)

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)

    def _read(self) -> None:
        self._read_at = self._stamp()
        try:
            book = msgspec.msgpack.decode(self._file.read_bytes(), type=_Book)
        except (OSError, msgspec.DecodeError, RecursionError):
            book = _Book()  # none yet, or not whole: copies that it knew are dropped when the depot needs room
        if book.version != _VERSION:
            book = _Book()
        self._rows = {row.segment: row for row in book.rows}
        self._asked = book.asked
        self._cache = Cache(
            max(self._room_bytes(), sum(row.size_bytes for row in book.rows)), typical=MEMORY_TYPICAL_BYTES
        )
        for row in book.rows:
            for _ in range(min(row.uses, COUNT_MAX)):
                self._cache.use(row.segment)
            self._cache.offer(row.segment, row.size_bytes)

    def _write(self) -> None:
        for key, count in self._uses.items():
            row = self._rows.get(key)
            if row is not None:
                row.uses = min(COUNT_MAX, row.uses + count)
            else:
                self._asked[key] = min(COUNT_MAX, self._asked.pop(key, 0) + count)
        self._uses = {}
        while len(self._asked) > MEMORY_ROWS_MAX:
            self._asked.pop(next(iter(self._asked)))  # the one that was asked for longest ago
        book = _Book(rows=list(self._rows.values()), asked=self._asked)
        write_durably(self._file, msgspec.msgpack.encode(book))
        self._read_at = self._stamp()


def _ids(segment: Segment, verify: bytes) -> tuple[bytes, ...]:
    """Name the copies of a segment's data shares: not as the shares are named, so that nobody counts on them."""
    secret = segment.secret or verify
    return tuple(derive(secret, "copy", segment.id, index.to_bytes(2, "big")) for index in range(segment.k))


def _near(here: Store, segments: Sequence[Segment], verify: bytes) -> list[Near | None]:
    """Say of each segment under which names its data shares lie here, if all of them do."""
    names = [(*_ids(segment, verify), *share_ids(segment, verify)[: segment.k]) for segment in segments]
    sizes = iter(_sizes(here, [name for each in names for name in each]))
    found: list[Near | None] = []
    for segment, each in zip(segments, names, strict=True):
        size = share_bytes(segment.size_bytes, segment.k)
        lying = [next(sizes) == size for _ in each]
        pairs = [(index, index + segment.k) for index in range(segment.k)]  # a copy, and the share itself
        ids = [next((each[place] for place in pair if lying[place]), b"") for pair in pairs]
        found.append(Near(tuple(ids), here) if all(ids) else None)
    return found


def _sizes(here: Store, ids: Sequence[bytes]) -> list[int]:
    """Return how large what the depot here has under each id is; -1 for what it has not."""
    sizes: list[int] = []
    for first in range(0, len(ids), IDS_AT_ONCE):
        some = ids[first : first + IDS_AT_ONCE]
        try:
            sizes += here.ask(partial(_have, ids=some)).result(ANSWER_S)
        except (WorldError, TimeoutError):
            sizes += [-1] * len(some)
    return sizes


def _have(link: StoreLink, ids: Sequence[bytes]) -> Future[tuple[int, ...]]:
    return link.have(ids)
