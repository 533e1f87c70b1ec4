"""A berth: a worker behind a lease, at which attempts run one after another, each in a room of its own.

    berth = Berth(door)
    berth.clear()                                             # what is stopped from now on is the next errand
    ran = berth.run(errand, (), log, result, checkpoint)      # blocks; another thread may call berth.stop(...)

The connection stays from one attempt to the next: a command that does nothing costs a round trip and a process, no lease and no
worker. A stop is SIGTERM, the errand's grace, SIGKILL; its time being over is a stop like any other. Whatever ends the worker
is raised as what it was: ``OverQuota`` (it took more than was leased), ``WorkerLost``, ``NodeGone``. Units: seconds.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Iterator
from typing import Final, NoReturn

import msgspec

from worldos.errors import BadRequest, NodeGone, PeerBroke
from worldos.jobs.limits import KILL_AFTER_S
from worldos.jobs.logs import Log
from worldos.jobs.outputs import Spool
from worldos.lanes import wire
from worldos.lanes.command import ANSWER_SECONDS, knocked, why_lost
from worldos.lanes.link import Door
from worldos.lanes.wire import Frame, FrameKind

AHEAD_BYTES: Final = 1024 * 1024
RUNTIME_OVER: Final = "it ran longer than it may"


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run at a berth. ``runtime_s``: 0 is without end."""

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    keep: bool = True
    grace_s: float = 30.0
    runtime_s: float = 0.0


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. ``stopped``: why it was asked to stop before that, if it was."""

    code: int
    why: str
    took: wire.Took
    stopped: str = ""


class Berth:
    """A connection to one worker. ``run`` in one thread at a time, ``stop`` from any."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        self._frames: list[Frame] = []
        self._lock = threading.Lock()
        self._asked: tuple[str, float] | None = None  # why to stop, and with how much grace
        self._kill_s = 0.0
        self.link = knocked(door)
        self._interest = selectors.EVENT_READ
        self._selector.register(self.link.fd, self._interest)
        self._greet()

    def run(
        self, errand: Errand, parcels: tuple[Iterator[bytes], ...], log: Log, result: Spool, checkpoint: Spool
    ) -> Ran:
        """Run one errand to its end. ``parcels``: its files, and those of its checkpoint, as tar streams."""
        self.link.put(FrameKind.ROOM, None)
        for pieces in parcels:
            for piece in pieces:
                self._send(FrameKind.INPUT, piece)
            self._send(FrameKind.INPUT, b"")
        self.link.put(FrameKind.EXEC, wire.Exec(argv=list(errand.argv), env=errand.env, results=errand.keep))
        self.link.put(FrameKind.STDIN, None)  # a job has no input
        return self._follow(errand, log, [result, checkpoint] if errand.keep else [checkpoint])

    @property
    def is_own(self) -> bool:
        """Whether it is on a machine of our account: what comes back from another is never more than data."""
        return self._door.is_own

    def clear(self) -> None:
        """Forget what was asked of the errand before: from here on a stop means the next."""
        with self._lock:
            self._asked = None
            self._kill_s = 0.0

    def stop(self, why: str, grace_s: float) -> None:
        """Ask what runs to stop: SIGTERM now, SIGKILL after the grace. Asked again, the shorter grace counts."""
        with self._lock:
            self._asked = (self._asked[0] if self._asked else why, grace_s)
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b"!")

    def close(self) -> None:
        """Hang up: what still runs there ends."""
        self._selector.close()
        self.link.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    # -- one errand ----------------------------------------------------------------------------------------------------------

    def _follow(self, errand: Errand, log: Log, spools: list[Spool]) -> Ran:
        """Take in what the worker says until the command has ended."""
        took = wire.Took(0, 0, 0)
        stopped = ""
        over_s = time.monotonic() + errand.runtime_s if errand.runtime_s else 0.0
        while True:
            for frame in self._taken():
                match frame.kind:
                    case FrameKind.STDOUT | FrameKind.STDERR:
                        log.write(frame.data)
                    case FrameKind.OUTPUT if spools:
                        if frame.data:
                            spools[0].add(frame.data)
                        else:
                            spools.pop(0).finish()
                    case FrameKind.TOOK:
                        took = frame.meta
                    case FrameKind.EXITED:
                        code, why = frame.meta
                        if spools:  # it did not get as far as running: this worker takes no more
                            raise BadRequest(why)
                        return Ran(code=int(code), why=why, took=took, stopped=stopped)
                    case _:
                        raise PeerBroke(f"a command does not send frames of kind {frame.kind}")
            stopped = self._mind_stop(stopped)
            if over_s and not stopped and time.monotonic() > over_s:
                self.stop(RUNTIME_OVER, errand.grace_s)
                stopped = self._mind_stop(stopped)
            self._turn(self._patience(over_s if not stopped else 0.0))

    def _mind_stop(self, stopped: str) -> str:
        """Pass on that somebody wants it to stop; return why, once that was passed on."""
        now_s = time.monotonic()
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is not None:
            if not stopped:
                self.link.put(FrameKind.SIGNAL, int(signal.SIGTERM))
            self._kill_s = min(self._kill_s or float("inf"), now_s + asked[1])
            stopped = stopped or asked[0]
        if self._kill_s and now_s >= self._kill_s + KILL_AFTER_S:
            raise NodeGone("the worker does not end what it runs")
        if self._kill_s and now_s >= self._kill_s:
            self.link.put(FrameKind.SIGNAL, int(signal.SIGKILL))
        return stopped

    def _patience(self, over_s: float) -> float | None:
        """Return how long nothing can happen that nobody tells us."""
        due_s = [each for each in (over_s, self._kill_s) if each]
        return max(0.05, min(due_s) - time.monotonic()) if due_s else None

    def _taken(self) -> list[Frame]:
        frames, self._frames = self._frames, []
        return frames

    # -- the connection ------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        deadline_s = time.monotonic() + ANSWER_SECONDS
        while not self._frames:
            self._turn(0.1)
            if time.monotonic() > deadline_s:
                raise NodeGone("the worker of the lease does not answer")
        frame = self._frames.pop(0)
        if frame.kind == FrameKind.REFUSED:
            raise BadRequest(frame.meta)
        if frame.kind != FrameKind.WELCOME:
            raise PeerBroke(f"a worker does not begin with a frame of kind {frame.kind}")

    def _send(self, kind: FrameKind, data: bytes) -> None:
        """Send data, no faster than the worker takes them."""
        self.link.put(kind, None, data)
        while self.link.outbox.bytes_waiting > AHEAD_BYTES:
            self._turn(None)

    def _turn(self, timeout_s: float | None) -> None:
        """Send, wait, receive."""
        try:
            done = self.link.flush()
        except OSError:
            self._lost()
        interest = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        if interest != self._interest:
            self._selector.modify(self.link.fd, interest)
            self._interest = interest
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._wake_r:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 64)
            elif events & selectors.EVENT_READ:
                self._receive()

    def _receive(self) -> None:
        try:
            self._frames.extend(self.link.inbox.receive())
        except BlockingIOError:
            return
        except (EOFError, ConnectionError):
            self._lost()

    def _lost(self) -> NoReturn:
        raise why_lost(self._door)
