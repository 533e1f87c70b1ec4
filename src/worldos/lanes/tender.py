"""The background thread of a lane: it drives when calls are open and nobody else does.

It looks every two milliseconds while the lane is in use, and sleeps without any timer when it has not been for a while. Who
waits in ``result()`` takes over as soon as it sees him: he is quicker, since his result then crosses no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from worldos.lanes.wheel import Wheel

TEND_SECONDS: Final = 0.002
IDLE_ROUNDS: Final = 50


class Tender:
    """The thread, made when it is first needed. ``turns``: counted by whoever drives."""

    def __init__(self, wheel: Wheel, over: Callable[[], bool]) -> None:
        self._wheel = wheel
        self._over = over
        self.turns = 0
        self._thread: threading.Thread | None = None
        self._bell = threading.Event()
        self.sleeps = True

    def wake(self) -> None:
        """Let it look after the lane; the lane's lock is held."""
        self.sleeps = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worldos-lane", daemon=True)
            self._thread.start()
        self._bell.set()

    def _run(self) -> None:
        idle = 0
        while not self._over():
            turns = self.turns
            time.sleep(TEND_SECONDS)
            if self.turns != turns:
                idle = 0
                continue
            ours = self._wheel.take()
            if ours:
                idle = 0
                self._wheel.keep()
            elif ours is None:
                idle += 1
                if idle > IDLE_ROUNDS:
                    idle = 0
                    self._sleep()

    def _sleep(self) -> None:
        """Sleep until ``wake``. What comes between the flag and the bell rings the bell."""
        self._bell.clear()
        self.sleeps = True
        if self._wheel.take():  # a call came in while the flag still said that we were awake
            self.sleeps = False
            self._wheel.keep()
            return
        self._bell.wait()

    def end(self) -> None:
        """Let the thread end."""
        self._bell.set()
