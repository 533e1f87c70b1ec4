"""Run a command on a worker as if it were here: input, output, signals, exit code, files along and files back.

    code = run_command(Door(path=...), ["python", "train.py"], inputs=[Path("data.csv")], folder=Path.cwd())

Ctrl-C sends SIGINT to the command, a second one SIGTERM, a third SIGKILL; SIGTERM and SIGHUP to this program are passed on.
The exit code is the command's; 128 + n if signal n ended it, 127 if there is no such command there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from worldos.errors import BadRequest, NodeGone, OverQuota, PeerBroke, WorkerLost, WorldError
from worldos.lanes import parcel, wire
from worldos.lanes.link import Door, Link, Place
from worldos.lanes.wire import Frame, FrameKind

CHUNK_BYTES: Final = 64 * 1024
AHEAD_BYTES: Final = 1024 * 1024
KNOCK_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 20.0
ESCALATION: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def run_command(  # noqa: PLR0913 - a command has this many sides
    door: Door,
    argv: list[str],
    *,
    inputs: list[Path] | None = None,
    folder: Path | None = None,
    results: bool = True,
    env: dict[str, str] | None = None,
    stdin: int | None = 0,
    stdout: int = 1,
    stderr: int = 2,
    heard: Callable[[bytes | bytearray], None] | None = None,
) -> int:
    """Run ``argv`` and return its exit code.

    ``folder``: where inputs are named from and results go. ``stdin`` None: no input. ``heard`` is told all that it puts out
    and must not wait. Raises BadRequest for missing inputs,
    WorkerLost or OverQuota if the worker ends, NodeGone if there is none.
    """
    base = Path.cwd() if folder is None else folder.resolve()
    members = parcel.inputs(inputs or [], base)
    session = _Session(door, stdin, stdout, stderr, heard)
    try:
        with session.signals():
            session.greet()
            if members:
                parcel.pack(members, lambda data: session.send(FrameKind.INPUT, data))
                session.send(FrameKind.INPUT, b"")
            session.link.put(FrameKind.EXEC, wire.Exec(argv=argv, env=env or {}, results=results))
            return session.run(base)
    finally:
        session.close()


class _Session:
    """One command at one worker."""

    def __init__(
        self,
        door: Door,
        stdin: int | None,
        stdout: int,
        stderr: int,
        heard: Callable[[bytes | bytearray], None] | None = None,
    ) -> None:
        self._door = door
        self._heard = heard
        self._stdin = stdin
        self._out = {FrameKind.STDOUT: stdout, FrameKind.STDERR: stderr}
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        self._pending: list[int] = []
        self._interrupts = 0
        self._frames: list[Frame] = []
        self._interest = selectors.EVENT_READ
        self._relays = False
        self._reads_stdin = False
        self.link = knocked(door)
        self._selector.register(self.link.fd, self._interest)

    def greet(self) -> None:
        """Wait for the worker's answer."""
        deadline_s = time.monotonic() + ANSWER_SECONDS
        while not self._frames:
            self._turn(0.1)
            if time.monotonic() > deadline_s:
                raise NodeGone("the worker for this command does not answer")
        frame = self._frames.pop(0)
        if frame.kind == FrameKind.REFUSED:
            raise BadRequest(frame.meta)
        if frame.kind != FrameKind.WELCOME:
            raise PeerBroke(f"a worker does not begin with a frame of kind {frame.kind}")

    def send(self, kind: FrameKind, data: bytes) -> None:
        """Send data, no faster than the worker takes them."""
        self.link.put(kind, None, data)
        while self.link.outbox.bytes_waiting > AHEAD_BYTES:
            self._turn(None)

    def run(self, folder: Path) -> int:
        """Relay until the command has ended; unpack what comes back."""
        self._relays = True
        while True:
            for number in self._pending:
                self.link.put(FrameKind.SIGNAL, number)
            self._pending.clear()
            while self._frames:
                frame = self._frames[0]
                if frame.kind == FrameKind.OUTPUT:
                    self._relays = False
                    self._hush_stdin()
                    parcel.unpack(folder, self._next_output)
                    continue
                del self._frames[0]
                if frame.kind == FrameKind.EXITED:
                    code, why = frame.meta
                    if why:
                        self._write(2, f"wos: {why}\n".encode())
                    return int(code)
                self._printed(frame)
            self._turn(None)

    def _printed(self, frame: Frame) -> None:
        if frame.kind not in {FrameKind.STDOUT, FrameKind.STDERR}:
            raise PeerBroke(f"a command does not send frames of kind {frame.kind}")
        if self._heard is not None:
            self._heard(frame.data)
        self._write(self._out[FrameKind(frame.kind)], frame.data)

    def _write(self, fd: int, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except BrokenPipeError:
            self._pending.append(signal.SIGHUP)  # nobody reads us: the command should know, as it would here

    def _next_output(self) -> bytearray:
        while not self._frames:
            self._turn(None)
        frame = self._frames.pop(0)
        if frame.kind != FrameKind.OUTPUT:
            raise PeerBroke(f"files were expected, not a frame of kind {frame.kind}")
        return frame.data

    def _turn(self, timeout_s: float | None) -> None:
        """Send, wait, receive."""
        try:
            done = self.link.flush()
        except OSError:
            done = self._lost()
        if self._relays and self._stdin is not None:
            timeout_s = self._mind_stdin(timeout_s)
        interest = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        if interest != self._interest:
            self._selector.modify(self.link.fd, interest)
            self._interest = interest
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._wake_r:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 64)
            elif key.fd == self.link.fd and events & selectors.EVENT_READ:
                self._receive()
            elif key.fd == self._stdin:
                self._read_stdin()

    def _receive(self) -> None:
        try:
            self._frames.extend(self.link.inbox.receive())
        except BlockingIOError:
            return
        except (EOFError, ConnectionError):
            self._lost()

    def _lost(self) -> NoReturn:
        """The worker is gone: its successor at the door knows why."""
        raise why_lost(self._door)

    # -- input and signals ----------------------------------------------------------------------------------------

    def _mind_stdin(self, timeout_s: float | None) -> float | None:
        """Read input only as fast as the worker takes it; return how long to wait for other things."""
        assert self._stdin is not None
        if self.link.outbox.bytes_waiting >= AHEAD_BYTES:
            self._hush_stdin()
        elif not self._reads_stdin:
            try:
                self._selector.register(self._stdin, selectors.EVENT_READ)
            except PermissionError:  # epoll takes no plain files: they are always ready
                self._read_stdin()
                return 0.0
            except (OSError, ValueError, KeyError):  # closed: no input
                self._end_stdin()
                return 0.0
            self._reads_stdin = True
        return timeout_s

    def _hush_stdin(self) -> None:
        if self._reads_stdin and self._stdin is not None:
            self._selector.unregister(self._stdin)
            self._reads_stdin = False

    def _read_stdin(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a terminal that is gone
            data = b""
        if data:
            self.link.put(FrameKind.STDIN, None, data)
        else:
            self._end_stdin()

    def _end_stdin(self) -> None:
        self._hush_stdin()
        self._stdin = None
        self.link.put(FrameKind.STDIN, None)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Pass signals on to the command instead of ending here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self._signalled) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT:
            number = ESCALATION[min(self._interrupts, len(ESCALATION) - 1)]
            self._interrupts += 1
        self._pending.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_w, b"!")

    def close(self) -> None:
        """Hang up."""
        sys.stdout.flush()
        self._selector.close()
        self.link.close()
        os.close(self._wake_r)
        os.close(self._wake_w)


def knocked(door: Door) -> Link:
    """Return a connection to the worker at a door; NodeGone where none answers."""
    deadline_s = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            link = Place(door).knock()
        except OSError as error:
            raise NodeGone(f"the worker for this command cannot be reached ({error.strerror})") from None
        if link is not None:
            return link
        if time.monotonic() > deadline_s:
            raise NodeGone("the worker for this command does not answer")
        time.sleep(KNOCK_SECONDS)


def why_lost(door: Door) -> WorldError:
    """Return what became of a worker that hung up: its successor at the door knows."""
    with contextlib.suppress(OSError, EOFError, PeerBroke):
        link = Place(door).knock()
        if link is not None:
            try:
                link.flush()
                link.sock.settimeout(2.0)
                frames = link.inbox.receive()
                welcome: wire.Welcome | None = frames[0].meta if frames else None
            finally:
                link.close()
            if welcome is not None and welcome.over_quota:
                return OverQuota(f"the command {welcome.why}")
            if welcome is not None and welcome.why:
                return WorkerLost(f"the worker of the command {welcome.why}")
    if not door.local:
        return NodeGone("the node that ran the command is lost: nothing answers there", hint="run it again")
    return WorkerLost("the connection to the command's worker is lost")
