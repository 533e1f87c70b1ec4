"""A berth: a worker behind a lease, at which attempts run one after another, each in a room of its own.

    berth = Berth(door)
    berth.clear()                                             # what is stopped from now on is the next errand
    ran = berth.run(errand, (), log, result, checkpoint)      # blocks; another thread may call berth.stop(...)

The connection stays from one attempt to the next: a command that does nothing costs a round trip and a process, no lease and no
worker. A stop is SIGTERM, the errand's grace, SIGKILL; its time being over is a stop like any other. Whatever ends the worker
is raised as what it was: ``OverQuota`` (it took more than was leased), ``WorkerLost``, ``NodeGone``. Units: seconds.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.errors import BadRequest, NodeGone, PeerBroke
from worldos.jobs.limits import KILL_AFTER_S
from worldos.jobs.logs import Log
from worldos.jobs.outputs import Spool
from worldos.lanes import wire
from worldos.lanes.conversation import Conversation
from worldos.lanes.link import Door
from worldos.lanes.wire import FrameKind

if TYPE_CHECKING:
    from worldos.jobs.stay import Stay

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
        self.talk = Conversation(door)
        self._lock = threading.Lock()
        self._asked: tuple[str, float] | None = None  # why to stop, and with how much grace
        self._kill_s = 0.0
        self.stay: Stay | None = None  # what stays here, until another errand comes

    def run(
        self, errand: Errand, parcels: tuple[Iterator[bytes], ...], log: Log, result: Spool, checkpoint: Spool
    ) -> Ran:
        """Run one errand to its end. ``parcels``: its files, and those of its checkpoint, as tar streams."""
        self.stay = None
        self.talk.link.put(FrameKind.ROOM, None)
        for pieces in parcels:
            for piece in pieces:
                self.talk.send(FrameKind.INPUT, piece)
            self.talk.send(FrameKind.INPUT, b"")
        self.talk.link.put(FrameKind.EXEC, wire.Exec(argv=list(errand.argv), env=errand.env, results=errand.keep))
        self.talk.link.put(FrameKind.STDIN, None)  # a job has no input
        return self._follow(errand, log, [result, checkpoint] if errand.keep else [checkpoint])

    @property
    def is_own(self) -> bool:
        """Whether it is on a machine of our account: what comes back from another is never more than data."""
        return self.talk.door.is_own

    def clear(self) -> None:
        """Forget what was asked of the errand before: from here on a stop means the next."""
        with self._lock:
            self._asked = None
            self._kill_s = 0.0

    def stop(self, why: str, grace_s: float) -> None:
        """Ask what runs to stop: SIGTERM now, SIGKILL after the grace. Asked again, the shorter grace counts."""
        with self._lock:
            self._asked = (self._asked[0] if self._asked else why, grace_s)
        self.talk.wake()

    def close(self) -> None:
        """Hang up: what still runs there ends."""
        self.talk.close()

    # -- one errand ----------------------------------------------------------------------------------------------------------

    def _follow(self, errand: Errand, log: Log, spools: list[Spool]) -> Ran:
        """Take in what the worker says until the command has ended."""
        took = wire.Took(0, 0, 0)
        stopped = ""
        over_s = time.monotonic() + errand.runtime_s if errand.runtime_s else 0.0
        while True:
            for frame in self.talk.taken():
                match frame.kind:
                    case FrameKind.STDOUT:
                        log.put_out(frame.data)
                    case FrameKind.STDERR:
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
            self.talk.turn(self._patience(over_s if not stopped else 0.0))

    def _mind_stop(self, stopped: str) -> str:
        """Pass on that somebody wants it to stop; return why, once that was passed on."""
        now_s = time.monotonic()
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is not None:
            if not stopped:
                self.talk.link.put(FrameKind.SIGNAL, int(signal.SIGTERM))
            self._kill_s = min(self._kill_s or float("inf"), now_s + asked[1])
            stopped = stopped or asked[0]
        if self._kill_s and now_s >= self._kill_s + KILL_AFTER_S:
            raise NodeGone("the worker does not end what it runs")
        if self._kill_s and now_s >= self._kill_s:
            self.talk.link.put(FrameKind.SIGNAL, int(signal.SIGKILL))
        return stopped

    def _patience(self, over_s: float) -> float | None:
        """Return how long nothing can happen that nobody tells us."""
        due_s = [each for each in (over_s, self._kill_s) if each]
        return max(0.05, min(due_s) - time.monotonic()) if due_s else None
