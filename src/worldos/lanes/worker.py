"""A worker: one process, one holder at its door, one call at a time.

The loop blocks in ``recv``; there is no thread, so a small call costs little more than its bytes. Between calls that take
long the worker looks for news (a call taken back, a new function). Results leave when nothing more is to do, or every
millisecond, many in one frame.

It serves the first connection that greets it properly and ends when that holder hangs up: what a holder left in a process
is never seen by the next. A connection that says anything else is closed, and the door stays open.
What it prints goes to the holder. Ctrl-C (SIGINT) ends the running call, not the worker.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from worldos.errors import NotAllowed, PeerBroke
from worldos.lanes import driving, pack, running, shm, wasm, wire
from worldos.lanes.gauge import TIMED_NS, Gauge
from worldos.lanes.herald import Herald
from worldos.lanes.wire import Frame, FrameKind, Status
from worldos.model.isolation import Isolation

UNKNOWN_USER: Final = 65534  # what the kernel shows of a user that has no number in our namespace
ISOLATION_NAME: Final = "WORLDOS_ISOLATION"  # in a worker's environment: how what it runs is kept apart
GREETING_SECONDS: Final = 5.0
GREETERS_MAX: Final = 16
FLUSH_NS: Final = 1_000_000
FLUSH_BYTES: Final = 256 * 1024
LOOK_NS: Final = 1_000_000
PRINT_NS: Final = 100_000_000  # what a long call prints is seen this soon

Job = tuple[int, "Callable[..., Any] | Exception", Any, list[memoryview]]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told when it is made. ``why``: how its predecessor at this door ended.

    ``only_words``: the holder may drive what stands here, and send no code of its own (driving.py).
    """

    memory_bytes: int = 0
    driver: str | None = None
    arguments: dict[str, int | bool | str] = {}
    why: str = ""
    over_quota: bool = False
    only_words: bool = False


class Stop(Exception):
    """The holder has hung up, or the command has ended."""


class Worker:
    """The worker's end of a lane, after the greeting."""

    def __init__(self, sock: socket.socket, inbox: wire.Inbox, terms: Terms, hello: wire.Hello) -> None:
        self.sock = sock
        self.inbox = inbox
        self.terms = terms
        self._functions: dict[int, Callable[..., Any] | Exception] = {}
        self._jobs: deque[Job] = deque()
        self._results: list[tuple[int, int, bytes | memoryview]] = []
        self._result_bytes = 0
        self._busy_ns = 0
        self._last_look_ns = 0
        self._gauge = Gauge() if hello.times else None
        self._tells_all = hello.measures
        self._printed: list[tuple[int, str]] = []
        self._printed_ns = 0
        self._calling = False
        self._windows = shm.Windows(writable=False)
        self._pool = shm.Pool(min(shm.POOL_IDLE_BYTES, terms.memory_bytes // 4 or shm.POOL_IDLE_BYTES))
        self._told: set[int] = set()  # segments of the pool that the holder has
        self._sending = threading.Lock()  # a driver's threads send events beside the results
        self._keeping = threading.Lock()  # results are kept by one thread and may be sent by another
        self._herald = Herald(self._send_results)

    def run(self) -> None:
        """Serve until the holder hangs up."""
        signal.signal(signal.SIGINT, self._interrupted)
        os.register_at_fork(after_in_child=self._forked)
        try:
            while True:
                self.take(self.inbox.receive())
                while self._jobs:
                    if self._results:
                        self._herald.watch()
                    self._do(self._jobs.popleft())
                    now_ns = time.perf_counter_ns()
                    if now_ns - self._last_look_ns > LOOK_NS:
                        self._look(now_ns)
                self.flush()
        except (EOFError, Stop, OSError):
            return

    def _interrupted(self, _number: int, _frame: object) -> None:
        if self._calling:
            raise KeyboardInterrupt

    def _forked(self) -> None:
        """Be no worker in a process that a call has forked: it must not answer in our name, nor hold our socket open."""
        os.close(self.sock.detach())
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        self._sending, self._keeping = threading.Lock(), threading.Lock()  # another thread may have had them

    def _look(self, now_ns: int) -> None:
        """Send what is ready and take in what has come, without waiting."""
        self.flush()
        self._last_look_ns = now_ns
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        while poll.poll(0):
            self.take(self.inbox.receive())

    def take(self, frames: list[Frame]) -> None:
        """Act on what the holder says."""
        for position, frame in enumerate(frames):
            kind, meta, data = frame
            if kind == FrameKind.CALLS:
                self._jobs.extend([(call, self._function(fn), args, []) for call, fn, args in meta])
            elif kind == FrameKind.CALL:
                args, buffers = self._located(meta.places, data)
                self._jobs.append((meta.call, self._function(meta.function), args, buffers))
            elif kind == FrameKind.FUNCTION:
                self._functions[meta] = _loaded(data, only_words=self.terms.only_words)
            elif kind == FrameKind.FORGET:
                for number in meta:
                    self._functions.pop(number, None)
            elif kind == FrameKind.REVOKE:
                self._revoke(set(meta))
            elif kind == FrameKind.INITIALIZE:
                self._initialize(meta, data)
            elif kind in {FrameKind.EXEC, FrameKind.INPUT, FrameKind.ROOM} and not self.terms.only_words:
                self.sock.setblocking(False)  # noqa: FBT003
                outbox, wasm_bytes = wire.Outbox(self.sock), self.terms.memory_bytes if only_wasm() else None
                running.Running(self.inbox, outbox, self.sock.fileno(), wasm_bytes).run(frames[position:])
                raise Stop
            else:
                self._take_memory(kind, meta)

    def _take_memory(self, kind: int, meta: Any) -> None:
        """Act on what is said about shared memory."""
        if kind == FrameKind.SEGMENT:
            if not self.inbox.fds:
                raise PeerBroke("a shared segment came without its descriptor")
            number, size = meta
            self._windows.add(number, size, self.inbox.fds.popleft())
        elif kind == FrameKind.RELEASE:
            for number in meta:
                self._pool.release(number)
        elif kind == FrameKind.DROP:
            for number in meta:
                self._windows.drop(number)
        else:
            raise PeerBroke(f"a holder does not send frames of kind {kind}")

    def _function(self, number: int) -> Callable[..., Any] | Exception:
        return self._functions.get(number) or PeerBroke(f"function {number} never came")

    def _located(self, places: list[wire.Where], data: bytearray) -> tuple[memoryview, list[memoryview]]:
        """Return the pickle and the buffers that ``places`` name; both read-only."""
        parts = [
            part.toreadonly() if part is not None else self._windows.view(*where)
            for part, where in zip(wire.inline(places, data), places, strict=True)
        ]
        return parts[0], parts[1:]

    def _revoke(self, calls: set[int]) -> None:
        back = [job[0] for job in self._jobs if job[0] in calls]
        if back:
            self._jobs = deque(job for job in self._jobs if job[0] not in calls)
            self.send(wire.frame(FrameKind.REVOKED, back))

    def _initialize(self, number: int, data: bytearray) -> None:
        status, out, buffers = self._outcome(self._function(number), memoryview(data), [])
        self._flush_printed()
        body = b"" if status == Status.RETURNED else b"".join([out, *buffers])
        self.send(wire.frame(FrameKind.INITIALIZED, int(status), len(body)), body)

    def _do(self, job: Job) -> None:
        call, function, args, buffers = job
        started_ns = time.perf_counter_ns()
        gauge = self._gauge
        if gauge is not None:
            gauge.begin(started_ns)
        status, data, out = self._outcome(function, args, buffers)
        del job, args, buffers, function
        ended_ns = time.perf_counter_ns()
        busy_ns = ended_ns - started_ns
        if gauge is not None and busy_ns >= TIMED_NS:
            gauge.end(call, busy_ns, ended_ns)
        if out or len(data) >= wire.SMALL_BYTES:
            self._busy_ns += busy_ns
            self._send_large(call, status, data, out)
            return
        with self._keeping:
            self._busy_ns += busy_ns
            self._results.append((call, status, data))
            self._result_bytes += len(data)
        if self._result_bytes > FLUSH_BYTES:
            self.flush()

    def _outcome(
        self, function: Callable[..., Any] | Exception, args: Any, buffers: list[memoryview]
    ) -> tuple[Status, bytes | memoryview, list[memoryview]]:
        if isinstance(function, Exception):
            return Status.UNREADABLE, *pack.pack_exception(function)[1:]
        try:
            unpack = driving.plain if self.terms.only_words else pack.unpack
            positional, named = unpack(args, buffers)
        except BaseException as error:  # noqa: BLE001 - loading runs the user's code: anything may come
            return Status.UNREADABLE, *pack.pack_exception(error)[1:]
        del args, buffers
        try:
            self._calling = True
            value = function(*positional, **named)
            self._calling = False
        except BaseException as error:  # noqa: BLE001 - the caller gets whatever it is, SystemExit and all
            self._calling = False
            return pack.pack_exception(error)
        del positional, named
        return pack.pack_result(value, self._windows.thaw if self._windows.mapped else None)

    def _send_large(self, call: int, status: Status, data: Any, buffers: list[memoryview]) -> None:
        self.flush()
        parts = [memoryview(data), *buffers]
        del data
        buffers.clear()
        places: list[wire.Where] = []
        inline: list[memoryview] = []
        while parts:
            size = parts[0].nbytes
            segment = self._pool.take(size) if self.inbox.takes_fds and size >= shm.SHARE_BYTES else None
            if segment is None:
                inline.append(parts.pop(0))
                places.append((0, 0, size))
                continue
            own = self._windows.locate(parts[0])
            if own is None:
                segment.write(parts.pop(0))
            else:  # an argument, or a piece of one, comes back: unless the function kept it, it can go as it is
                del parts[0]
                if not self._windows.seen(own[0]):
                    self._pool.release(segment.number)
                    places.append((-own[0], own[1], size))
                    continue
                self._windows.copy(*own, size, segment)
            self._tell(segment)
            places.append((segment.number, 0, size))
        self._send_times()
        meta = wire.Result(busy_ns=self._busy_ns, call=call, status=status, places=places)
        self._busy_ns = 0
        self.send(wire.frame(FrameKind.RESULT, meta, sum(part.nbytes for part in inline)), *inline)

    def _tell(self, segment: shm.Segment) -> None:
        """Let the holder have a segment, once."""
        if segment.number not in self._told:
            self._told.add(segment.number)
            with self._sending:
                outbox = wire.Outbox(self.sock)
                outbox.put(wire.frame(FrameKind.SEGMENT, (segment.number, segment.size)), segment.fd)
                outbox.flush()

    def flush(self) -> None:
        """Send what is printed and what is done."""
        if self._printed:
            self._flush_printed()
        if self._windows.released:
            self.send(wire.frame(FrameKind.RELEASE, self._windows.take_released()))
        if self._pool.retired:
            self._told.difference_update(self._pool.retired)
            self.send(wire.frame(FrameKind.DROP, self._pool.retired))
            self._pool.retired = []
        if self._results:
            self._send_results()

    def _send_results(self) -> None:
        with self._keeping:
            results, busy_ns = self._results, self._busy_ns
            self._results, self._result_bytes, self._busy_ns = [], 0, 0
        if results:
            self._send_times()
            with self._sending:
                self.sock.sendall(wire.frame(FrameKind.RESULTS, (busy_ns, results)))

    def _send_times(self) -> None:
        if self._gauge is not None and (measured := self._gauge.taken()):
            told = measured if self._tells_all else [(each.call, each.wall_us, each.cpu_us) for each in measured]
            self.send(wire.frame(FrameKind.TIMES, told))

    def send(self, head: bytes, *parts: Any) -> None:
        """Send one frame, whole."""
        outbox = wire.Outbox(self.sock)
        for part in (head, *parts):
            outbox.put(part)
        with self._sending:
            outbox.flush()

    def send_event(self, number: int, body: bytes) -> None:
        """Send what a driver tells its holder."""
        self.send(wire.frame(FrameKind.EVENT, (number, body)))

    def print(self, stream: int, text: str) -> None:
        """Keep what was printed until the next flush."""
        self._printed.append((stream, text))
        if len(self._printed) > 1000 or time.perf_counter_ns() - self._printed_ns > PRINT_NS:
            self._flush_printed()

    def _flush_printed(self) -> None:
        printed, self._printed = self._printed, []
        self._printed_ns = time.perf_counter_ns()
        for stream in (1, 2):
            text = "".join([t for s, t in printed if s == stream])
            if text:
                self.send(wire.frame(FrameKind.PRINTED, (stream, text)))


class _Printed(io.TextIOBase):
    """``sys.stdout`` of a worker: what is written goes to the holder with the next results."""

    encoding = "utf-8"

    def __init__(self, worker: Worker, stream: int) -> None:
        self._worker = worker
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream

    def write(self, text: str) -> int:
        self._worker.print(self._stream, text)
        return len(text)


def only_wasm() -> bool:
    """Tell whether nothing but WebAssembly may run in this process."""
    return os.environ.get(ISOLATION_NAME) == Isolation.WASM


def _loaded(blob: bytearray, *, only_words: bool) -> Callable[..., Any] | Exception:
    """Return the function, or why it cannot be loaded: its calls will say."""
    if only_wasm():
        hint = "send a program: wos run --isolation wasm --with prog.wasm -- prog.wasm; or ask an owner for more trust"
        return NotAllowed("that node runs only WebAssembly for you, not Python", hint=hint)
    try:
        function: Callable[..., Any] = driving.plain(blob) if only_words else pickle.loads(blob)  # noqa: S301 - the holder runs what it likes here: that is the lease
    except Exception as error:  # noqa: BLE001 - loading runs the user's code
        return error
    return function


def serve(listener: socket.socket, terms: Terms) -> None:
    """Wait for the holder at this door and serve it until it hangs up."""
    if only_wasm():
        wasm.warm()
    sock, inbox, hello = _greeted(listener, terms)
    listener.close()
    sock.setblocking(True)  # noqa: FBT003
    worker = Worker(sock, inbox, terms, hello)
    sys.stdout, sys.stderr = _Printed(worker, 1), _Printed(worker, 2)
    gc.collect()
    gc.freeze()
    if terms.driver is not None:
        driving.build(terms.driver, terms.arguments, worker.send_event)
    worker.run()


def _greeted(listener: socket.socket, terms: Terms) -> tuple[socket.socket, wire.Inbox, wire.Hello]:
    """Return the first connection that says Hello as it should; drop all others."""
    listener.setblocking(False)  # noqa: FBT003
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    greeters: dict[int, tuple[socket.socket, wire.Inbox, float]] = {}

    def drop(fd: int) -> None:
        poll.unregister(fd)
        sock, inbox, _ = greeters.pop(fd)
        inbox.close()
        sock.close()

    while True:
        for fd, _event in poll.poll(1000 if greeters else None):
            if fd == listener.fileno():
                fresh = _accepted(listener)
                if fresh is not None and len(greeters) < GREETERS_MAX:
                    inbox = wire.Inbox(fresh, takes_fds=True)
                    greeters[fresh.fileno()] = (fresh, inbox, time.monotonic() + GREETING_SECONDS)
                    poll.register(fresh, select.POLLIN)
                continue
            sock, inbox, _deadline = greeters[fd]
            outcome = _greet(sock, inbox, terms)
            if isinstance(outcome, wire.Hello):
                poll.unregister(fd)
                del greeters[fd]
                for other in list(greeters):
                    drop(other)
                return sock, inbox, outcome
            if outcome is False:
                drop(fd)
        for fd in [fd for fd, (_, _, deadline) in greeters.items() if deadline < time.monotonic()]:
            drop(fd)


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        sock, _address = listener.accept()
    except OSError:
        return None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in _holders():
        sock.close()
        return None
    sock.setblocking(False)  # noqa: FBT003
    return sock


def _holders() -> set[int]:
    """Return which users may be our holder. In a sandbox the machine's own users have no number; none else can be there."""
    known = {os.getuid(), 0}
    return known if os.environ.get(ISOLATION_NAME, Isolation.PROCESS) == Isolation.PROCESS else known | {UNKNOWN_USER}


def _greet(sock: socket.socket, inbox: wire.Inbox, terms: Terms) -> wire.Hello | bool | None:
    """Return what our holder says, False if it is to be dropped, None if it has not said enough yet."""
    try:
        frames = inbox.receive()
        if not frames:
            return None
        if frames[0].kind != FrameKind.HELLO or len(frames) > 1:
            return False
        hello: wire.Hello = frames[0].meta
        refusal = _refusal(hello)
        if refusal:
            sock.send(wire.frame(FrameKind.REFUSED, refusal))
            return False
        sys.path.extend(p for p in hello.path if p not in sys.path)
        inbox.takes_fds = hello.shares_memory
        inbox.data_bytes_max = 1 << 48
        welcome = wire.Welcome(
            pid=os.getpid(), memory_bytes=terms.memory_bytes, why=terms.why, over_quota=terms.over_quota
        )
        sock.send(wire.frame(FrameKind.WELCOME, welcome))
    except (OSError, EOFError, PeerBroke) as error:
        return None if isinstance(error, BlockingIOError) else False
    return hello


def _refusal(hello: wire.Hello) -> str:
    if hello.version != wire.VERSION:
        return f"the holder speaks version {hello.version} of the lane protocol, this node {wire.VERSION}"
    here = sys.version_info[:2]
    if hello.python != here:
        theirs, ours = (".".join(map(str, v)) for v in (hello.python, here))
        return f"functions of Python {theirs} cannot run on a node with Python {ours}"
    return ""


def settle() -> None:
    """Set signals as a worker needs them, whatever its parent did."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
