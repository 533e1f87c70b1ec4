"""A conversation: one connection to a worker at a door, in turns of sending, waiting and receiving.

    with contextlib.closing(Conversation(door)) as talk:
        talk.link.put(FrameKind.EXEC, ...)
        talk.turn(None)                      # until something came, or ``wake`` was called
        frames = talk.taken()

It blocks in ``turn`` alone; another thread, or a signal's handler, may ``wake`` it. Whatever ends the worker is raised as what it
was: ``OverQuota`` (it took more than was leased), ``WorkerLost``, ``NodeGone``. Units: seconds.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from typing import Final, NoReturn

from worldos.errors import BadRequest, NodeGone, OverQuota, PeerBroke, WorkerLost, WorldError
from worldos.lanes import wire
from worldos.lanes.link import Door, Link, Place
from worldos.lanes.wire import Frame, FrameKind

AHEAD_BYTES: Final = 1024 * 1024
KNOCK_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 20.0


class Conversation:
    """A connection to a worker that has said welcome. ``frames``: what came, and was not taken yet."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.link = _knocked(door)
        self.frames: list[Frame] = []
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._interest = selectors.EVENT_READ
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._woken)
        self._selector.register(self.link.fd, self._interest, self._receive)
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def send(self, kind: FrameKind, data: bytes) -> None:
        """Send data, no faster than the worker takes them."""
        self.link.put(kind, None, data)
        while self.is_ahead:
            self.turn(None)

    @property
    def is_ahead(self) -> bool:
        """Whether the worker has more before it than it should."""
        return self.link.outbox.bytes_waiting >= AHEAD_BYTES

    def turn(self, timeout_s: float | None) -> None:
        """Send, wait until something happens, receive."""
        try:
            done = self.link.flush()
        except OSError:
            self._lost()
        interest = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        if interest != self._interest:
            self._selector.modify(self.link.fd, interest, self._receive)
            self._interest = interest
        for key, events in self._selector.select(timeout_s):
            if events & selectors.EVENT_READ:
                key.data()

    def taken(self) -> list[Frame]:
        """Return what came, once."""
        frames, self.frames = self.frames, []
        return frames

    def wake(self) -> None:
        """End the turn that waits; from any thread, or a signal's handler."""
        with contextlib.suppress(OSError):  # a full pipe wakes as well
            os.write(self._wake_w, b"!")

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        """Have turns end, and call this, when a file can be read; PermissionError where it always can (a plain file)."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def unwatch(self, fd: int) -> None:
        """Look at it no more."""
        self._selector.unregister(fd)

    def close(self) -> None:
        """Hang up: what still runs there ends."""
        self._selector.close()
        self.link.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def _greet(self) -> None:
        deadline_s = time.monotonic() + ANSWER_SECONDS
        while not self.frames:
            self.turn(0.1)
            if time.monotonic() > deadline_s:
                raise NodeGone("the worker for this command does not answer")
        frame = self.frames.pop(0)
        if frame.kind == FrameKind.REFUSED:
            raise BadRequest(frame.meta)
        if frame.kind != FrameKind.WELCOME:
            raise PeerBroke(f"a worker does not begin with a frame of kind {frame.kind}")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 64)

    def _receive(self) -> None:
        try:
            self.frames.extend(self.link.inbox.receive())
        except BlockingIOError:
            return
        except (EOFError, ConnectionError):
            self._lost()

    def _lost(self) -> NoReturn:
        """The worker is gone: its successor at the door knows why."""
        raise _why_lost(self.door)


def _knocked(door: Door) -> Link:
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


def _why_lost(door: Door) -> WorldError:
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
