"""The one thread of an agent that writes the logs of all its council seats, in rounds.

A round takes all that was appended while the round before was on its way to the disk: one write and one sync a log, however many
appends there were. The event loop is told once for all that is done. Nothing is lost between the two: who closes a log, or the
writer, waits for what was appended before.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import threading

from worldos.agent.wal import Wal
from worldos.errors import DiskFull, WorldError


class WalWriter:
    """The thread that writes the logs of all realms of an agent, in rounds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: list[_Job] = []  # of this turn of the loop
        self._done: dict[Wal, int] = {}
        self._failed: list[tuple[Wal, WorldError]] = []
        self._told = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="wal", daemon=True)
        self._thread.start()

    def put(self, wal: Wal, number: int, body: bytes, *, whole: bool) -> None:
        """Queue an append; those of one turn of the loop go together."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(_Job(wal, number, body, whole=whole))

    def forget(self, wal: Wal, *, erase: bool) -> threading.Event:
        """Close a log after all that was put for it; return what is set when that is done."""
        self._flush()
        job = _Job(wal, 0, None, whole=erase)
        self._queue.put(job)
        return job.ended

    def close(self) -> None:
        """Write what is queued, and end."""
        self._flush()
        self._queue.put(None)
        self._thread.join()

    def _flush(self) -> None:
        for job in self._waiting:
            self._queue.put(job)
        self._waiting = []

    def _run(self) -> None:
        while True:
            jobs = [self._queue.get()]
            while not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            going_on = jobs[-1] is not None
            self._write_all([job for job in jobs if job is not None])
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
        try:
            sure = wal.write_round(bodies, whole=begins >= 0)
        except OSError as error:
            why = DiskFull(f"{wal.folder} cannot be written: {os.strerror(error.errno or errno.EIO)}")
            self._report(wal, 0, why)
        except DiskFull as error:
            self._report(wal, 0, error)
        else:
            number = max(job.number for job in jobs)
            if sure and number:
                self._report(wal, number, None)

    def _report(self, wal: Wal, number: int, error: WorldError | None) -> None:
        with self._lock:
            if error is not None:
                self._failed.append((wal, error))
            else:
                self._done[wal] = number
            told, self._told = self._told, True
        if not told:
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _tell(self) -> None:
        with self._lock:
            done, self._done = self._done, {}
            failed, self._failed = self._failed, []
            self._told = False
        for wal, number in done.items():
            wal.done(number)
        for wal, error in failed:
            wal.failed(error)


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
