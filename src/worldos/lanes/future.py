"""The future of one call on a lane: whoever waits for it drives the lane."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from threading import Condition
from typing import Any, Final, NamedTuple, Protocol

from worldos.lanes.pack import Function
from worldos.lanes.shm import Segment

PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
CANCELLED: Final = "CANCELLED_AND_NOTIFIED"
FINISHED: Final = "FINISHED"
DONE: Final = frozenset({CANCELLED, FINISHED})


class Part(NamedTuple):
    """A large buffer of a call: its bytes, and the shared segment that they are the beginning of, if any."""

    bytes: memoryview
    segment: Segment | None


NO_PARTS: Final[list[Part]] = []


class RemoteTraceback(Exception):
    """The traceback in the worker, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Show the text as the interpreter shows tracebacks."""
        return f'\n"""\n{self.text}"""'


class Driven(Protocol):
    """What a future needs of its lane."""

    condition: Condition

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        """Make the future done, or raise TimeoutError."""

    def cancel_call(self, future: LaneFuture) -> bool:
        """Cancel the call if no worker has it."""


class LaneFuture(Future[Any]):
    """As ``concurrent.futures.Future``; ``running`` means that a worker has the call."""

    def __init__(self, lane: Driven, call: int, function: Function, retries: int) -> None:
        # All futures of a lane share one condition: one for each would cost more than all the rest of a submit.
        self._condition = lane.condition
        self._state = PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Any], object]] = []
        self.lane = lane
        self.call = call
        self.function = function
        self.retries = retries
        self.known_as = (function.key, function.name)  # of its profile
        self.data: Any = b""
        self.parts: list[Part] = NO_PARTS

    @property
    def ended(self) -> bool:
        """As ``done``, without its lock: no state comes after these two."""
        return self._state in DONE

    def result(self, timeout: float | None = None) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._state != FINISHED:
            self._wait(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment] # noqa: PLW0642 - break the cycle through the traceback
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None."""
        if self._state != FINISHED:
            self._wait(timeout)
        return self._exception

    def _wait(self, timeout_s: float | None) -> None:
        if self._state != CANCELLED:
            self.lane.drive(self, timeout_s)
        if self._state == CANCELLED:
            raise CancelledError

    def cancel(self) -> bool:
        """Cancel the call if no worker has it yet."""
        return self._state == CANCELLED or self.lane.cancel_call(self)

    # The two below are for the lane alone; it holds the condition.

    def finish(self, value: Any, error: BaseException | None) -> bool:
        """Take the result; return whether callbacks wait for it."""
        self.data = b""
        self.parts = NO_PARTS
        self._result = value
        self._exception = error
        self._state = FINISHED
        for waiter in self._waiters:
            if error is None:
                waiter.add_result(self)
            else:
                waiter.add_exception(self)
        return bool(self._done_callbacks)

    def finish_cancelled(self) -> None:
        """End as cancelled."""
        self.data = b""
        self.parts = NO_PARTS
        self._state = CANCELLED
        for waiter in self._waiters:
            waiter.add_cancelled(self)

    def run_callbacks(self) -> None:
        """Run the callbacks; the condition is free."""
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def sent(self) -> None:
        """A worker has it."""
        self._state = RUNNING
