"""A program's end of the way to one depot: requests go out one after another, answers come in any order, each to its future.

    with StoreLink.open(path, who) as link:
        link.put_share(share, data, digests=digests).result(timeout=5)
        link.get_share(share, into=buffer).result().data

No call waits for the depot: what the socket does not take at once is written by a thread, so that a sleeping depot holds up
nobody (but above WAITING_BYTES_MAX a caller waits). Bytes that are sent stay where they are and must not change before the
future is done or the link is closed. A cancelled future's answer is passed over. Results are set by the reading thread: a
callback there must be short. What refuses is raised as the error of ours that it is; a link that ends fails all with
Unreachable. Safe for several threads.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from worldos.depot.limits import ENTRIES_BYTES_MAX, LIST_LIMIT_MAX, PAYLOAD_BYTES_MAX, RTT_PART, WAITING_BYTES_MAX
from worldos.depot.stream import IOV_MAX, Buffer, Inlet, time_limits
from worldos.depot.wire import (
    AnyReply,
    AnyRequest,
    Append,
    Care,
    Cared,
    CareList,
    Cares,
    Done,
    Drop,
    Entries,
    Forget,
    GetShare,
    Got,
    Have,
    HeadList,
    Heads,
    Held,
    Last,
    LogHead,
    PutShare,
    ReadLog,
    Refused,
    Restore,
    ShareKind,
    Usage,
    UsageTold,
    Who,
    error_of,
    frame_head,
    read_reply,
)
from worldos.errors import BadRequest, PeerBroke, Unreachable, WorldError
from worldos.store.entry import Entry

OPEN_TIMEOUT_S: Final = 5.0
CLOSE_S: Final = 5.0
NOTHING: Final = memoryview(b"")

T = TypeVar("T")


class Fetched(NamedTuple):
    """Bytes of a share, and the digests of its leaves where they were asked for."""

    digests: bytes
    data: memoryview


class _Pending(NamedTuple):
    future: Future[Any]
    read: Callable[[Any, memoryview], Any]
    into: memoryview | None
    length: int  # of the payload, where it is known
    begun_ns: int  # 0: says nothing about the way


class StoreLink:
    """A connection to a depot. ``open`` one; the caller says who it is only to the depot of its own machine."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self._sock = sock
        self._path = path
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._queue: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._writing = False
        self._handed = False
        self._writer: threading.Thread | None = None
        self._broken: WorldError | None = None
        self._rtt_us = 0
        self._reader = threading.Thread(target=self._read_all, name="store link", daemon=True)

    @classmethod
    def open(cls, path: str | Path, who: Who | None = None) -> Self:
        """Connect to a depot's socket; with ``who`` to that of this machine, without to one that an agent laid."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            time_limits(sock, receive_s=0, send_s=OPEN_TIMEOUT_S)  # a busy door makes who knocks wait
            sock.connect(str(path))
            time_limits(sock, receive_s=0, send_s=0)
        except OSError as cause:
            sock.close()
            raise Unreachable(f"no depot answers at {path}") from cause
        link = cls(sock, str(path))
        if who is not None:
            link._post([memoryview(frame_head(who))])
        link._reader.start()
        return link

    # -- shares ------------------------------------------------------------------------------------------------------

    def put_share(
        self, share: bytes, data: Buffer, *, owner: str = "", kind: ShareKind = "share", digests: bytes = b""
    ) -> Future[None]:
        """Have a share kept; done when it is on the depot's disk."""
        view = memoryview(data).cast("B")
        if not 0 < view.nbytes <= PAYLOAD_BYTES_MAX:
            raise BadRequest(f"a share has 1 to {PAYLOAD_BYTES_MAX} bytes, not {view.nbytes}")
        request = PutShare(id=self._number(), share=share, owner=owner, kind=kind, digests=digests)
        return self._ask(request, lambda reply, _: _nothing(_is(Done, reply)), payload=view)

    def get_share(
        self,
        share: bytes,
        offset: int = 0,
        length: int = -1,
        *,
        digests: bool = False,
        into: memoryview | None = None,
    ) -> Future[Fetched]:
        """Fetch a share or a part of it, into the caller's own buffer if it is given: it is the depot's until then."""
        request = GetShare(id=self._number(), share=share, offset=offset, length=length, digests=digests)

        def read(reply: AnyReply, data: memoryview) -> Fetched:
            return Fetched(_is(Got, reply).digests, data)

        return self._ask(request, read, into=into, length=length)

    def have(self, shares: Sequence[bytes]) -> Future[tuple[int, ...]]:
        """Ask for the size of each share, -1 where it is not there."""
        return self._ask(Have(id=self._number(), shares=tuple(shares)), lambda reply, _: _is(Held, reply).sizes)

    def drop(self, shares: Sequence[bytes]) -> Future[int]:
        """Let shares go; they are in the trash for a while. Tells how many there were."""
        return self._ask(Drop(id=self._number(), shares=tuple(shares)), lambda reply, _: _is(Done, reply).count)

    def restore(self, shares: Sequence[bytes]) -> Future[int]:
        """Take shares out of the trash; tells how many there were."""
        return self._ask(Restore(id=self._number(), shares=tuple(shares)), lambda reply, _: _is(Done, reply).count)

    # -- logs --------------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], *, durable: bool = True) -> Future[int]:
        """Have entries kept; tells how many were news to the depot."""
        request = Append(id=self._number(), entries=tuple(entries), durable=durable)
        return self._ask(request, lambda reply, _: _is(Done, reply).count)

    def read_log(self, log: bytes, from_seq: int = 0, max_bytes: int = ENTRIES_BYTES_MAX) -> Future[tuple[Entry, ...]]:
        """Read a log from an entry on; one at least comes, if there is one."""
        request = ReadLog(id=self._number(), log=log, from_seq=from_seq, max_bytes=max_bytes)
        return self._ask(request, lambda reply, _: _is(Entries, reply).entries)

    def last(self, logs: Sequence[bytes]) -> Future[tuple[Entry, ...]]:
        """Read the last entry of each of these logs that is there."""
        return self._ask(Last(id=self._number(), logs=tuple(logs)), lambda reply, _: _is(Entries, reply).entries)

    def heads(self, after: bytes = b"", limit: int = LIST_LIMIT_MAX) -> Future[tuple[LogHead, ...]]:
        """List logs and how far they go, in the order of their ids."""
        request = Heads(id=self._number(), after=after, limit=limit)
        return self._ask(request, lambda reply, _: _is(HeadList, reply).heads)

    # -- care and use ------------------------------------------------------------------------------------------------

    def care(self, locator: bytes, verify: bytes, owner: str) -> Future[None]:
        """Have a file looked after, with the right to verify it."""
        request = Care(id=self._number(), locator=locator, verify=verify, owner=owner)
        return self._ask(request, lambda reply, _: _nothing(_is(Done, reply)))

    def cares(self, after: bytes = b"", limit: int = LIST_LIMIT_MAX) -> Future[tuple[Cared, ...]]:
        """List what is looked after, in the order of the locators."""
        request = Cares(id=self._number(), after=after, limit=limit)
        return self._ask(request, lambda reply, _: _is(CareList, reply).cares)

    def forget(self, locator: bytes) -> Future[None]:
        """Have a file looked after no more."""
        return self._ask(Forget(id=self._number(), locator=locator), lambda reply, _: _nothing(_is(Done, reply)))

    def usage(self) -> Future[UsageTold]:
        """Ask what is kept there."""
        return self._ask(Usage(id=self._number()), lambda reply, _: _is(UsageTold, reply))

    # -- the link itself ---------------------------------------------------------------------------------------------

    @property
    def rtt_us(self) -> int:
        """The round trip of small questions, smoothed; 0 while none was asked."""
        return self._rtt_us

    @property
    def waiting_bytes(self) -> int:
        """What the socket did not take yet."""
        return self._waiting_bytes

    @property
    def is_open(self) -> bool:
        """Whether the depot was not lost yet."""
        return self._broken is None

    def close(self) -> None:
        """Hang up; what is open fails with Unreachable. Buffers are the caller's again when this returns."""
        self._break(Unreachable("the link was closed"))
        for thread in (self._reader, self._writer):
            if thread is not None and thread is not threading.current_thread() and thread.is_alive():
                thread.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- asking ------------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        return next(self._numbers)

    def _ask(
        self,
        request: AnyRequest,
        read: Callable[[Any, memoryview], T],
        *,
        payload: memoryview = NOTHING,
        into: memoryview | None = None,
        length: int = -1,
    ) -> Future[T]:
        future: Future[T] = Future()
        plain = not payload.nbytes and not isinstance(request, GetShare | Append)
        begun_ns = time.monotonic_ns() if plain else 0
        with self._lock:
            if self._broken is not None:
                future.set_exception(self._broken)
                return future
            self._pending[request.id] = _Pending(future, read, into, length, begun_ns)
        head = memoryview(frame_head(request, payload.nbytes))
        self._post([head, payload] if payload.nbytes else [head])
        return future

    # -- writing -----------------------------------------------------------------------------------------------------

    def _post(self, parts: list[memoryview]) -> None:
        """Queue a frame; write what the socket takes now, and have the thread write the rest."""
        with self._change:
            while self._waiting_bytes > WAITING_BYTES_MAX and self._broken is None:
                self._change.wait()
            if self._broken is not None:
                return
            self._queue.extend(parts)
            self._waiting_bytes += sum(part.nbytes for part in parts)
            if self._writing:
                return
            self._writing = True
        if not self._write(socket.MSG_DONTWAIT):
            with self._change:
                self._handed = True
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write_rest, name="store link out", daemon=True)
                    self._writer.start()
                self._change.notify_all()

    def _write_rest(self) -> None:
        while True:
            with self._change:
                while not self._handed and self._broken is None:
                    self._change.wait()
                if self._broken is not None:
                    return
                self._handed = False
            self._write(0)

    def _write(self, flags: int) -> bool:
        """Write the queue, as the one thread that may; return False when the socket takes no more now."""
        while True:
            with self._change:
                if self._broken is not None:
                    return True
                parts = list(itertools.islice(self._queue, IOV_MAX))
                if not parts:
                    self._writing = False
                    return True
            try:
                sent = self._sock.sendmsg(parts, (), flags)
            except BlockingIOError:
                return False
            except OSError:
                return True  # it hung up, and said why: the reading thread hears it. Nothing is written any more
            with self._change:
                self._sent(sent)

    def _sent(self, sent: int) -> None:
        self._waiting_bytes -= sent
        queue = self._queue
        while queue and sent >= queue[0].nbytes:
            sent -= queue.popleft().nbytes
        if sent and queue:
            queue[0] = queue[0][sent:]
        self._change.notify_all()

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        inlet = Inlet(self._sock, stall_s=0)  # this socket waits as long as it takes
        error: WorldError = Unreachable(f"the depot at {self._path} hung up")
        try:
            while True:
                frame = inlet.next()
                if frame is None:
                    break
                self._take(inlet, *frame)
        except WorldError as why:
            error = why
        self._break(error)
        self._sock.close()

    def _take(self, inlet: Inlet, head: memoryview | bytearray, payload_bytes: int) -> None:
        reply = read_reply(head)
        with self._lock:
            pending = self._pending.pop(reply.id, None)
        if pending is None:
            if isinstance(reply, Refused) and not reply.id:
                raise error_of(reply)
            raise PeerBroke("an answer came to what was not asked")
        if pending.begun_ns:
            self._measured((time.monotonic_ns() - pending.begun_ns) // 1000)
        if not pending.future.set_running_or_notify_cancel():
            inlet.skip()
            return
        try:
            if isinstance(reply, Refused):
                raise error_of(reply)
            target = _target(pending, payload_bytes)
            if payload_bytes:
                inlet.payload_into(target)
            result = pending.read(reply, target)
        except WorldError as error:
            pending.future.set_exception(error)
            if isinstance(error, PeerBroke | Unreachable) and not isinstance(reply, Refused):
                raise
        else:
            pending.future.set_result(result)

    def _measured(self, took_us: int) -> None:
        old = self._rtt_us
        self._rtt_us = max(1, old + (took_us - old) // RTT_PART if old else took_us)

    def _break(self, error: WorldError) -> None:
        with self._change:
            if self._broken is None:
                self._broken = error
            pending, self._pending = self._pending, {}
            self._queue.clear()
            self._waiting_bytes = 0
            self._change.notify_all()
            error = self._broken
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        for each in pending.values():
            if each.future.set_running_or_notify_cancel():
                each.future.set_exception(error)


def _target(pending: _Pending, payload_bytes: int) -> memoryview:
    """Return where a payload is to be laid."""
    if 0 <= pending.length != payload_bytes:
        raise PeerBroke(f"{payload_bytes} bytes came where {pending.length} were asked for")
    if pending.into is None:
        return memoryview(bytearray(payload_bytes)) if payload_bytes else NOTHING
    if payload_bytes > pending.into.nbytes:
        raise BadRequest(f"{payload_bytes} bytes came, and there is room for {pending.into.nbytes}")
    return pending.into[:payload_bytes]


def _is(kind: type[T], reply: AnyReply) -> T:
    if not isinstance(reply, kind):
        raise PeerBroke(f"{type(reply).__name__} is no answer to that")
    return reply


def _nothing(done: Done) -> None:
    del done
