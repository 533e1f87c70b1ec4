"""The archive of a database that runs: a base backup and the write-ahead log since, kept outside the machine every few seconds.

It lies on a tape (files/tape.py) whose secret is in ``databases/NAME.wal``: parts are a base, or a piece of the log within one
segment; the front names the base and the pieces, and holds the *tail*, what was written since the last piece. So one small
register is what a beat costs, and a beat without news costs nothing. Each use of a database begins a tape of its own, and ends
the one it came from when its own can stand in for it. When the log has outgrown its base, a new base is taken and what lies
before is taken back. What cannot be kept waits on the machine of the server; beyond ``LAG_BYTES_MAX`` it is let go, and a new
base closes the gap.
Invariants: the front never names a base without the log up to its end, nor a log with a gap; no tape is ended before the one
after it is whole, or a dump is. Positions and sizes in bytes. Source: postgresql.org/docs, "Continuous Archiving".
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from worldos.engines.limits import (
    DUMP_BYTES_MAX,
    FIRST_BEAT_SECONDS,
    LAG_BYTES_MAX,
    LOG_BYTES_MIN,
    LOG_PER_BASE,
    PIECES_MAX,
    TAIL_BYTES_MAX,
    WAL_READ_BYTES,
)
from worldos.engines.wal import PAGE_BYTES, SEGMENT_BYTES, News, segment_name, segment_start
from worldos.errors import Damaged, LeaseEnded, NotThere, PeerBroke, WorldError
from worldos.files.files import Files
from worldos.files.tape import Tape

FOLDER: Final = "databases"
NO_BASE: Final = "its base backup is being made"
SPARE_NUMBERS: Final = 8  # parts that were kept, and not yet named when their writer died

Number = Annotated[int, Meta(ge=0, le=1 << 40)]
Position = Annotated[int, Meta(ge=0, le=1 << 62)]


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What ``databases/NAME.wal`` holds."""

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of the log, within one segment."""

    number: Number
    position: Position
    size_bytes: Annotated[int, Meta(ge=1, le=SEGMENT_BYTES)]


class BasePart(msgspec.Struct, frozen=True, array_like=True):
    """A base backup: its part, and from where to where the log must be replayed for it to be one state."""

    number: Number
    start: Position
    end: Position
    size_bytes: Annotated[int, Meta(ge=1, le=DUMP_BYTES_MAX)]


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """What counts. ``position`` is that of the tail; ``count``: numbers below it may have been used."""

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    major: Annotated[int, Meta(ge=10, le=99)]
    password: Annotated[str, Meta(min_length=1, max_length=100)]
    base: BasePart
    pieces: Annotated[tuple[Piece, ...], Meta(max_length=2 * PIECES_MAX)]
    position: Position
    tail: Annotated[bytes, Meta(max_length=SEGMENT_BYTES)]
    count: Number


_encode = msgspec.msgpack.Encoder().encode
_read_front = msgspec.msgpack.Decoder(Front)
_read_pointer = msgspec.msgpack.Decoder(Pointer)


class Base(NamedTuple):
    """A base backup that was just taken, to be read once."""

    start: int
    end: int
    data: Iterator[bytes]


class Source(Protocol):
    """The server whose log is kept."""

    major: int
    password: str

    def begin(self) -> None:
        """Have the log received from now on."""

    def base(self) -> Base:
        """Take a base backup."""

    def news(self, position: int, most_bytes: int) -> News:
        """Return what the log has from a position on (see wal.news)."""

    def check(self) -> None:
        """Raise why the log is not received any more."""

    def waiting_bytes(self, position: int) -> int:
        """Return how much of the log waits beyond a position."""

    def let_go(self, position: int) -> None:
        """Give back the room of the log before a position."""


class Behind(NamedTuple):
    """How far the archive is behind: so much of the log, since then (wall clock, s), and why, where there is a reason."""

    waiting_bytes: int
    whole_at_s: float
    why: str = ""


class Left:
    """What an earlier use of a database left, when it could not make its last dump."""

    def __init__(self, tape: Tape, front: Front) -> None:
        self.tape = tape
        self.front = front

    def base(self) -> Iterator[bytes]:
        """Yield the base backup."""
        return map(bytes, self.tape.read(self.front.base.number))

    def log(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield the log: name of the segment, offset in it, bytes; in order, without a gap."""
        for piece in self.front.pieces:
            offset = piece.position % SEGMENT_BYTES
            for part in self.tape.read(piece.number):
                yield segment_name(piece.position), offset, bytes(part)
                offset += len(part)
        if self.front.tail:
            yield segment_name(self.front.position), self.front.position % SEGMENT_BYTES, self.front.tail

    def end(self) -> None:
        """Give its room back."""
        self.tape.end(range(self.front.count + SPARE_NUMBERS))


def find(files: Files, name: str) -> Left | None:
    """Return what was left of a database of this name; None where its last use ended well, or there was none."""
    files.refresh()
    try:
        pointer = _pointer(files.read(_path(name)))
    except NotThere:
        return None
    tape = Tape(files.session, pointer.secret)
    said = tape.front()
    return None if said is None else Left(tape, read_front(said))


def read_front(said: bytes) -> Front:
    """Read a front and see that its log has no gap; PeerBroke otherwise."""
    try:
        front = _read_front.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("the archive of this database says what none says") from cause
    at = segment_start(front.base.start)
    for piece in front.pieces:
        if piece.position != at or piece.position % SEGMENT_BYTES + piece.size_bytes > SEGMENT_BYTES:
            raise PeerBroke("the archive of this database has a gap")
        at += piece.size_bytes
    if front.position != at or not front.base.start <= front.base.end <= at + len(front.tail):
        raise PeerBroke("the archive of this database has a gap")
    return front


class Archive:
    """Keeps the archive of one database while it runs. ``told`` hears after each beat how far behind it is."""

    def __init__(
        self, name: str, files: Files, source: Source, told: Callable[[Behind], None], left: Left | None = None
    ) -> None:
        self.path = _path(name)
        self._name = name
        self._files = files
        self._source = source
        self._told = told
        self._left = left
        self._replaces = left.tape.secret if left is not None else b""
        self._receives = False
        self._whole_at_s = time.time()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._front: Front | None = None  # that was written last
        self._next: BasePart | None = None  # that is kept, and whose log is not yet
        self._pieces: tuple[Piece, ...] = ()
        self._position = self._begin = 0
        self._tail = b""
        self._anew()

    # -- the beat -------------------------------------------------------------------------------------------------------

    def keep_every(self, every_s: float) -> None:
        """Beat each ``every_s`` seconds from now on; for the first time soon: until there is a base, nothing is kept."""
        self._thread = threading.Thread(target=self._beats, args=(every_s,), name="keeps-log", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Keep what is new; raise why that cannot be."""
        if not self._receives:
            self._source.begin()
            self._receives = True
        self._source.check()
        if self._next is None and self._wants_base():
            self._take_base()
        self._ship()
        if self._unwritten:
            self._write_front()
        if self._pointed:
            self._end_left()
        if not self._unwritten:
            self._whole_at_s = time.time()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """A dump has all of it: take the archive back, and what it came from."""
        self.stop()
        if self._points_to() in {self._tape.secret, self._replaces} - {b""}:
            with contextlib.suppress(NotThere):
                self._files.remove(self.path)
        if self._count:
            self._tape.end(range(self._count))
        self._end_left()

    def _beats(self, every_s: float) -> None:
        if self._front is None:
            self._told(Behind(0, self._whole_at_s, NO_BASE))
        wait_s = min(every_s, FIRST_BEAT_SECONDS)
        while not self._stop.wait(wait_s):
            wait_s = every_s
            try:
                self.beat()
                self._told(Behind(0, self._whole_at_s, NO_BASE if self._unwritten else ""))
            except (WorldError, OSError, RuntimeError, TimeoutError) as error:  # it may go again at the next beat
                self._told(Behind(self._fall_behind(), self._whole_at_s, str(error)))

    def _fall_behind(self) -> int:
        """Return how much waits; where that is too much, let it go: a new base is taken when there is room again."""
        try:
            waiting = self._source.waiting_bytes(self._position + len(self._tail))
            if waiting > LAG_BYTES_MAX:
                self._source.let_go(self._position + waiting)
                self._gap, self._next = True, None
        except (WorldError, OSError, RuntimeError, TimeoutError):  # the server's machine does not answer
            return 0
        return waiting

    # -- the base -------------------------------------------------------------------------------------------------------

    def _wants_base(self) -> bool:
        if self._front is None or self._gap:
            return True
        base = self._front.base
        grown = self._position + len(self._tail) - base.start > max(LOG_BYTES_MIN, LOG_PER_BASE * base.size_bytes)
        return grown or len(self._pieces) >= PIECES_MAX

    def _take_base(self) -> None:
        base, number = self._source.base(), self._number()
        size = self._tape.keep(number, self._until_stopped(base.data))
        if self._front is None or self._gap:
            self._pieces, self._tail = (), b""
            self._begin = self._position = segment_start(base.start)
            self._gap = False
        self._next = BasePart(number, base.start, base.end, size)
        self._unwritten = True

    def _until_stopped(self, data: Iterator[bytes]) -> Iterator[bytes]:
        for piece in data:
            if self._stop.is_set():
                raise LeaseEnded("this database is being given back")
            yield piece

    # -- the log --------------------------------------------------------------------------------------------------------

    def _ship(self) -> None:
        """Take in what is new of the log."""
        while not self._stop.is_set():
            again = max(0, len(self._tail) - PAGE_BYTES)  # the last page may have been written on
            got = self._source.news(self._position + again, WAL_READ_BYTES)
            if got.gone:
                self._gap, self._next = True, None
                raise Damaged("a part of the log is gone at the server; a new base is taken")
            if len(got.data) < len(self._tail) - again:
                break
            tail = self._tail[:again] + got.data
            self._unwritten |= tail != self._tail
            self._tail = tail
            if got.whole:
                self._cut(len(tail))
                self._source.let_go(self._position)
            elif len(got.data) < WAL_READ_BYTES:
                break
        if len(self._tail) > TAIL_BYTES_MAX:
            self._cut(len(self._tail) - PAGE_BYTES)

    def _cut(self, size: int) -> None:
        """Let the beginning of the tail be a part of its own."""
        number = self._number()
        self._tape.keep(number, [self._tail[:size]])
        self._pieces = (*self._pieces, Piece(number, self._position, size))
        self._position += size
        self._tail = self._tail[size:]

    # -- the front ------------------------------------------------------------------------------------------------------

    def _write_front(self) -> None:
        ready = self._next is not None and self._next.end <= self._position + len(self._tail)
        base = self._next if ready else self._base_that_goes_on()
        if base is None or not self._is_ours():
            return
        begin = segment_start(base.start)
        front = Front(
            major=self._source.major,
            password=self._source.password,
            base=base,
            pieces=tuple(piece for piece in self._pieces if piece.position >= begin),
            position=self._position,
            tail=self._tail,
            count=self._count,
        )
        self._tape.write_front(_encode(front))
        before, self._front, self._pieces = self._front, front, front.pieces
        self._unwritten = False
        if ready:
            self._next = None
        if not self._pointed:
            self._point()
        if before is not None and before.base != base:
            self._tape.take_back(sorted(_numbers(before) - _numbers(front)))

    def _base_that_goes_on(self) -> BasePart | None:
        """Return the base of the front; None while a new one is to close a gap behind it."""
        front = self._front
        if front is None or self._gap or segment_start(front.base.start) < self._begin:
            return None
        return front.base

    def _number(self) -> int:
        self._count += 1
        return self._count - 1

    def _anew(self) -> None:
        """Begin a tape."""
        self._tape = Tape(self._files.session, os.urandom(32))
        self._count = 0
        self._front, self._next, self._pieces = None, None, ()
        self._begin = 0  # from here on the log is kept without a gap
        self._position = 0  # ... to here, and then comes the tail
        self._tail = b""
        self._unwritten = False  # something was taken in that the front does not say yet
        self._gap = False
        self._pointed = False

    # -- the name -------------------------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        """Whether the name still leads to this tape, or can; where another use took it, begin anew beside that."""
        there = self._points_to() if self._pointed else b""
        self._pointed = self._pointed and there == self._tape.secret  # it was removed: it is put there again
        if not there or self._pointed:
            return True
        self.path = _path(f"{self._name}-{time.time_ns()}")
        self._replaces = b""
        self._anew()
        return False

    def _point(self) -> None:
        there = self._points_to()
        if there not in {b"", self._replaces}:
            self.path = _path(f"{self._name}-{time.time_ns()}")
        self._files.put(_encode(Pointer(secret=self._tape.secret)), self.path)
        self._pointed = True

    def _points_to(self) -> bytes:
        try:
            return _pointer(self._files.read(self.path)).secret
        except NotThere:
            return b""

    def _end_left(self) -> None:
        if self._left is not None:
            self._left.end()
            self._left = None


def _numbers(front: Front) -> set[int]:
    return {front.base.number, *(piece.number for piece in front.pieces)}


def _path(name: str) -> str:
    return f"{FOLDER}/{name}.wal"


def _pointer(said: bytes) -> Pointer:
    try:
        return _read_pointer.decode(said)
    except (msgspec.DecodeError, RecursionError) as cause:
        raise PeerBroke("this is no archive of a database") from cause
