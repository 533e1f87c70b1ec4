"""A command in a worker: any program, with the holder's input, output and signals, in a folder of its own.

The files that come along are unpacked into the working folder, the command runs in a process group of its own, and at its
end the files that are new or changed go back. When it has ended its whole process group is killed. If the holder hangs
up the group gets SIGTERM, and SIGKILL ``GRACE_SECONDS`` later. A command that is given a room (lanes/room.py) may be followed
by another. ``{python}`` as the first word of a command is the interpreter that this worker runs in; with
``-m MODULE`` it is there at once (lanes/warm.py).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from worldos.errors import BadRequest, PeerBroke, WorldError
from worldos.lanes import child, parcel, resident, warm, wasm, wire
from worldos.lanes.overuse import can_count, stopped_for_memory
from worldos.lanes.room import Room
from worldos.lanes.wire import Frame, FrameKind

GRACE_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 0.3  # what the command left in its pipes, if something else holds them open
CHUNK_BYTES: Final = 64 * 1024
AHEAD_BYTES: Final = 1024 * 1024
PYTHON: Final = "{python}"
KILOBYTE: Final = 1024  # the unit of ru_maxrss
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
PERHAPS_OVERUSED: Final = (
    "the command was killed, most likely for more memory than was leased; ask for more: --memory 4GB"
)
KILLED: Final = (-signal.SIGKILL, 128 + signal.SIGKILL)  # itself, or what a shell that it is had started
OVERUSED: Final = "the command took more memory than was leased, and was stopped for it; ask for more: --memory 4GB"
SIGNALS: Final = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1}
)

Process = child.Child | wasm.WasmProcess


class HungUp(Exception):
    """The holder is gone."""


class Running:
    """One command. ``sock`` is non-blocking from here on. ``wasm_bytes``: only WebAssembly runs here, with so much memory."""

    def __init__(self, inbox: wire.Inbox, outbox: wire.Outbox, sock_fd: int, wasm_bytes: int | None = None) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._sock_fd = sock_fd
        self.frames: list[Frame] = []
        self._selector = selectors.DefaultSelector()
        self._interest = selectors.EVENT_READ
        self._selector.register(sock_fd, self._interest)
        self._wasm_bytes = wasm_bytes
        self._process: Process | None = None
        self._stdin = bytearray()
        self._stdin_ended = False
        self._open: dict[int, FrameKind] = {}
        self._signalled = False
        self._took = wire.Took(0, 0, 0)
        self._env = dict(os.environ)
        child.close_on_exec()

    def run(self, frames: list[Frame]) -> None:
        """Do what the holder asks, from its first frames on, to the end. Returns when it hangs up."""
        self.frames = frames
        with contextlib.suppress(HungUp, ConnectionError, BrokenPipeError, EOFError):
            try:
                self._succession()
            except WorldError as error:
                self.put(FrameKind.EXITED, (NOT_EXECUTABLE, str(error)))
                self._flush_all()
            self._until_hung_up()

    def _succession(self) -> None:
        """Run one command here, or one after another in rooms."""
        base = Path.cwd()  # commands change where this process is
        room: Room | None = None
        while self._peek().kind == FrameKind.ROOM:
            self.next()
            room = room or Room(base)
            self._whole(room.work, room)
            room.clear()
            while self._peek().kind in {FrameKind.SIGNAL, FrameKind.STDIN, FrameKind.STOP}:
                self.next()  # meant for the command that has ended meanwhile
        self._whole(base)

    def _whole(self, folder: Path, room: Room | None = None) -> None:
        for target in [folder] if room is None else [folder, room.checkpoint]:
            if self._peek().kind != FrameKind.INPUT:
                break
            if self._peek().data:
                parcel.unpack(target, self.next_input)
            else:
                self.next()  # no files, where others follow
        first = self.next()
        if first.kind != FrameKind.EXEC:
            raise PeerBroke(f"a command was expected, not a frame of kind {first.kind}")
        order: wire.Exec = first.meta
        if resident.is_resident(order.argv) and room is not None and self._wasm_bytes is None:
            resident.Stay(self, order, folder, {**self._env, **room.env, **order.env}).serve()
            return
        before = parcel.seen(folder) if os.listdir(folder) else {}
        self._signalled = False
        self._took = wire.Took(0, 0, 0)
        code, why = self._execute(order, folder, {} if room is None else room.env)
        if order.results:
            made = parcel.changed(folder, before) if os.listdir(folder) else []
            if made or room is None:
                parcel.pack(made, self._send_output)
            self._send_output(b"")
        if room is not None:
            left = parcel.changed(room.checkpoint, {}) if self._signalled else []
            if left:
                parcel.pack(left, self._send_output)
            self._send_output(b"")
            self.put(FrameKind.TOOK, self._took)
        self.put(FrameKind.EXITED, (code, why))
        self._flush_all()
        if self._wasm_bytes is not None:
            wasm.prepare()

    # -- the command ----------------------------------------------------------------------------------------------

    def _execute(self, order: wire.Exec, folder: Path, told: dict[str, str]) -> tuple[int, str]:
        if not order.argv:
            raise BadRequest("an empty command")
        if self._wasm_bytes is not None:
            return self._followed(wasm.start(order.argv, folder, {**told, **order.env}, self._wasm_bytes))
        env = {**self._env, **told, **order.env}
        words = [sys.executable if order.argv[0] == PYTHON else order.argv[0], *order.argv[1:]]
        if order.argv[0] == PYTHON and warm.is_module(order.argv):
            return self._followed(warm.start(order.argv, folder, env))
        try:
            process = child.spawn(words, folder, env, has_input=not self._is_without_input())
        except (FileNotFoundError, NotADirectoryError):
            return NOT_FOUND, f"{order.argv[0]}: there is no such command on that node"
        except (OSError, ValueError) as error:
            return NOT_EXECUTABLE, f"{order.argv[0]}: {error}"
        return self._followed(process)

    def _is_without_input(self) -> bool:
        """Tell whether the holder has said already that there will be no input."""
        if not self.frames or self.frames[0].kind != FrameKind.STDIN or self.frames[0].data:
            return False
        del self.frames[0]
        return True

    def _followed(self, process: Process) -> tuple[int, str]:
        """Carry its bytes until it ends; return its exit code, and why if the node ended it."""
        self._process = process
        stopped = stopped_for_memory()
        begun_ns = time.monotonic_ns()
        try:
            self._relay(process)
        except (HungUp, ConnectionError, EOFError, PeerBroke):
            self._end(process)
            raise
        finally:
            _kill_group(process.pid, signal.SIGKILL)
        code = self._reap(process, begun_ns)
        why = OVERUSED if code and stopped_for_memory() > stopped else ""
        if code in KILLED and not self._signalled and not can_count():
            why = PERHAPS_OVERUSED
        return (128 - code, why) if code < 0 else (code, why)

    def _reap(self, process: Process, begun_ns: int) -> int:
        """Return the status of what has ended, and keep what it took."""
        if isinstance(process, child.Child) and process.returncode is None:
            _pid, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu_us = round((used.ru_utime + used.ru_stime) * 1_000_000)
            wall_us = (time.monotonic_ns() - begun_ns) // 1000
            self._took = wire.Took(cpu_us, wall_us, used.ru_maxrss * KILOBYTE)
        code = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read of its input
                    pipe.close()
        self._stdin.clear()
        self._stdin_ended = False
        return code

    def _relay(self, process: Process) -> None:
        """Carry bytes both ways until the command has ended and its pipes are empty."""
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        self._open = {process.stdout.fileno(): FrameKind.STDOUT, process.stderr.fileno(): FrameKind.STDERR}
        reading: set[int] = set()
        ended = process.watch() if isinstance(process, wasm.WasmProcess) else os.pidfd_open(process.pid)
        self._selector.register(ended, selectors.EVENT_READ)
        deadline_s: float | None = None
        try:
            while deadline_s is None or (self._open and time.monotonic() < deadline_s):
                self._take_all(process)
                wanted = set(self._open) if self._outbox.bytes_waiting < AHEAD_BYTES else set()
                for fd in wanted - reading:
                    self._selector.register(fd, selectors.EVENT_READ)
                for fd in reading - wanted:
                    self._selector.unregister(fd)
                reading = wanted
                for fd in self.wait(0.05 if deadline_s else None):
                    if fd in self._open:
                        self._read_pipe(fd)
                        reading &= self._open.keys()
                    elif fd == ended and deadline_s is None:
                        self._selector.unregister(ended)
                        deadline_s = time.monotonic() + DRAIN_SECONDS
        finally:
            os.close(ended)
            for fd in reading & self._open.keys():
                self._selector.unregister(fd)
            if deadline_s is None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(ended)

    def _read_pipe(self, fd: int) -> None:
        data = os.read(fd, CHUNK_BYTES)
        if data:
            self.put(self._open[fd], None, data)
        else:
            self._selector.unregister(fd)
            del self._open[fd]

    def _take_all(self, process: Process) -> None:
        """Act on what the holder has said since."""
        frames, self.frames = self.frames, []
        for frame in frames:
            if frame.kind == FrameKind.STDIN:
                self._stdin += frame.data
                self._stdin_ended = self._stdin_ended or not frame.data
            elif frame.kind == FrameKind.SIGNAL:
                if frame.meta not in SIGNALS:
                    raise PeerBroke(f"signal {frame.meta} is not forwarded")
                self._signalled = True
                _kill_group(process.pid, frame.meta)
            else:
                raise PeerBroke(f"a frame of kind {frame.kind} while a command runs")
        if process.stdin is None or process.stdin.closed:
            self._stdin.clear()
            return
        try:
            while self._stdin:
                written = os.write(process.stdin.fileno(), self._stdin[:CHUNK_BYTES])
                del self._stdin[:written]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin_ended = True
        if self._stdin_ended:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _end(self, process: Process) -> None:
        _kill_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)

    # -- frames ---------------------------------------------------------------------------------------------------

    def watch(self, fd: int) -> None:
        """Let ``wait`` wait for a descriptor, too."""
        self._selector.register(fd, selectors.EVENT_READ)

    def unwatch(self, fd: int) -> None:
        """Let it wait for that no more."""
        self._selector.unregister(fd)

    def put(self, kind: FrameKind, meta: object, data: bytes = b"") -> None:
        """Queue a frame."""
        self._outbox.put(wire.frame(kind, meta, len(data)))
        self._outbox.put(data)

    def send(self, kind: FrameKind, data: bytes) -> None:
        """Send data, no faster than the holder takes them."""
        self.put(kind, None, data)
        while self._outbox.bytes_waiting > AHEAD_BYTES:
            self.wait(None)

    def _send_output(self, data: bytes) -> None:
        self.send(FrameKind.OUTPUT, data)

    def _flush_all(self) -> None:
        while not self._outbox.flush():
            self.wait(None)

    def wait(self, timeout_s: float | None) -> list[int]:
        """Send and receive what is possible now, or wait for it; return other descriptors that are ready."""
        interest = selectors.EVENT_READ if self._outbox.flush() else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._stdin and not self._stdin_ended:
            timeout_s = 0.01 if timeout_s is None else min(timeout_s, 0.01)  # the command is slow to read
        if interest != self._interest:
            self._selector.modify(self._sock_fd, interest)
            self._interest = interest
        others = []
        for key, events in self._selector.select(timeout_s):
            if key.fd != self._sock_fd:
                others.append(key.fd)
            elif events & selectors.EVENT_READ:
                self._receive()
        return others

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self.frames.extend(self._inbox.receive())
            except (EOFError, ConnectionError):
                raise HungUp from None

    def _peek(self) -> Frame:
        while not self.frames:
            self.wait(None)
        return self.frames[0]

    def next(self) -> Frame:
        """Wait for the next frame."""
        frame = self._peek()
        del self.frames[0]
        return frame

    def next_input(self) -> bytearray:
        """Wait for a piece of files; the last is empty."""
        frame = self.next()
        if frame.kind != FrameKind.INPUT:
            raise PeerBroke(f"files were expected, not a frame of kind {frame.kind}")
        return frame.data

    def _until_hung_up(self) -> None:
        """Let the holder read its fill; it hangs up first."""
        while True:
            self.frames.clear()
            self.wait(None)


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
