"""Who drives a lane: one thread at a time, the others sleep until it hands over or their call is done.

The thread that waits in ``result()`` is the best driver, since its result then crosses no thread; the background thread
(``tender``) takes the wheel only when nobody waits, and gives it up as soon as somebody does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from worldos.lanes.future import LaneFuture

TURN_SECONDS: Final = 0.05


class Wheel:
    """The right to drive. ``turn``: send, wait so long, take in news. ``busy``: whether there is reason to drive."""

    def __init__(
        self, condition: threading.Condition, turn: Callable[[float], None], busy: Callable[[], object]
    ) -> None:
        self._condition = condition
        self._turn = turn
        self._busy = busy
        self._driver = 0
        self._sleepers = 0

    @property
    def free(self) -> bool:
        """Whether nobody drives."""
        return not self._driver

    def wake_sleepers(self) -> None:
        """Let those who sleep look whether their calls are done; the lock is held."""
        if self._sleepers:
            self._condition.notify_all()

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        """Drive, or sleep while another thread does, until the future is done. Raises TimeoutError."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        me = threading.get_ident()
        with self._condition:
            while self._driver not in {0, me}:
                if future.ended:
                    return
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise FutureTimeout
                self._sleepers += 1
                try:
                    self._condition.wait(left_s)
                finally:
                    self._sleepers -= 1
            nested = self._driver == me  # in a callback that this thread runs as the driver
            self._driver = me
        try:
            while not future.ended:
                if deadline_s is None:
                    self._turn(TURN_SECONDS)
                    continue
                left_s = deadline_s - time.monotonic()
                self._turn(min(TURN_SECONDS, max(0.0, left_s)))
                if left_s <= 0 and not future.ended:
                    raise FutureTimeout
        finally:
            if not nested:
                self._step_down()

    def pump(self, timeout_s: float) -> bool:
        """Drive for one turn unless somebody does."""
        with self._condition:
            if self._driver:
                return False
            self._driver = threading.get_ident()
        try:
            self._turn(timeout_s)
        finally:
            self._step_down()
        return True

    def take(self) -> bool | None:
        """Take the wheel: True if it is ours, False if another has it, None if there is no reason to drive."""
        with self._condition:
            if self._driver:
                return False
            if not self._busy():
                return None
            self._driver = threading.get_ident()
            return True

    def keep(self) -> None:
        """Drive until somebody else waits, or there is no reason to; hand over."""
        try:
            while self._busy() and not self._sleepers:
                self._turn(TURN_SECONDS)
        finally:
            self._step_down()

    def _step_down(self) -> None:
        with self._condition:
            self._driver = 0
            self.wake_sleepers()
