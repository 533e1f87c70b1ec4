"""A resident: an interpreter beside the worker that stays for task after task, so that a small one costs a call and no process.

``{resident} MODULE`` as a command (lanes/running.py) forks it off the worker (lanes/warm.py) and loads the module once; then
``MODULE.task()`` is called for each task that the holder names, with ``WOS_TASK`` and ``WOS_ATTEMPT`` in the environment, and
returns an exit code and its value as bytes. All tasks of a stay share what they leave in memory, and no folder
(lanes/workplace.py): the files that one makes go back with its value, those of its checkpoint if it was asked to stop; one may go
on from a checkpoint, which comes right before its name. The resident has up to ``AHEAD`` tasks at hand, so that it never waits
for the worker, and does them in order: if it ends, the first without an answer is the one that ended it, and those behind it have
not begun and go to another. Before it answers, all that the task put out has been read, so output belongs to the task that is
without an answer.

Invariant: each task that the holder named is answered once, or the worker is gone. Units: us, bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

from worldos.errors import PeerBroke
from worldos.lanes import parcel, warm, workplace
from worldos.lanes.overuse import stopped_for_memory
from worldos.lanes.room import CHECKPOINT_NAME
from worldos.lanes.wire import Ended, Exec, Frame, FrameKind, How
from worldos.lanes.workplace import Task, Workplace

RESIDENT: Final = "{resident}"
MADE: Final = ".wos-result"  # the value of a task, in its folder or in the parcel of its result
INLINE_BYTES: Final = 1024  # larger results travel as files
AHEAD: Final = 32  # tasks that the resident has at hand
WAITING_MAX: Final = 4096  # tasks that the holder may name ahead
DRAIN_SECONDS: Final = 0.3  # for what a task put out, if its children go on putting out
DRAIN_LOOK_SECONDS: Final = 0.0005
READ_BYTES: Final = 64 * 1024
PIPE_READS: Final = 16  # by then a pipe is empty, unless somebody goes on filling it
SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT})
WORDS: Final = 2
WHY_CHARS_MAX: Final = 1024
OVERUSED: Final = "the task took more memory than was leased, and was stopped for it; ask for more memory"
ENDED: Final = "the task ended the process that it ran in"
UNREADABLE: Final = "what the task made cannot be read"
UNFIT: Final = 126
_ASK: Final = struct.Struct("<II?")  # index, attempt, does it go on from a checkpoint?
_ANSWER: Final = struct.Struct(
    "<IBBQQQI"
)  # index, exit code, which files, cpu us, wall us, memory bytes, bytes that follow
_VALUE, _FILES, _CHECKPOINT = 1, 2, 4  # which: its value is in one, it has made some, it has left some
_ALL: Final = _VALUE | _FILES | _CHECKPOINT
_KILOBYTE: Final = 1024

Call = Callable[[], tuple[int, bytes]]


class Holder(Protocol):
    """The conversation with who holds the lease (lanes/running.py)."""

    frames: list[Frame]

    def put(self, kind: FrameKind, meta: object, data: bytes = b"") -> None:
        """Queue a frame."""

    def wait(self, timeout_s: float | None) -> list[int]:
        """Send and receive what is possible, or wait for it; return other descriptors that are ready."""

    def watch(self, fd: int) -> None:
        """Wait for a descriptor, too."""

    def unwatch(self, fd: int) -> None:
        """Wait for it no more."""

    def send(self, kind: FrameKind, data: bytes) -> None:
        """Send data, no faster than the holder takes them."""

    def next(self) -> Frame:
        """Wait for the next frame."""

    def next_input(self) -> bytearray:
        """Wait for a piece of files; the last is empty."""


def is_resident(words: Sequence[str]) -> bool:
    """Tell whether a command is to stay."""
    return len(words) >= WORDS and words[0] == RESIDENT


class Stay:
    """One stay: from its EXEC until the holder wants another room, or hangs up."""

    def __init__(self, holder: Holder, order: Exec, folder: Path, env: Mapping[str, str]) -> None:
        self._holder = holder
        self._module = order.argv[1]
        self._keeps = order.results
        self._folder = folder
        self._env = env
        self._child: _Child | None = None
        self._waiting: deque[Task] = deque()
        self._stops: dict[int, int] = {}  # by index: the signal, once it is that task's turn
        self._from: set[Task] = set()  # they go on from a checkpoint
        self._signalled = -1  # the task for which the resident was signalled last
        self._ended: list[Ended] = []
        self._overuse = stopped_for_memory()

    def serve(self) -> None:
        """Have tasks done until something else is wanted."""
        try:
            while self._take_all():
                self._hand_over()
                self._tell()
                for fd in self._holder.wait(None):
                    self._mind(fd)
        finally:
            self._drop_child()

    def _take_all(self) -> bool:
        """Act on what the holder has said; False if something else is wanted."""
        frames = self._holder.frames
        while frames:
            frame = frames[0]
            if frame.kind == FrameKind.ROOM:
                if self._waiting or (self._child is not None and self._child.at_hand):
                    raise PeerBroke("another room is wanted while tasks are under way")
                return False
            if frame.kind == FrameKind.INPUT:
                self._take_checkpoint()
                continue
            del frames[0]
            if frame.kind == FrameKind.TASKS:
                self._waiting.extend(frame.meta)
                if len(self._waiting) > WAITING_MAX:
                    raise PeerBroke(f"more than {WAITING_MAX} tasks are named ahead")
            elif frame.kind == FrameKind.STOP:
                self._stop(*frame.meta)
            elif frame.kind != FrameKind.STDIN:
                raise PeerBroke(f"a frame of kind {frame.kind} while tasks are done")
        return True

    def _take_checkpoint(self) -> None:
        """Take in the files from which the task goes on that is named next."""
        came = Path(tempfile.mkdtemp(prefix=workplace.FROM, dir=self._folder))
        parcel.unpack(came, self._holder.next_input)
        frame = self._holder.next()
        if frame.kind != FrameKind.TASKS or not frame.meta:
            raise PeerBroke(f"a task was expected that goes on, not a frame of kind {frame.kind}")
        task = frame.meta[0]
        os.rename(came, workplace.from_of(self._folder, task))
        self._from.add(task)
        self._waiting.extend(frame.meta)

    def _stop(self, index: int, number: int) -> None:
        if number not in SIGNALS:
            raise PeerBroke(f"signal {number} is not forwarded")
        unbegun = next((task for task in self._waiting if task[0] == index), None)
        if unbegun is not None:
            self._waiting.remove(unbegun)
            self._stops.pop(index, None)
            self._ended.append(Ended(How.UNBEGUN, index, 128 + number))
        elif self._child is not None and any(task[0] == index for task in self._child.at_hand):
            self._stops[index] = number
            self._signal()

    def _signal(self) -> None:
        """Signal the resident if the task that it is at is to stop."""
        if self._child is None or not self._child.at_hand:
            return
        first = self._child.at_hand[0][0]
        number = self._stops.pop(first, 0)
        if number:
            self._signalled = first
            _kill_group(self._child.pid, number)

    def _hand_over(self) -> None:
        if self._waiting and self._child is None:
            self._child = _Child(self._module, self._folder, self._env)
            for fd in self._child.fds:
                self._holder.watch(fd)
        child = self._child
        if child is None:
            return
        most = AHEAD - len(child.at_hand)
        tasks = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if tasks:
            child.ask([(*task, task in self._from) for task in tasks])
            self._signal()

    def _tell(self) -> None:
        if self._ended:
            self._holder.put(FrameKind.ENDED, self._ended)
            self._ended = []

    # -- what the resident says ------------------------------------------------------------------------------------------------

    def _mind(self, fd: int) -> None:
        child = self._child
        if child is None:
            return  # this was among what the last one said
        if fd in child.outputs:
            self._relay(child, fd)
        elif fd == child.answers:
            self._answered(child)
        elif fd == child.end:
            self._gone(child)

    def _relay(self, child: _Child, fd: int) -> None:
        """Pass on what was put out: it is of the task that has no answer once all answers before it were read."""
        self._answered(child)
        count = unread(fd)
        while self._answered(child):
            count = unread(fd)
        data = child.read(fd, max(1, min(count, READ_BYTES)))
        if data:
            self._tell()
            self._holder.send(child.outputs[fd], data)
        elif data is not None:  # a task has closed it
            self._holder.unwatch(fd)
            del child.outputs[fd]
            os.close(fd)

    def _answered(self, child: _Child) -> bool:
        """Take in what was answered; return whether anything was."""
        answered = child.answered()
        for task, ended, which in answered:
            self._stops.pop(ended.index, None)
            self._over(task, ended, which)
        self._signal()
        return bool(answered)

    def _over(self, task: Task, ended: Ended, which: int) -> None:
        """Send the files of a task that has ended, and say that it has."""
        self._from.discard(task)
        if which:
            value, made, left = (
                where(self._folder, task) for where in (workplace.value_of, workplace.made_of, workplace.left_of)
            )
            try:
                members = [(MADE, value)] if which & _VALUE else []
                if which & _FILES and self._keeps:
                    members += workplace.files(made, self._folder)
                kept = workplace.files(left, self._folder) if self._keeps and self._signalled == ended.index else []
                if members or kept:
                    self._tell()  # what is sent now is of the first that has not ended
                    self._send_files(members)
                if kept:
                    self._send_files(kept)
            except OSError as error:
                ended = Ended(How.DONE, ended.index, ended.code or UNFIT, f"{UNREADABLE}: {error}"[:WHY_CHARS_MAX])
            for path in (value, made, left):
                _remove(path)
        self._ended.append(ended)

    def _send_files(self, members: list[tuple[str, Path]]) -> None:
        if members:
            parcel.pack(members, lambda data: self._holder.send(FrameKind.OUTPUT, data))
        self._holder.send(FrameKind.OUTPUT, b"")

    def _gone(self, child: _Child) -> None:
        """The resident has ended: so has the task that it was at; those behind it wait again."""
        _kill_group(child.pid, signal.SIGKILL)  # what it started: nothing more is put out
        for fd in list(child.outputs):
            for _ in range(PIPE_READS):
                if unread(fd):
                    self._relay(child, fd)
        self._answered(child)
        code, took = child.reap()
        if child.at_hand:
            task = child.at_hand.popleft()
            ended = self._end_of(task[0], code, took)
            workplace.abandon(self._folder, task)
            self._over(task, ended, _FILES | _CHECKPOINT if ended.how == How.DONE else 0)
            self._waiting.extendleft(reversed(child.at_hand))
            for each, number in list(self._stops.items()):
                self._stop(each, number)  # it waits again, and shall not
        self._signalled = -1
        self._drop_child()

    def _end_of(self, index: int, code: int, took: resource.struct_rusage) -> Ended:
        """Return the end of the task with which the resident ended. A signal may come when the task it was for is done."""
        self._stops.pop(index, None)
        overused = stopped_for_memory()
        before, self._overuse = self._overuse, overused
        how = How.LOST if self._signalled not in {-1, index} else How.DONE
        why = OVERUSED if overused > before else "" if self._signalled == index else ENDED
        cpu_us = round((took.ru_utime + took.ru_stime) * 1_000_000)
        shown = 128 - code if code < 0 else code or 1
        return Ended(how, index, shown, why, cpu_us, 0, took.ru_maxrss * _KILOBYTE)

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            for fd in child.fds:
                self._holder.unwatch(fd)
            child.close()


class _Child:
    """The process, as the worker sees it. ``at_hand``: tasks that it has, the first is the one that it is at."""

    def __init__(self, module: str, folder: Path, env: Mapping[str, str]) -> None:
        self.at_hand: deque[Task] = deque()
        self._buffer = bytearray()
        self._status: tuple[int, resource.struct_rusage] | None = None
        asks, self._asks = os.pipe()
        out, put_out = os.pipe()
        errors, put_errors = os.pipe()
        self.outputs = {out: FrameKind.STDOUT, errors: FrameKind.STDERR}
        self.answers, answers = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.pid = os.fork()
        if self.pid == 0:
            _be(module, folder, env, (nothing, put_out, put_errors), (asks, answers))
        with contextlib.suppress(OSError):  # it was quicker, and has ended
            os.setpgid(self.pid, self.pid)
        self.end = os.pidfd_open(self.pid)
        for fd in (asks, put_out, put_errors, answers, nothing):
            os.close(fd)
        for fd in (*self.outputs, self.answers):
            os.set_blocking(fd, False)

    @property
    def fds(self) -> tuple[int, ...]:
        """What to wait for."""
        return *self.outputs, self.answers, self.end

    def ask(self, tasks: list[tuple[int, int, bool]]) -> None:
        """Hand tasks over; they fit into the pipe."""
        self.at_hand.extend((index, attempt) for index, attempt, _ in tasks)
        with contextlib.suppress(BrokenPipeError):  # it has ended: that is seen in a moment
            os.write(self._asks, b"".join([_ASK.pack(*task) for task in tasks]))

    def read(self, fd: int, most: int = READ_BYTES) -> bytes | None:
        """Return what is there to be read: nothing at its end, None before."""
        try:
            return os.read(fd, most)
        except BlockingIOError:
            return None

    def answered(self) -> list[tuple[Task, Ended, int]]:
        """Return the tasks that were done, and which files there are of each."""
        found: list[tuple[Task, Ended, int]] = []
        while data := self.read(self.answers):
            self._buffer += data
        at = 0
        while len(self._buffer) - at >= _ANSWER.size:
            index, code, which, cpu_us, wall_us, memory_bytes, size = _ANSWER.unpack_from(self._buffer, at)
            if size > INLINE_BYTES or which > _ALL or not self.at_hand or index != self.at_hand[0][0]:
                raise PeerBroke("a task has written where only its interpreter may")
            if len(self._buffer) - at - _ANSWER.size < size:
                break
            at += _ANSWER.size
            made = bytes(self._buffer[at : at + size])
            at += size
            ended = Ended(How.DONE, index, code, "", cpu_us, wall_us, memory_bytes, made)
            found.append((self.at_hand.popleft(), ended, which))
        del self._buffer[:at]
        return found

    def reap(self) -> tuple[int, resource.struct_rusage]:
        """Return how it ended, and what it took."""
        if self._status is None:
            _pid, status, used = os.wait4(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status), used
        return self._status

    def close(self) -> None:
        """End it, and all that it started."""
        _kill_group(self.pid, signal.SIGKILL)
        self.reap()
        for fd in (self._asks, *self.fds):
            os.close(fd)


# -- in the resident ---------------------------------------------------------------------------------------------------------


def _be(
    module: str, folder: Path, env: Mapping[str, str], streams: tuple[int, int, int], pipes: tuple[int, int]
) -> NoReturn:
    """Be the resident; never return."""
    try:
        nothing, out, errors = streams
        warm.settle(folder, env, [(nothing, -1), (-1, out), (-1, errors)], keep=pipes)
        sys.path.insert(0, str(folder))
        sys.argv = [module]
        _serve(importlib.import_module(module).task, folder, *pipes)
    except BaseException:  # noqa: BLE001 - the last to see it
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _serve(task: Call, folder: Path, asks: int, answers: int) -> None:
    gc.enable()
    place = Workplace(folder)
    os.environ[CHECKPOINT_NAME] = str(folder / workplace.CHECKPOINT)
    while data := os.read(asks, READ_BYTES):
        for index, attempt, goes_on in _ASK.iter_unpack(data):
            os.environ["WOS_TASK"], os.environ["WOS_ATTEMPT"] = str(index), str(attempt)
            if goes_on:
                place.go_on((index, attempt))
            wall_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
            code, value = task()
            cpu_us, wall_us = (time.process_time_ns() - cpu_ns) // 1000, (time.monotonic_ns() - wall_ns) // 1000
            memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE
            made, left = place.end((index, attempt))
            which = made * _FILES | left * _CHECKPOINT
            if made or len(value) > INLINE_BYTES:  # with its files, if it has made any
                workplace.value_of(folder, (index, attempt)).write_bytes(value)
                which, value = which | _VALUE, b""
            _drain()
            head = _ANSWER.pack(index, code, which, cpu_us, wall_us, memory_bytes, len(value))
            os.write(answers, head + value)


def _drain() -> None:
    """Wait until all that was put out has been read."""
    with contextlib.suppress(OSError, ValueError):  # a task may have closed them
        sys.stdout.flush()
        sys.stderr.flush()
    until_s = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < until_s:
        if not (unread(1) or unread(2)):
            return
        time.sleep(DRAIN_LOOK_SECONDS)


def unread(fd: int) -> int:
    """Return how much of what was put out nobody has read yet."""
    count = bytearray(4)
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:  # it is no pipe any more
        return 0
    return int.from_bytes(count, sys.byteorder)


def _remove(path: Path) -> None:
    """Remove a file or a folder, as far as that can be done: the rest goes with the room."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
