"""The bytes of a lane: frames between a holder and one worker, over one Unix stream socket.

A frame is ``header || meta || data``. Header, 16 bytes little-endian: kind (1), zero (3), length of meta (4), length of
data (8). Meta is msgpack of the type given in ``META``. Data are raw bytes: a pickle, and out-of-band buffers one after
the other; they stream in pieces of any size, up to 2^63 bytes. Many small calls or results share one frame.

A large buffer on one machine does not travel as data: it lies in a shared segment (``shm``), whose file descriptor came
once with a Segment frame. In ``places`` a triple ``(segment, offset, size)`` names where each buffer is: in a segment of
the sender, in the data of this frame (segment 0), or in a segment of the receiver (its number negated: a result that is
an argument unchanged goes back as its place alone). The first place is always the pickle.

Invariant: garbage gives PeerBroke here, and nothing above this module ever sees it.
Source: pickle protocol 5 with out-of-band data, PEP 574; SCM_RIGHTS, unix(7).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from enum import IntEnum
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from worldos.errors import PeerBroke

VERSION: Final = 1
HEADER: Final = struct.Struct("<B3xIQ")
META_BYTES_MAX: Final = 16 * 1024 * 1024
HELLO_BYTES_MAX: Final = 1024 * 1024
SMALL_BYTES: Final = 64 * 1024  # buffers below this stay inside the pickle; pickles below this share frames
READ_BYTES: Final = 256 * 1024
IOV_MAX: Final = 512
FDS_MAX: Final = 16
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(FDS_MAX * 4)


class FrameKind(IntEnum):
    """What a frame is. Holder to worker unless said otherwise."""

    HELLO = 1
    WELCOME = 2  # worker to holder
    REFUSED = 3  # worker to holder
    FUNCTION = 4
    FORGET = 5
    CALLS = 6
    CALL = 7
    REVOKE = 8
    REVOKED = 9  # worker to holder
    RESULTS = 10  # worker to holder
    RESULT = 11  # worker to holder
    SEGMENT = 12  # both ways
    RELEASE = 13  # both ways
    DROP = 14  # both ways
    INITIALIZE = 15
    INITIALIZED = 16  # worker to holder
    PRINTED = 17  # worker to holder
    EVENT = 18  # worker to holder
    RESPOND = 19
    EXEC = 20
    INPUT = 21
    STDIN = 22
    SIGNAL = 23
    STDOUT = 24  # worker to holder
    STDERR = 25  # worker to holder
    EXITED = 26  # worker to holder
    OUTPUT = 27  # worker to holder
    ROOM = 28  # the command that follows gets folders of its own (lanes/room.py), and others may follow it
    TOOK = 29  # worker to holder
    TIMES = 30  # worker to holder: of calls whose results follow, what they took
    TASKS = 31  # to a resident (lanes/resident.py): index and attempt of each task that is to be done
    STOP = 32  # ... index of a task, and the signal that it gets
    ENDED = 33  # worker to holder


class Status(IntEnum):
    """How a call ended."""

    RETURNED = 0
    RAISED = 1
    UNSENDABLE = 2  # it returned what cannot be pickled
    UNREADABLE = 3  # its function or arguments cannot be loaded there


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The holder's first word. ``path``: its ``sys.path``, for functions that are found by name."""

    version: int
    python: tuple[int, int]
    path: list[str] = []
    shares_memory: bool = False
    times: bool = False  # tell how long calls take
    measures: bool = False  # ... and what of memory and disks


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's answer. ``why``: how the worker before it on this door ended, empty if there was none."""

    pid: int
    memory_bytes: int
    why: str = ""
    over_quota: bool = False


class Measured(msgspec.Struct, frozen=True, array_like=True):
    """What a call took. ``memory_bytes``: the most beyond what a worker has at first; 0: not known."""

    call: int
    wall_us: int
    cpu_us: int
    memory_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


Where = tuple[int, int, int]


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One call with large arguments."""

    call: int
    function: int
    places: list[Where]


class Result(msgspec.Struct, frozen=True, array_like=True):
    """One large result."""

    busy_ns: int
    call: int
    status: int
    places: list[Where]


class Exec(msgspec.Struct, frozen=True, kw_only=True):
    """Run a command instead of calls. ``results``: send new and changed files back at the end."""

    argv: list[str]
    env: dict[str, str] = {}
    results: bool = True


class Took(msgspec.Struct, frozen=True, array_like=True):
    """What a command in a room took. Before it comes ``OUTPUT`` with its checkpoint, empty unless it was sent a signal."""

    cpu_us: int
    wall_us: int
    memory_bytes: int


class How(IntEnum):
    """How a task of a resident ended: by itself, or stopped before it began, or with a signal that was meant for another."""

    DONE = 0
    UNBEGUN = 1
    LOST = 2


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """The end of a task. ``made``: what it made, if that is small; else it came before, as ``OUTPUT``."""

    how: How
    index: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    code: Annotated[int, msgspec.Meta(ge=0, le=255)]
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    cpu_us: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    wall_us: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    made: Annotated[bytes, msgspec.Meta(max_length=1024)] = b""


_Index = Annotated[int, msgspec.Meta(ge=0, le=2**31)]

META: Final[dict[FrameKind, Any]] = {
    FrameKind.HELLO: Hello,
    FrameKind.WELCOME: Welcome,
    FrameKind.REFUSED: str,
    FrameKind.FUNCTION: int,
    FrameKind.FORGET: list[int],
    FrameKind.CALLS: list[tuple[int, int, bytes]],
    FrameKind.CALL: Call,
    FrameKind.REVOKE: list[int],
    FrameKind.REVOKED: list[int],
    FrameKind.RESULTS: tuple[int, list[tuple[int, int, bytes]]],
    FrameKind.RESULT: Result,
    FrameKind.SEGMENT: tuple[int, int],
    FrameKind.RELEASE: list[int],
    FrameKind.DROP: list[int],
    FrameKind.INITIALIZE: int,
    FrameKind.INITIALIZED: int,
    FrameKind.PRINTED: tuple[int, str],
    FrameKind.EVENT: tuple[int, bytes],
    FrameKind.RESPOND: tuple[int, bytes],
    FrameKind.EXEC: Exec,
    FrameKind.INPUT: None,
    FrameKind.STDIN: None,
    FrameKind.SIGNAL: int,
    FrameKind.STDOUT: None,
    FrameKind.STDERR: None,
    FrameKind.EXITED: tuple[int, str],
    FrameKind.OUTPUT: None,
    FrameKind.ROOM: None,
    FrameKind.TOOK: Took,
    FrameKind.TIMES: list[Measured],
    FrameKind.TASKS: list[tuple[_Index, _Index]],
    FrameKind.STOP: tuple[_Index, int],
    FrameKind.ENDED: list[Ended],
}
_DECODERS: Final = [
    msgspec.msgpack.Decoder(META[FrameKind(k)]) if k else msgspec.msgpack.Decoder() for k in range(len(META) + 1)
]
_encode = msgspec.msgpack.Encoder().encode

Buffer = bytes | bytearray | memoryview


class Frame(NamedTuple):
    """A received frame: its meta decoded and checked, its data as received (the receiver owns it)."""

    kind: int
    meta: Any
    data: bytearray


_NO_DATA: Final = bytearray()


def frame(kind: FrameKind, meta: object, data_bytes: int = 0) -> bytes:
    """Return header and meta of a frame; ``data_bytes`` of data must follow."""
    body = _encode(meta)
    return HEADER.pack(kind, len(body), data_bytes) + body


def inline(places: list[Where], data: bytearray) -> list[memoryview | None]:
    """Return the buffers that lie in a frame's own data, None for those that lie elsewhere."""
    view = memoryview(data)
    at = 0
    found: list[memoryview | None] = []
    for segment, _offset, size in places:
        if segment:
            found.append(None)
            continue
        if size < 0 or at + size > len(data):
            raise PeerBroke("a frame names more bytes than it has")
        found.append(view[at : at + size])
        at += size
    if not found:
        raise PeerBroke("a frame without a pickle")
    return found


class Inbox:
    """Frames out of a stream: feed it by ``receive``; it reads from the socket straight into place.

    ``fds`` collects descriptors that came along, in order. ``data_bytes_max`` bounds what one frame may claim.
    """

    __slots__ = ("_data", "_end", "_got", "_head", "_mem", "_sock", "_start", "data_bytes_max", "fds", "takes_fds")

    def __init__(self, sock: socket.socket, *, takes_fds: bool, data_bytes_max: int = 0) -> None:
        self._sock = sock
        self.takes_fds = takes_fds
        self.data_bytes_max = data_bytes_max
        self.fds: deque[int] = deque()
        self._mem = memoryview(bytearray(READ_BYTES))
        self._start = 0
        self._end = 0
        self._head: tuple[int, Any] | None = None
        self._data = _NO_DATA
        self._got = 0

    def receive(self) -> list[Frame]:
        """Read once; return the frames that are complete now. Raise EOFError at the end, BlockingIOError if empty."""
        if self._head is not None:
            return self._receive_data()
        size = self._read(self._mem[self._end :])
        self._end += size
        return self._parse()

    def _read(self, into: memoryview) -> int:
        if self.takes_fds:
            size, ancillary, _flags, _address = self._sock.recvmsg_into([into], _ANCILLARY_BYTES)
            for level, kind, raw in ancillary:  # mostly none
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
                    self.fds.extend(fds)
        else:
            size = self._sock.recv_into(into)
        if size == 0:
            raise EOFError
        return size

    def _receive_data(self) -> list[Frame]:
        self._got += self._read(memoryview(self._data)[self._got :])
        return self._parse() if self._got == len(self._data) else []

    def _parse(self) -> list[Frame]:
        frames: list[Frame] = []
        mem = self._mem
        while True:
            if self._head is not None:
                if self._got < len(self._data):
                    break
                frames.append(Frame(*self._head, self._data))
                self._head = None
                self._data = _NO_DATA
            have = self._end - self._start
            if have < HEADER.size:
                break
            kind, meta_bytes, data_bytes = HEADER.unpack_from(mem, self._start)
            if not 0 < kind < len(_DECODERS) or meta_bytes > META_BYTES_MAX or data_bytes > self.data_bytes_max:
                raise PeerBroke(f"a frame of kind {kind} with {meta_bytes} + {data_bytes} bytes does not exist")
            if have < HEADER.size + meta_bytes:
                self._make_room(HEADER.size + meta_bytes)
                break
            self._start += HEADER.size
            meta = self._decode(kind, mem[self._start : self._start + meta_bytes])
            self._start += meta_bytes
            if not data_bytes:
                frames.append(Frame(kind, meta, _NO_DATA))
                continue
            self._begin_data(kind, meta, data_bytes)
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._mem):
            self._make_room(HEADER.size)
        return frames

    @staticmethod
    def _decode(kind: int, body: memoryview) -> Any:
        try:
            return _DECODERS[kind].decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PeerBroke(f"a frame of kind {kind} cannot be read: {error}") from None

    def _begin_data(self, kind: int, meta: Any, data_bytes: int) -> None:
        try:
            self._data = bytearray(data_bytes)
        except MemoryError:
            raise PeerBroke(f"a frame claims {data_bytes} bytes, more than there is memory") from None
        self._head = (kind, meta)
        self._got = min(data_bytes, self._end - self._start)
        self._data[: self._got] = self._mem[self._start : self._start + self._got]
        self._start += self._got

    def _make_room(self, frame_bytes: int) -> None:
        """Move what is left to the front of a buffer that holds the frame."""
        rest = bytes(self._mem[self._start : self._end])
        if frame_bytes > len(self._mem):
            self._mem = memoryview(bytearray(frame_bytes + READ_BYTES))
        self._mem[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def close(self) -> None:
        """Close descriptors that nobody took."""
        while self.fds:
            os.close(self.fds.popleft())


class Outbox:
    """Bytes on their way into a socket, in order, some with a file descriptor. Nothing is copied."""

    __slots__ = ("_parts", "_sock", "bytes_waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: deque[tuple[memoryview, int]] = deque()
        self.bytes_waiting = 0

    def put(self, part: Buffer, fd: int = -1) -> None:
        """Queue bytes; ``fd`` travels with the first of them and stays the caller's."""
        view = memoryview(part)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        if view.nbytes:
            self._parts.append((view, fd))
            self.bytes_waiting += view.nbytes

    def send(self, part: bytes) -> bool:
        """Put and flush, without a detour if nothing waits."""
        if not self._parts:
            try:
                sent = self._sock.send(part)
            except BlockingIOError:
                sent = 0
            if sent == len(part):
                return True
            part = part[sent:]
        self.put(part)
        return self.flush()

    def flush(self) -> bool:
        """Send what the socket takes; return whether all is sent. Raises OSError when the other side is gone."""
        parts = self._parts
        while parts:
            view, fd = parts[0]
            try:
                if fd >= 0:
                    sent = socket.send_fds(self._sock, [view], [fd])
                elif len(parts) == 1:
                    sent = self._sock.send(view)
                else:
                    sent = self._sock.sendmsg(self._run())
            except BlockingIOError:
                return False
            self._sent(sent)
        return True

    def _run(self) -> list[memoryview]:
        """Return the parts up to the next one with a descriptor."""
        run: list[memoryview] = []
        for view, fd in self._parts:
            if fd >= 0 or len(run) == IOV_MAX:
                break
            run.append(view)
        return run

    def _sent(self, size: int) -> None:
        self.bytes_waiting -= size
        parts = self._parts
        while size:
            view, _fd = parts[0]
            if size < view.nbytes:
                parts[0] = (view[size:], -1)
                return
            size -= view.nbytes
            parts.popleft()
