"""A handle: what a program holds while it has the right to something, and how it drives it: by the six verbs.

``activate`` and ``rest`` wake it and let it sleep, ``command`` makes it do something, ``wait`` waits for it, ``event``
listens to it, ``respond`` answers what it asks. Whatever the kind, these are there; kinds add what is natural to them.
A handle gives its lease back when it is closed, at the end of its ``with`` block, when it is collected (with a
``ResourceWarning``, as a file does), and when the program ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from worldos.errors import BadRequest, LeaseEnded, NodeGone, WorldError
from worldos.model.ids import LeaseId, NodeId
from worldos.model.need import LeaseTerms, Need
from worldos.model.units import show
from worldos.sdk.events import Callback, Event
from worldos.sdk.holding import Holding, Part, nodes_of

READY_TIMEOUT_S = 30.0
GIVE_UP = "give up"
GO_ON = "go on"


@dataclass(frozen=True)
class Statistics:
    """What a handle has and does now.

    ``amount`` is in the kind's base unit; ``losses`` counts workers that ended, ``reruns`` calls that were begun again
    elsewhere because of it.
    """

    kind: str
    amount: int
    leases: int
    nodes: int
    workers: int
    open_calls: int
    submitted: int
    delivered: int
    losses: int
    reruns: int


class Handle:
    """The right to something, and the six verbs to drive it."""

    def __init__(self, holding: Holding, part: Part) -> None:
        self._holding = holding
        self._part = part
        self._open = True

    # -- what it is -----------------------------------------------------------------------------------------------------

    @property
    def need(self) -> Need:
        """What was asked for."""
        return self._part.need

    @property
    def kind(self) -> str:
        """What kind of thing this is."""
        return self._part.need.kind

    @property
    def leases(self) -> tuple[LeaseTerms, ...]:
        """The leases held now, by name of the lease."""
        return tuple(sorted(self._part.leases.values(), key=lambda terms: terms.lease))

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The nodes on which it lies now, each once, sorted."""
        return nodes_of([self._part])

    @property
    def closed(self) -> bool:
        """Whether it was given back."""
        return not self._open

    def statistics(self) -> Statistics:
        """Say what it has and does now."""
        lane = self._part.lane.statistics()
        return Statistics(
            kind=self.kind,
            amount=self._part.granted(),
            leases=len(self._part.leases),
            nodes=len(self.nodes),
            workers=lane.workers,
            open_calls=lane.open_calls,
            submitted=lane.submitted,
            delivered=lane.delivered,
            losses=lane.losses,
            reruns=lane.reruns,
        )

    # -- the six verbs --------------------------------------------------------------------------------------------------

    def activate(self, timeout: float | None = READY_TIMEOUT_S) -> Self:
        """Let it work: wait until it can be reached, and wake it if it rests."""
        self._check()
        if not self._part.events.wait(lambda: self._part.ready or self._part.ended, timeout):
            raise TimeoutError(f"{self!r} could not be reached in {timeout} s")
        self._check()
        if self._part.resting:
            self._pause(paused=False)
        return self

    def rest(self) -> Self:
        """Let it sleep: what runs stops where it is, and goes on after ``activate``. The lease stays."""
        self._check()
        self._pause(paused=True)
        return self

    def command(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Make it do something by name, and return what came of it."""
        raise NotImplementedError

    def wait(self, what: Future[Any] | str | Callable[[], object], timeout: float | None = None) -> Any:
        """Wait for a future (returns its result), the next event of a topic (returns it), or a condition to hold."""
        if isinstance(what, Future):
            return what.result(timeout)
        self._check()
        if isinstance(what, str):
            event = self._part.events.wait_for(what, timeout)
            if event is None:
                raise TimeoutError(f"no event {what!r} in {timeout} s")
            return event
        if not callable(what):
            raise BadRequest(
                f"{what!r} is nothing to wait for", hint="give a future, the topic of an event, or a condition to call"
            )
        if not self._part.events.wait(what, timeout):
            raise TimeoutError(f"the condition did not hold in {timeout} s")
        return True

    def event(self, topic: str, callback: Callback) -> None:
        """Call ``callback(event)`` at each event of a topic (``"*"``: of every topic) from now on."""
        self._part.events.on(topic, callback)

    def respond(self, event: Event, answer: Any) -> None:
        """Answer an event that asks: to ``lease lost``, ``"go on"`` with what is left or ``"give up"`` all of it."""
        if not event.asks:
            raise BadRequest(f"{event.topic!r} does not ask for an answer")
        if answer == GIVE_UP:
            self.close()
        elif answer != GO_ON:
            raise BadRequest(f"{answer!r} is no answer to {event.topic!r}", hint=f"answer {GO_ON!r} or {GIVE_UP!r}")

    # -- its end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give it back. What still runs on it is stopped."""
        if self._open:
            self._open = False
            self._holding.let_go(self._part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.close()
        return None

    def __del__(self) -> None:
        if getattr(self, "_open", False) and not self._holding.closed:
            self._dropped()

    def _dropped(self) -> None:
        """Nobody can reach it any more."""
        message = f"{self!r} was never closed: use it in a with block"
        warnings.warn(message, ResourceWarning, stacklevel=3, source=self)
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a handle belongs to its program: call worldos.use() where it is needed")

    def __repr__(self) -> str:
        amount = show(self.kind, self._part.need.amount)
        state = "closed" if self.closed else f"{len(self._part.leases)} leases on {len(self.nodes)} nodes"
        return f"<{type(self).__name__} {self.kind} {amount}: {state}>"

    def _check(self) -> None:
        if not self._open:
            raise LeaseEnded(f"{self!r} was given back", hint="work with it inside its with block")
        if self._part.ended is not None:
            raise self._part.ended
        if self._holding.connection.ended is not None:
            raise self._holding.connection.ended
        if not self._part.leases and not self._part.sought:
            raise NodeGone(f"the nodes behind {self!r} are gone", hint="ask again with worldos.use()")

    def _pause(self, *, paused: bool) -> None:
        """Let all of it rest or go on; if a part of it cannot, none of it does."""
        connection = self._holding.connection
        done: list[LeaseId] = []
        try:
            for lease in list(self._part.leases):
                connection.pause(lease, paused=paused)
                done.append(lease)
        except WorldError:
            for lease in done:
                connection.pause(lease, paused=not paused)
            raise
        self._part.resting = paused
