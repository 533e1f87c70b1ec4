"""The workers of a lane: who comes, who goes, who is doubted, who retires; and what they have to do.

The part of a lane (client.py) that the control connection speaks to. All of it is quick, and safe from any thread.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor
from typing import Final

from worldos.errors import WorldError
from worldos.kernel import call_messages as kernel
from worldos.kernel.call_messages import Loss
from worldos.kernel.calls import Calls
from worldos.kernel.growing import Load
from worldos.lanes import pack
from worldos.lanes.doors import Doors
from worldos.lanes.future import LaneFuture
from worldos.lanes.lane_use import LaneUse
from worldos.lanes.link import Door, Link
from worldos.lanes.tender import Tender
from worldos.lanes.wheel import Wheel

TIMED_TURN_SECONDS: Final = 0.005


class Crew(Executor):
    """The workers behind a lane's doors. The lane makes the fields and carries out effects."""

    condition: threading.Condition
    _lock: threading.RLock
    _machine: Calls
    _functions: pack.Functions
    _calls: dict[int, LaneFuture]
    _doors: Doors
    _workers: dict[int, Link]
    _doubted: set[str]
    _wheel: Wheel
    _tender: Tender
    _broken: WorldError | None
    _ended: bool
    _torn: bool
    _next_call: int
    _delivered: int
    _losses: int

    def _begin(self) -> None:
        """Enter a change of state; the lock is held."""
        raise NotImplementedError

    def _act(self, effects: list[kernel.Effect], why: str = "") -> None:
        """Carry out effects."""
        raise NotImplementedError

    def _run_callbacks(self) -> None:
        """Run what is the caller's; the lock is free."""
        raise NotImplementedError

    def load(self) -> Load:
        """Return what there is to do."""
        service_ns = self._machine.service_ns()
        return Load(open_calls=len(self._calls), delivered=self._delivered, service_ns=service_ns)

    def wanted_bytes(self) -> int:
        """Return the most memory that a call which waits is known to take."""
        with self._lock:
            return self._machine.wanted_bytes()

    def statistics(self) -> LaneUse:
        """Return what the lane does now."""
        return LaneUse(
            workers=len(self._workers),
            open_calls=len(self._calls),
            submitted=self._next_call,
            delivered=self._delivered,
            losses=self._losses,
            reruns=self._machine.reruns,
        )

    def add_door(self, door: Door) -> None:
        """Take a worker in. It gets calls as soon as it has answered."""
        with self._lock:
            if self._broken is not None:
                return
            self._begin()
            self._functions.far = self._functions.far or not door.local
            self._doors.add(door)
            self._torn = False
            if self._calls and self._tender.sleeps:
                self._tender.wake()

    def retire(self, path: str) -> None:
        """Give the worker behind this door nothing more; what it has not begun runs elsewhere."""
        with self._lock:
            self._begin()
            number = self._doors.number_at(path)
            if number:
                self._act(self._machine.retire(number))
            else:  # it has not answered yet, and need not
                self._doors.lose(path, "it was given back", Loss.TAKEN_BACK)
            self._doors.flush_all()
            self._torn = False

    def is_busy(self, path: str) -> bool:
        """Tell whether the worker behind this door has any call."""
        with self._lock:
            return bool(self._machine.outstanding(self._doors.number_at(path)))

    def lose_door(self, path: str, why: str, loss: Loss = Loss.NODE_GONE) -> None:
        """Give up a worker for good: its lease or its node is gone. Its calls run elsewhere."""
        with self._lock:
            self._begin()
            self._doors.lose(path, why, loss)
            self._torn = False
        self._run_callbacks()

    def no_more_doors(self, why: str = "") -> None:
        """Know that no door will be added: calls without any worker fail with NodeGone, and ``why``."""
        with self._lock:
            self._begin()
            self._ended = True
            if not len(self._doors):
                self._act(self._machine.handle(kernel.WorkersEnded()), why)
            self._torn = False
        self._run_callbacks()

    def doubt(self, node: str) -> None:
        """Run the open calls of a suspected node elsewhere too."""
        self._judge(node, kernel.WorkerDoubted)
        self._doubted.add(node)

    def trust(self, node: str) -> None:
        """Use a node again that was doubted."""
        self._doubted.discard(node)
        self._judge(node, kernel.WorkerTrusted)

    def _judge(self, node: str, event: type[kernel.WorkerDoubted | kernel.WorkerTrusted]) -> None:
        with self._lock:
            self._begin()
            for number, link in sorted(self._workers.items()):
                if link.door.node == node:
                    self._act(self._machine.handle(event(worker=number)))
            self._doors.flush_all()
            self._torn = False

    def wait_for_workers(self, count: int, timeout_s: float) -> bool:
        """Drive until so many workers have answered; return whether they have."""
        deadline_s = time.monotonic() + timeout_s
        while len(self._workers) < count and time.monotonic() < deadline_s:
            if not self._wheel.pump(TIMED_TURN_SECONDS):
                with self._lock:
                    self.condition.wait(TIMED_TURN_SECONDS)
        return len(self._workers) >= count
