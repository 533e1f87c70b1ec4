"""A stay: many attempts of one job at one berth, in a resident interpreter of its worker (lanes/resident.py).

    stay = Stay(berth, run, node, maker, shelf)
    stay.serve(run, more, began, over)        # blocks; another thread may stop a run

The worker is given as many tasks ahead as take ``STAY_AHEAD_S``, so that it never waits for this runner and others find some
left. They are done in order: what is put out, and what is made, belongs to the first that has not ended; of that first come the
files that it made, then those of its checkpoint. If the worker is lost, nobody knows how far it came: all that it was given is
lost. Units: seconds.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

import msgspec

from worldos.errors import BadRequest, NodeGone, OverQuota, PeerBroke, WorkerLost, WorldError
from worldos.jobs.attempt import Run
from worldos.jobs.berth import RUNTIME_OVER, Berth, Ran
from worldos.jobs.limits import KILL_AFTER_S, STAY_AHEAD_S, STAY_BEGAN_S, STAY_TASKS_MAX
from worldos.jobs.providers import Maker
from worldos.jobs.shelf import Shelf
from worldos.jobs.teller import Word
from worldos.lanes import wire
from worldos.lanes.wire import Ended, Frame, FrameKind, How
from worldos.model.work import Lost

More = Callable[[int], list[Run]]
Over = Callable[[Run, Ran | Word | WorldError | None], None]  # hears how an attempt ended, or what befell it
PARCELS: Final = 2
NOT_LOST: Final = (OverQuota, BadRequest, PeerBroke)  # of these only the first of the open ones can be at fault


class _Stop(msgspec.Struct):
    """Why a run is to stop, and when it is killed. ``kill_s``: 0 once it was."""

    why: str
    kill_s: float


class Place:
    """Where a run is, as it sees it."""

    def __init__(self, stay: Stay, run: Run) -> None:
        self._stay = stay
        self._run = run

    def stop(self, why: str, grace_s: float) -> None:
        """Ask the run to stop."""
        self._stay.stop(self._run, why, grace_s)


class Stay:
    """The tasks of one job at one berth. ``serve`` in one thread, ``stop`` from any."""

    def __init__(self, berth: Berth, run: Run, node: str, maker: Maker, shelf: Shelf) -> None:
        """Begin a stay for the job of a run, on the ``node`` of this name, maybe another account's, with the job's files."""
        self.job = run.attempt.job
        self._maker = maker
        self._berth = berth
        self._shelf = shelf
        self._talk = talk = berth.talk
        self._open: dict[int, Run] = {}
        self._asked: list[tuple[int, str, float]] = []  # index, why, grace
        self._stops: dict[int, _Stop] = {}
        self._lock = threading.Lock()
        self._mean_s = STAY_AHEAD_S
        self._since_s = 0.0  # the first is at it
        self._said = False  # that the first has begun
        self._parcels = 0  # that the first has sent whole: what it made, and its checkpoint
        talk.link.put(FrameKind.ROOM, None)
        files = run.files(shelf)
        if files is not None:
            self._send(files)
        talk.link.put(FrameKind.EXEC, wire.Exec(argv=list(run.spec.argv), env=run.told(node), results=run.spec.keep))

    def stop(self, run: Run, why: str, grace_s: float) -> None:
        """Ask a run to stop: SIGTERM when it is its turn, SIGKILL after the grace."""
        with self._lock:
            self._asked.append((run.attempt.index, why, grace_s))
        self._talk.wake()

    def serve(self, first: Run, more: More, began: Callable[[Run], None], over: Over) -> bool:
        """Have attempts done until there are no more; return whether the berth is good for others."""
        try:
            self._begin([first], over)
            while self._refilled(more, over):
                self._turn(began, over)
        except (WorldError, OSError) as error:
            known = error if isinstance(error, WorldError) else WorldError(str(error))
            for number, run in enumerate(self._open.values()):
                run.leave()
                over(run, WorkerLost(str(known)) if number and isinstance(known, NOT_LOST) else known)
            return False
        return True

    def _refilled(self, more: More, over: Over) -> bool:
        """Give the worker more where it has little before it; return whether it has something."""
        wanted = min(STAY_TASKS_MAX, max(1, int(STAY_AHEAD_S / self._mean_s)))
        if len(self._open) <= wanted // 2:
            self._begin(more(wanted - len(self._open)), over)
        return bool(self._open)

    def _turn(self, began: Callable[[Run], None], over: Over) -> None:
        self._mind_stops()
        self._talk.turn(self._patience())
        for frame in self._talk.taken():
            self._take(frame, over)
        if not self._said and self._open and time.monotonic() > self._since_s + STAY_BEGAN_S:
            self._said = True
            began(self._first)

    @property
    def _first(self) -> Run:
        return next(iter(self._open.values()))

    def _begin(self, runs: list[Run], over: Over) -> None:
        if not self._open:
            self._since_s, self._said = time.monotonic(), False
        tasks: list[tuple[int, int]] = []
        for run in runs:
            if run.attempt.index in self._open:
                over(run, Lost(attempt=run.attempt, why="an attempt before it is not over at its runner"))
            elif not run.enter(Place(self, run), own=self._berth.is_own, maker=self._maker):
                over(run, run.unbegun())
            elif not run.continues or self._brought(run, tasks, over):
                self._open[run.attempt.index] = run
                tasks.append((run.attempt.index, run.attempt.number))
        self._name(tasks)

    def _name(self, tasks: list[tuple[int, int]]) -> None:
        if tasks:
            self._talk.link.put(FrameKind.TASKS, list(tasks))
            tasks.clear()

    def _brought(self, run: Run, before: list[tuple[int, int]], over: Over) -> bool:
        """Send the checkpoint of a run, which is named next; False if it cannot be had, which is that run's alone."""
        self._name(before)
        begun = False
        try:
            pieces = run.checkpoint(self._shelf)
            first = next(pieces, b"")
            begun = bool(first)
            if begun:
                self._send(chain((first,), pieces))
        except WorldError as error:
            run.leave()
            over(run, error)
            if begun:  # the worker has half of it
                raise WorkerLost(f"a checkpoint broke off: {error}") from error
            return False
        return True

    def _send(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self._talk.send(FrameKind.INPUT, piece)
        self._talk.send(FrameKind.INPUT, b"")

    def _take(self, frame: Frame, over: Over) -> None:
        if not self._open:
            raise PeerBroke("a worker speaks of a task that it was not given")
        match frame.kind:
            case FrameKind.STDOUT:
                self._first.log.put_out(frame.data)
            case FrameKind.STDERR:
                self._first.log.write(frame.data)
            case FrameKind.OUTPUT if self._parcels < PARCELS:
                spool = self._first.left if self._parcels else self._first.result
                if frame.data:
                    spool.add(frame.data)
                else:
                    spool.finish()
                    self._parcels += 1
            case FrameKind.ENDED:
                self._parcels = 0
                for ended in frame.meta:
                    self._end(ended, over)
                self._since_s, self._said = time.monotonic(), False
            case _:
                raise PeerBroke(f"a resident does not send frames of kind {frame.kind}")

    def _end(self, ended: Ended, over: Over) -> None:
        run = self._open.pop(ended.index, None)
        if run is None:
            raise PeerBroke("a worker speaks of a task that it was not given")
        stop = self._stops.pop(ended.index, None)
        run.leave()
        match ended.how:
            case How.UNBEGUN:
                over(run, run.unbegun())
            case How.LOST:
                over(run, WorkerLost("it was stopped in the place of another"))
            case How.DONE:
                run.made = ended.made
                self._mean_s = (3 * self._mean_s + ended.wall_us / 1e6) / 4
                took = wire.Took(ended.cpu_us, ended.wall_us, ended.memory_bytes)
                over(run, Ran(code=ended.code, why=ended.why, took=took, stopped=stop.why if stop else ""))

    # -- stopping ------------------------------------------------------------------------------------------------------------

    def _mind_stops(self) -> None:
        """Pass on that runs are to stop; kill those whose grace is over."""
        now_s = time.monotonic()
        with self._lock:
            asked, self._asked = self._asked, []
        runtime_s = self._first.spec.runtime_s
        if runtime_s and now_s > self._since_s + runtime_s and self._first.attempt.index not in self._stops:
            asked.append((self._first.attempt.index, RUNTIME_OVER, float(self._first.spec.grace_s)))
        for index, why, grace_s in asked:
            if index in self._stops:
                self._stops[index].kill_s = min(self._stops[index].kill_s, now_s + grace_s)
            elif index in self._open:
                self._stops[index] = _Stop(why, now_s + grace_s)
                self._talk.link.put(FrameKind.STOP, (index, int(signal.SIGTERM)))
        for index, stop in self._stops.items():
            if now_s >= stop.kill_s + KILL_AFTER_S:
                raise NodeGone("the worker does not end what it runs")
            if now_s >= stop.kill_s:
                self._talk.link.put(FrameKind.STOP, (index, int(signal.SIGKILL)))

    def _patience(self) -> float | None:
        """Return how long nothing can happen that nobody tells us."""
        due_s = [stop.kill_s for stop in self._stops.values()]
        if not self._said:
            due_s.append(self._since_s + STAY_BEGAN_S)
        if self._first.spec.runtime_s:
            due_s.append(self._since_s + self._first.spec.runtime_s)
        return max(0.05, min(due_s) - time.monotonic()) if due_s else None
