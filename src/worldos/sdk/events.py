"""What happens to a handle, for whoever waits for it or wants to be called.

Topics of every handle: ``lease added``, ``lease lost``, ``node silent``, ``node heard``, ``ready`` (its workers can be
reached), ``ended``; drivers add topics of their own. Callbacks run one after the other on one thread of the handle, so they
may wait and may call the handle. An event that its sender wants answered (``asks``) is answered by ``respond``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from worldos.errors import BadRequest

LOOK_S = 0.05  # how often a condition of the caller's own is looked at, beside at each event

log = logging.getLogger("worldos")


@dataclass(frozen=True)
class Event:
    """One thing that happened: a topic, its number on this handle, and what there is to know."""

    topic: str
    number: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    asks: bool = False


Callback = Callable[[Event], object]


class Events:
    """The events of one handle, in order. Safe from any thread; ``tell`` never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._callbacks: dict[str, list[Callback]] = {}
        self._last: dict[str, Event] = {}
        self._queue: SimpleQueue[tuple[Callback, Event] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._number = 0
        self._closed = False

    def tell(self, topic: str, *, asks: bool = False, **fields: Any) -> Event:
        """Note that something happened."""
        with self._changed:
            self._number += 1
            event = Event(topic, self._number, fields, asks)
            self._last[topic] = event
            if not self._closed:
                for callback in [*self._callbacks.get(topic, ()), *self._callbacks.get("*", ())]:
                    self._queue.put((callback, event))
            self._changed.notify_all()
        return event

    def on(self, topic: str, callback: Callback) -> None:
        """Call ``callback`` at each event of a topic from now on; ``"*"`` is every topic."""
        if not callable(callback):
            raise BadRequest(f"{callback!r} cannot be called", hint="give a function that takes the event")
        with self._changed:
            self._callbacks.setdefault(topic, []).append(callback)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="worldos-events", daemon=True)
                self._thread.start()

    def wait(self, condition: Callable[[], object], timeout: float | None) -> bool:
        """Wait until the condition holds; it is looked at after each event and every 50 ms."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def wait_for(self, topic: str, timeout: float | None) -> Event | None:
        """Wait for the next event of a topic; ``None`` when none came in time."""
        with self._changed:
            before = self._last.get(topic)
            if not self._changed.wait_for(lambda: self._last.get(topic) is not before, timeout):
                return None
            return self._last[topic]

    def close(self) -> None:
        """Let the callbacks that are due run, and no more."""
        with self._changed:
            self._closed = True
            self._queue.put(None)
            self._changed.notify_all()

    def _run(self) -> None:
        while (due := self._queue.get()) is not None:
            callback, event = due
            try:
                callback(event)
            except Exception:  # foreign code: its failure must not cost the callbacks after it
                log.exception("the callback for %r failed", event.topic)
