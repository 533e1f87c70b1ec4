"""A handle on what a driver drives: the six verbs go to the lane object behind the lease (drivers/lane_object.py).

A command runs at most once: what it changes is state, and state that is lost is not got back by trying again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self

from worldos.sdk.events import Callback, Event
from worldos.sdk.handle import READY_TIMEOUT_S, Handle

TOPICS = frozenset({"lease added", "lease lost", "node silent", "node heard", "not reachable", "ready", "ended"})
WAIT_S_MAX = 3600.0


class Device(Handle):
    """Anything that a driver drives."""

    _listens = False

    def activate(self, timeout: float | None = READY_TIMEOUT_S, **settings: Any) -> Self:
        """Wait until it can be reached, wake it, and let it get ready with settings of its kind."""
        super().activate(timeout)
        self._verb("activate", **settings)
        return self

    def rest(self) -> Self:
        """Let it let go of what it holds open; a command or ``activate`` wakes it up again."""
        self._verb("rest")
        return self

    def command(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Make it do something by name; an error there is raised here."""
        return self._verb("command", name, *args, **kwargs)

    def wait(self, what: Future[Any] | str | Callable[[], object], timeout: float | None = None) -> Any:
        """Wait as every handle does, or for a condition that the driver knows by name."""
        if not isinstance(what, str) or what in TOPICS:
            return super().wait(what, timeout)
        if not self._verb("wait", what, min(WAIT_S_MAX, WAIT_S_MAX if timeout is None else timeout)):
            raise TimeoutError(f"{what!r} did not hold in {timeout} s")
        return True

    def event(self, topic: str, callback: Callback) -> None:
        """Call ``callback(event)`` at each event of a topic, of the driver too; ``event.fields["payload"]`` is its word."""
        super().event(topic, callback)
        if topic not in TOPICS and not self._listens:
            self._listens = True
            self._part.lane.listen(self._hear)

    def respond(self, event: Event, answer: Any) -> None:
        """Answer an event of the driver, or one that every handle has."""
        if event.topic in TOPICS:
            super().respond(event, answer)
        else:
            self._verb("respond", event.fields["id"], answer)

    def _hear(self, number: int, topic: str, payload: Any) -> None:
        self._part.events.tell(topic, asks=True, id=number, payload=payload)

    def _verb(self, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return self._part.lane.verb(verb, *args, **kwargs).result()
