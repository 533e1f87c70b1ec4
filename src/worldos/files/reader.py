"""Reading: from a file's secret to its bytes, whole or from anywhere, with the next segments already on their way.

A manifest is taken from the first store that has one that opens and is signed by the file's own key. Segments of which most
is wanted are fetched whole, others by the pieces that are wanted; each piece is opened where it lies, and what does not open is
fetched again without the stores that gave it wrong. Invariant: no byte leaves here that its writer did not seal at that place.
"""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from worldos.depot.buffers import Pool, Room
from worldos.errors import Damaged, NotAllowed, PeerBroke, Unreachable, WorldError
from worldos.files.fetching import Fetch, Holders, damaged, holders_of
from worldos.files.limits import HOLDERS_AHEAD, LATE_S, MANIFESTS_KEPT, ROOMS_KEPT, SEGMENTS_AHEAD
from worldos.files.memory import Memory, Near
from worldos.files.stores import Store, Stores, answers
from worldos.files.uses import Uses
from worldos.store import keys
from worldos.store.entry import Entry
from worldos.store.erasure import Code, Codec, coded_bytes, share_bytes, spans
from worldos.store.manifest import Contents, Map, Piece, read_manifest, starts_of
from worldos.store.ops import FileRef
from worldos.store.segment import Part, open_piece

WHOLE_PART = 2  # a segment of which at least half is wanted is fetched whole
TRIES = 4


@dataclass(frozen=True)
class Opened:
    """A manifest that was opened: what carers see, what readers see, and the secret of the shares."""

    made: Map
    contents: Contents
    verify: bytes
    starts: list[int]


class Shelf:
    """What all readers of a session share: manifests that were opened, rooms for segments, threads that fetch."""

    def __init__(self, stores: Stores, codec: Codec, *, memory: Memory | None = None, uses: Uses | None = None) -> None:
        self.stores = stores
        self.codec = codec
        self.memory = memory  # what is kept near, where that is done
        self.uses = uses
        self.fetching = ThreadPoolExecutor(2 * SEGMENTS_AHEAD, "wos-fetch")
        self.lying: dict[str, int] = {}  # stores that gave wrong bytes, and how often
        self._manifests: OrderedDict[bytes, Opened] = OrderedDict()
        self._rooms: list[Pool] = []  # each of one buffer: readers never wait for each other
        self._lock = threading.Lock()

    def opened(self, ref: FileRef) -> Opened:
        """Return the manifest of a file."""
        read = keys.read_of(ref.write) if ref.write else ref.read
        if not read:
            raise NotAllowed("this file's secret is not known here")
        return self.manifest(read)

    def used(self, ref: FileRef) -> Opened:
        """Return the manifest of a file that is about to be read; that counts as a use of it."""
        opened = self.opened(ref)
        if self.uses is not None:
            self.uses.use(opened.verify, opened.contents.size_bytes)
        return opened

    def manifest(self, read: bytes, *, thorough: bool = False) -> Opened:
        """Return the manifest of a read secret; ``thorough``: the newest that any store has."""
        with self._lock:
            if not thorough and read in self._manifests:
                self._manifests.move_to_end(read)
                return self._manifests[read]
        opened = self._fetch_manifest(read, thorough=thorough)
        with self._lock:
            self._manifests[read] = opened
            while len(self._manifests) > MANIFESTS_KEPT:
                self._manifests.popitem(last=False)
        return opened

    def room(self, size_bytes: int) -> Room:
        """Borrow a buffer for a segment of this size: one that was used before, or a new one."""
        with self._lock:
            for place, pool in enumerate(self._rooms):
                if pool.size_bytes == size_bytes and not pool.out:
                    self._rooms.append(self._rooms.pop(place))
                    return pool.take()
            pool = Pool(size_bytes, 1)
            self._rooms = [*self._rooms, pool][-ROOMS_KEPT:]
            return pool.take()

    def close(self) -> None:
        """End the threads."""
        self.fetching.shutdown(wait=True, cancel_futures=True)

    def _fetch_manifest(self, read: bytes, *, thorough: bool) -> Opened:
        verify = keys.verify_of(read)
        locator = keys.locator_of(verify)
        best: dict[str, tuple[int, Map, Contents]] = {}
        seen: dict[str, WorldError | None] = {}

        def enough(told: dict[str, tuple[Entry, ...]]) -> bool:
            for node, entries in told.items():
                if node in seen:
                    continue
                seen[node] = None
                for entry in entries:
                    try:
                        made, contents = read_manifest(entry, read)
                    except WorldError as error:
                        seen[node] = error
                        continue
                    if "" not in best or entry.seq > best[""][0]:
                        best[""] = (entry.seq, made, contents)
            return bool(best) and not thorough

        stores = self.stores.reachable()
        answers(
            stores, lambda link: link.last((locator,)), within_s=LATE_S, enough=enough, will_do=lambda _: bool(best)
        )
        if not best:
            errors = [error for error in seen.values() if error is not None]
            if errors:
                raise errors[0]
            raise Unreachable(
                f"none of the {len(stores)} stores that answer knows how this file is put together",
                hint="start the other devices; see them with: wos storage status",
            )
        _, made, contents = best[""]
        return Opened(made, contents, verify, starts_of(contents))


@dataclass
class _Job:
    """Some pieces of one segment, in order: fetched ahead, opened when it is their turn."""

    segment: int
    pieces: list[int]
    fetched: Future[_Loaded] | None = None


@dataclass
class _Loaded:
    """What was fetched for a job: the whole segment, or the sealed bytes of each piece."""

    fetch: Fetch
    room: Room | None
    sealed: list[memoryview]
    near: bool = False


class Pieces:
    """The plain bytes of consecutive pieces, in order; the next segments are fetched meanwhile. Close it at the end."""

    def __init__(self, shelf: Shelf, opened: Opened, first: int, last: int) -> None:
        self._shelf = shelf
        self._opened = opened
        self._jobs = _jobs(opened.contents.pieces, first, last)
        self._ahead: deque[_Job] = deque()
        self._next = 0
        self._holders: dict[int, Holders] = {}
        self._near: dict[int, Near | None] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._plain = bytearray()

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the plain bytes of each piece, good until the next one is asked for."""
        try:
            while True:
                while self._next < len(self._jobs) and len(self._ahead) <= SEGMENTS_AHEAD:
                    job = self._jobs[self._next]
                    job.fetched = self._shelf.fetching.submit(self._load, job)
                    self._ahead.append(job)
                    self._next += 1
                if not self._ahead:
                    return
                yield from self._open(self._ahead.popleft())
        finally:
            self.close()

    def close(self) -> None:
        """Give back what was fetched and not used."""
        self._closed = True
        while self._ahead:
            fetched = self._ahead.popleft().fetched
            if fetched is not None and not fetched.cancel():
                fetched.add_done_callback(_give_back)

    def _open(self, job: _Job) -> Iterator[memoryview]:
        assert job.fetched is not None
        loaded = job.fetched.result()
        segment = loaded.fetch.segment
        key = self._opened.contents.keys[job.segment]
        try:
            for place, number in enumerate(job.pieces):
                piece = self._opened.contents.pieces[number]
                part = Part(piece.number, piece.offset, piece.sealed_bytes, piece.plain_bytes, piece.packed)
                try:
                    plain = self._unsealed(segment.id, key, part, loaded.sealed[place])
                except Damaged:
                    plain = self._mended(loaded, job, key, part)
                yield plain
            if loaded.room is not None and not loaded.near and self._shelf.memory is not None:
                self._shelf.memory.keep(segment, self._opened.verify, loaded.room.view)
        finally:
            if loaded.room is not None:
                loaded.room.release()

    def _unsealed(self, segment: bytes, key: bytes, part: Part, sealed: memoryview) -> memoryview:
        if part.packed:
            return memoryview(open_piece(segment, key, part, sealed))
        if len(self._plain) < part.plain_bytes:
            self._plain = bytearray(part.plain_bytes)
        into = memoryview(self._plain)[: part.plain_bytes]
        open_piece(segment, key, part, sealed, into)
        return into

    def _mended(self, loaded: _Loaded, job: _Job, key: bytes, part: Part) -> memoryview:
        """Fetch the segment again without the stores that gave wrong bytes, until the piece opens."""
        segment = loaded.fetch.segment
        if loaded.near and self._shelf.memory is not None:
            self._shelf.memory.forget(segment)
        buffer = memoryview(bytearray(coded_bytes(segment.size_bytes, segment.k)))
        fetch = Fetch(segment, self._opened.verify, self._holders_of(job.segment), self._shelf.codec, buffer)
        for _ in range(TRIES * segment.n):
            whole = fetch.whole()
            try:
                plain = self._unsealed(segment.id, key, part, whole[part.offset : part.offset + part.sealed_bytes])
            except Damaged:
                bad = fetch.suspects()
                if not bad:
                    break  # the shares are what was written, and yet it does not open: the manifest is wrong
                for _, store in bad:
                    self._shelf.lying[store.at.node] = self._shelf.lying.get(store.at.node, 0) + 1
                fetch.without(bad)
                continue
            self._holders[job.segment] = fetch.holders
            return plain
        raise damaged()

    # -- fetching: in the fetching threads -------------------------------------------------------------------------------------

    def _load(self, job: _Job) -> _Loaded:
        near = self._near_of(job.segment)
        if near is not None:
            try:
                return self._fetched(job, near.holders, near.ids)
            except Unreachable:  # it was dropped meanwhile
                self._near[job.segment] = None
        return self._fetched(job, self._holders_of(job.segment), ())

    def _fetched(self, job: _Job, holders: Holders, ids: Sequence[bytes]) -> _Loaded:
        """Fetch what a job needs from ``holders``; ``ids`` are the names of copies that are near."""
        segment = self._opened.made.segments[job.segment]
        pieces = [self._opened.contents.pieces[number] for number in job.pieces]
        wanted = sum(piece.sealed_bytes for piece in pieces)
        if wanted * WHOLE_PART < segment.size_bytes:
            fetch = Fetch(segment, self._opened.verify, holders, self._shelf.codec, memoryview(b""), ids=ids)
            return _Loaded(fetch, None, [_sealed_bytes(fetch, piece) for piece in pieces], bool(ids))
        room = self._shelf.room(coded_bytes(segment.size_bytes, segment.k))
        try:
            fetch = Fetch(segment, self._opened.verify, holders, self._shelf.codec, room.view, ids=ids)
            whole = fetch.whole()
        except BaseException:
            room.release()
            raise
        sealed = [whole[piece.offset : piece.offset + piece.sealed_bytes] for piece in pieces]
        return _Loaded(fetch, room, sealed, bool(ids))

    def _near_of(self, number: int) -> Near | None:
        """Say whether a segment is kept near; the next ones are looked for at the same time."""
        memory = self._shelf.memory
        if memory is None:
            return None
        with self._lock:
            if number not in self._near:
                ahead = sorted({job.segment for job in self._jobs if job.segment >= number})[:HOLDERS_AHEAD]
                segments = [self._opened.made.segments[each] for each in ahead]
                self._near.update(zip(ahead, memory.near(segments, self._opened.verify), strict=True))
            return self._near[number]

    def _holders_of(self, number: int) -> Holders:
        """Say who has the shares of a segment; those of the next ones are asked for in the same question."""
        with self._lock:
            if number not in self._holders:
                ahead = sorted({job.segment for job in self._jobs if job.segment >= number})[:HOLDERS_AHEAD]
                stores: Sequence[Store] = self._shelf.stores.reachable()
                segments = [self._opened.made.segments[each] for each in ahead]
                self._holders.update(zip(ahead, holders_of(stores, segments, self._opened.verify), strict=True))
            return self._holders[number]


def _give_back(fetched: Future[_Loaded]) -> None:
    if not fetched.cancelled() and fetched.exception() is None:
        room = fetched.result().room
        if room is not None:
            room.release()


def _jobs(pieces: Sequence[Piece], first: int, last: int) -> list[_Job]:
    """Group consecutive pieces of one segment."""
    jobs: list[_Job] = []
    for number in range(first, last):
        segment = pieces[number].segment
        if jobs and jobs[-1].segment == segment:
            jobs[-1].pieces.append(number)
        else:
            jobs.append(_Job(segment, [number]))
    return jobs


def _sealed_bytes(fetch: Fetch, piece: Piece) -> memoryview:
    """Fetch the sealed bytes of one piece from the data shares that it lies in."""
    segment = fetch.segment
    size = share_bytes(segment.size_bytes, segment.k)
    found = [fetch.part(index, start, length) for index, start, length in spans(piece.offset, piece.sealed_bytes, size)]
    return found[0] if len(found) == 1 else memoryview(b"".join(found))


def read_range(shelf: Shelf, opened: Opened, offset: int, length: int) -> Iterator[memoryview]:
    """Yield the bytes of a range of a file, piece after piece; each is good until the next one is asked for."""
    end = min(offset + length, opened.contents.size_bytes)
    if offset >= end:
        return
    if opened.contents.inline:
        yield memoryview(opened.contents.inline)[offset:end]
        return
    starts = opened.starts
    first = bisect_right(starts, offset) - 1
    last = bisect_right(starts, end - 1)
    place = starts[first]
    for plain in Pieces(shelf, opened, first, last):
        yield plain[max(0, offset - place) : max(0, min(len(plain), end - place))]
        place += len(plain)


class FileReader(io.RawIOBase):
    """A file that can be read from anywhere, as Python's own. Bytes that follow each other are read ahead."""

    def __init__(self, shelf: Shelf, ref: FileRef) -> None:
        self._shelf = shelf
        self._ref = ref
        self._position = 0
        self._parts: Iterator[memoryview] | None = None
        self._part = memoryview(b"")
        self._part_at = 0
        self._opened = None if ref.inline or not ref.size_bytes else shelf.used(ref)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte comes from."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ref.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"a place before the beginning of a file: {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io takes any buffer
        """Read the next bytes into a buffer; 0 at the end."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._ref.size_bytes - self._position)
        if count <= 0:
            return 0
        if self._opened is None:
            view[:count] = self._ref.inline[self._position : self._position + count]
            self._position += count
            return count
        start = self._position - self._part_at
        if not 0 <= start < len(self._part):
            self._part = self._next_part()
            start = 0
        count = min(count, len(self._part) - start)
        view[:count] = self._part[start : start + count]
        self._position += count
        return count

    def readall(self) -> bytes:
        """Read the rest."""
        data = bytearray(max(0, self._ref.size_bytes - self._position))
        view, done = memoryview(data), 0
        while count := self.readinto(view[done:]):
            done += count
        return bytes(data)

    def close(self) -> None:
        """Give back what was read ahead."""
        self._stop()
        super().close()

    def _next_part(self) -> memoryview:
        """Go on where the last part ended; begin anew after a jump."""
        assert self._opened is not None
        if self._parts is not None and self._position == self._part_at + len(self._part):
            part = next(self._parts, None)
        else:
            self._stop()
            start = self._ref.offset + self._position
            self._parts = read_range(self._shelf, self._opened, start, self._ref.size_bytes - self._position)
            part = next(self._parts, None)
        if part is None:
            raise PeerBroke("a file ends before its manifest says")
        self._part_at = self._position
        return part

    def _stop(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.close()  # type: ignore[attr-defined] # it is a generator
        self._part = memoryview(b"")


def code_of(opened: Opened) -> Code | None:
    """Return the code of a file's segments; None where it has none."""
    if not opened.made.segments:
        return None
    segment = opened.made.segments[0]
    return Code(k=segment.k, n=segment.n)
