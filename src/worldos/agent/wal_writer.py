"""What writes the logs of all council seats of an agent, in rounds: a thread, or the event loop itself.

A round takes all that was appended while the round before was on its way to the disk: one write and one sync a log, however many
appends there were. The event loop is told once for all that is done. Nothing is lost between the two: who closes a log, or the
writer, waits for what was appended before.

To wake the thread and be woken by it takes longer than a good disk takes for a small round. So such a round is written by the
loop, as long as the disk has kept its credit: each quick round earns a little, each slow one costs much of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import threading
from typing import Final

from worldos.agent import clock
from worldos.agent.wal import Wal
from worldos.errors import DiskFull, WorldError

SMALL_BYTES: Final = 4096  # a longer round leaves the loop free meanwhile
QUICK_NS: Final = 2_000_000  # a round that takes no longer earns credit ...
CREDIT_MIN: Final = 8  # ... and with so much of it, the loop writes
CREDIT_MAX: Final = 64
SLOW_COST: Final = 4
STALL_NS: Final = 20_000_000  # a round that takes longer costs all of it


class WalWriter:
    """The thread that writes the logs of all realms of an agent, in rounds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: list[_Job] = []  # of this turn of the loop
        self._done: dict[Wal, int] = {}
        self._failed: list[tuple[Wal, WorldError]] = []
        self._told = False
        self._credit = 0
        self._queued = self._written = 0  # by the thread
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="wal", daemon=True)
        self._thread.start()

    def put(self, wal: Wal, number: int, body: bytes, *, whole: bool) -> None:
        """Queue an append; those of one turn of the loop go together."""
        if not self._waiting:
            self._loop.call_soon(lambda: self._flush(here=True))
        self._waiting.append(_Job(wal, number, body, whole=whole))

    def forget(self, wal: Wal, *, erase: bool) -> threading.Event:
        """Close a log after all that was put for it; return what is set when that is done."""
        self._flush()
        job = _Job(wal, 0, None, whole=erase)
        self._queued += 1
        self._queue.put(job)
        return job.ended

    def close(self) -> None:
        """Write what is queued, and end."""
        self._flush()
        self._queue.put(None)
        self._thread.join()

    def _flush(self, *, here: bool = False) -> None:
        """Have what was put written: by the thread, or ``here`` if that is small and the disk quick."""
        jobs, self._waiting = self._waiting, []
        if here and self._queued == self._written and self._credit >= CREDIT_MIN and _is_small(jobs):
            self._write_all(jobs)
            self._tell()
            return
        for job in jobs:
            self._queued += 1
            self._queue.put(job)

    def _run(self) -> None:
        while True:
            jobs = [self._queue.get()]
            while not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            going_on = jobs[-1] is not None
            self._write_all([job for job in jobs if job is not None])
            with self._lock:
                self._written += len(jobs)
                told, self._told = self._told, self._told or bool(self._done or self._failed)
                tells = self._told and not told
            if tells:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                    self._loop.call_soon_threadsafe(self._tell)
            if not going_on:
                return

    def _write_all(self, jobs: list[_Job]) -> None:
        by_wal: dict[Wal, list[_Job]] = {}
        for job in jobs:
            by_wal.setdefault(job.wal, []).append(job)
        for wal, mine in by_wal.items():
            self._write_one(wal, [job for job in mine if job.body is not None])
            for job in mine:
                if job.body is None:
                    wal.release(erase=job.whole)
                    job.ended.set()

    def _write_one(self, wal: Wal, jobs: list[_Job]) -> None:
        if not jobs:
            return
        begins = max((at for at, job in enumerate(jobs) if job.whole), default=-1)
        bodies = [job.body for job in jobs[max(0, begins) :] if job.body is not None]
        why: WorldError | None = None
        sure = False
        begun_ns = clock.now_ns()
        try:
            sure = wal.write_round(bodies, whole=begins >= 0)
        except OSError as error:
            why = DiskFull(f"{wal.folder} cannot be written: {os.strerror(error.errno or errno.EIO)}")
        except DiskFull as error:
            why = error
        self._value(clock.now_ns() - begun_ns)
        number = max(job.number for job in jobs)
        if why is not None or (sure and number):
            self._report(wal, number, why)

    def _report(self, wal: Wal, number: int, error: WorldError | None) -> None:
        """Note that all appends up to this number are on the disk, or why none will be any more."""
        with self._lock:
            if error is not None:
                self._failed.append((wal, error))
            else:
                self._done[wal] = number

    def _value(self, took_ns: int) -> None:
        """Take in how long a round took."""
        if took_ns <= QUICK_NS:
            self._credit = min(CREDIT_MAX, self._credit + 1)
        else:
            self._credit = max(0, self._credit - SLOW_COST) if took_ns < STALL_NS else 0

    def _tell(self) -> None:
        with self._lock:
            done, self._done = self._done, {}
            failed, self._failed = self._failed, []
            self._told = False
        for wal, number in done.items():
            wal.done(number)
        for wal, error in failed:
            wal.failed(error)


def _is_small(jobs: list[_Job]) -> bool:
    """Tell whether these are appends of a few bytes, and nothing else."""
    size = 0
    for job in jobs:
        if job.body is None or job.whole:
            return False
        size += len(job.body)
    return size <= SMALL_BYTES


class _Job:
    """An append on its way to the disk; without a body: close the log, and erase it if ``whole``."""

    __slots__ = ("body", "ended", "number", "wal", "whole")

    def __init__(self, wal: Wal, number: int, body: bytes | None, *, whole: bool) -> None:
        self.wal = wal
        self.number = number
        self.body = body
        self.whole = whole
        if body is None:
            self.ended = threading.Event()
