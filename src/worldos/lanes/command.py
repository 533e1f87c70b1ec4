"""Run a command on a worker as if it were here: input, output, signals, exit code, files along and files back.

    code = run_command(Door(path=...), ["python", "train.py"], inputs=[Path("data.csv")], folder=Path.cwd())

Ctrl-C sends SIGINT to the command, a second one SIGTERM, a third SIGKILL; SIGTERM and SIGHUP to this program are passed on.
The exit code is the command's; 128 + n if signal n ended it, 127 if there is no such command there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from worldos.errors import PeerBroke
from worldos.lanes import parcel, wire
from worldos.lanes.conversation import Conversation
from worldos.lanes.link import Door
from worldos.lanes.wire import Frame, FrameKind

CHUNK_BYTES: Final = 64 * 1024
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
            if members:
                parcel.pack(members, lambda data: session.talk.send(FrameKind.INPUT, data))
                session.talk.send(FrameKind.INPUT, b"")
            session.talk.link.put(FrameKind.EXEC, wire.Exec(argv=argv, env=env or {}, results=results))
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
        self._heard = heard
        self._stdin = stdin
        self._out = {FrameKind.STDOUT: stdout, FrameKind.STDERR: stderr}
        self._pending: list[int] = []
        self._interrupts = 0
        self._relays = False
        self._reads_stdin = False
        self.talk = Conversation(door)

    def run(self, folder: Path) -> int:
        """Relay until the command has ended; unpack what comes back."""
        self._relays = True
        while True:
            for number in self._pending:
                self.talk.link.put(FrameKind.SIGNAL, number)
            self._pending.clear()
            while self.talk.frames:
                frame = self.talk.frames[0]
                if frame.kind == FrameKind.OUTPUT:
                    self._relays = False
                    self._hush_stdin()
                    parcel.unpack(folder, self._next_output)
                    continue
                del self.talk.frames[0]
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
        while not self.talk.frames:
            self._turn(None)
        frame = self.talk.frames.pop(0)
        if frame.kind != FrameKind.OUTPUT:
            raise PeerBroke(f"files were expected, not a frame of kind {frame.kind}")
        return frame.data

    def _turn(self, timeout_s: float | None) -> None:
        """Have a turn that also reads input, where there is room for it."""
        if self._relays and self._stdin is not None:
            timeout_s = self._mind_stdin(timeout_s)
        self.talk.turn(timeout_s)

    # -- input and signals ----------------------------------------------------------------------------------------

    def _mind_stdin(self, timeout_s: float | None) -> float | None:
        """Read input only as fast as the worker takes it; return how long to wait for other things."""
        assert self._stdin is not None
        if self.talk.is_ahead:
            self._hush_stdin()
        elif not self._reads_stdin:
            try:
                self.talk.watch(self._stdin, self._read_stdin)
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
            self.talk.unwatch(self._stdin)
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
            self.talk.link.put(FrameKind.STDIN, None, data)
        else:
            self._end_stdin()

    def _end_stdin(self) -> None:
        self._hush_stdin()
        self._stdin = None
        self.talk.link.put(FrameKind.STDIN, None)

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
        self.talk.wake()

    def close(self) -> None:
        """Hang up."""
        sys.stdout.flush()
        self.talk.close()
