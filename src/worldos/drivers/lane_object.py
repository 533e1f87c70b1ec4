"""The lane object: what a worker drives for the holder of a lease, by the six verbs.

A plain synchronous object in a process of its own, built from ``LaneNeeds.driver`` and ``LaneNeeds.arguments``. The
worker calls ``event(emit)`` once, before anything else, then each verb as the holder says it, one at a time. All
names and arguments come from outside: only what is in the tables can be called, and each argument is checked against
its type before it gets any further; what does not fit is a ``BadRequest``.

A lane object need not inherit from ``LaneObject``: the six methods are the contract (``SixVerbs``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from worldos.errors import BadRequest

Emit = Callable[[str, Any], Any]
"""Sends an event to the holder: topic and payload (values that msgpack carries); returns the event's id."""

LOOK_S: Final = 0.01  # how often a condition is looked at while somebody waits for it
WAIT_S_MAX: Final = 3600.0
Bytes: Final = (bytes, bytearray, memoryview)


@runtime_checkable
class SixVerbs(Protocol):
    """The whole driver interface, as the worker sees it."""

    def activate(self, **settings: Any) -> Any:
        """Get ready, with settings of the kind; may be called again to change them."""

    def rest(self) -> None:
        """Let go of what is held (open files, a device); ``activate`` or a command wakes it up again."""

    def command(self, name: str, *args: Any) -> Any:
        """Do one thing and return its result."""

    def wait(self, condition: str, timeout_s: float) -> bool:
        """Return True once the condition holds, False when it did not in time."""

    def event(self, emit: Emit) -> None:
        """Take the function by which events reach the holder."""

    def respond(self, event_id: int, answer: Any) -> None:
        """Take the holder's answer to an event."""


class Command(NamedTuple):
    """A function that the holder may call, and the types of its arguments in order."""

    function: Callable[..., Any]
    types: tuple[type | tuple[type, ...], ...] = ()


class LaneObject:
    """The six verbs over two tables: what may be commanded, and what may be waited for."""

    kind = "this resource"

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        self.conditions: dict[str, Callable[[], bool]] = {}
        self.emit: Emit = lambda _topic, _payload: 0

    def activate(self, **settings: Any) -> Any:
        """Refuse settings: a kind that has some overrides this."""
        if settings:
            raise BadRequest(f"{self.kind} has no setting named {sorted(settings)[0]!r}")

    def rest(self) -> None:
        """Hold nothing: a kind that does overrides this."""

    def command(self, name: Any, *args: Any) -> Any:
        """Call a function of the table with arguments of its types."""
        command = self.commands.get(name) if isinstance(name, str) else None
        if command is None:
            raise BadRequest(f"{self.kind} has no command {name!r}", hint=f"it has: {', '.join(sorted(self.commands))}")
        if len(args) != len(command.types):
            raise BadRequest(f"{name} takes {len(command.types)} arguments, not {len(args)}")
        for number, (value, wanted) in enumerate(zip(args, command.types, strict=True), 1):
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise BadRequest(f"argument {number} of {name} cannot be of type {type(value).__name__}")
        return command.function(*args)

    def wait(self, condition: Any, timeout_s: Any) -> bool:
        """Look at a condition of the table until it holds or the time is over; other commands wait meanwhile."""
        holds = self.conditions.get(condition) if isinstance(condition, str) else None
        if holds is None:
            known = ", ".join(sorted(self.conditions)) or "none"
            raise BadRequest(f"{self.kind} has no condition {condition!r} to wait for", hint=f"it has: {known}")
        if not isinstance(timeout_s, int | float) or not 0 <= timeout_s <= WAIT_S_MAX:
            raise BadRequest(f"a time to wait is 0 to {WAIT_S_MAX:.0f} seconds, not {timeout_s!r}")
        end = time.monotonic() + timeout_s
        while not holds():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(LOOK_S, left))
        return True

    def event(self, emit: Emit) -> None:
        """Keep the function by which events reach the holder."""
        self.emit = emit

    def respond(self, event_id: int, answer: Any) -> None:
        """Refuse an answer: a kind that asks overrides this."""
        raise BadRequest(f"{self.kind} asked nothing in event {event_id!r}")
