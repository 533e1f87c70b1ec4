"""The asyncio twin: the same words, awaited.

``async with aio.use("CPU") as cpu:`` gives a handle whose ``submit`` returns an awaitable and whose ``map`` is an
asynchronous iterator with results in order. Nothing here blocks the event loop: what must wait, waits in a thread, and calls
are driven by the lane's own thread. Cancelling a task cancels its call if no worker has it yet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

from worldos.model.need import LeaseTerms
from worldos.sdk import use as front
from worldos.sdk.compute import Compute as SyncCompute
from worldos.sdk.events import Event
from worldos.sdk.gang import Wanted
from worldos.sdk.handle import Handle as SyncHandle
from worldos.sdk.handle import Statistics
from worldos.sdk.needs import Amount, Amounts
from worldos.sdk.queue import Message
from worldos.sdk.queue import Queue as SyncQueue
from worldos.sdk.use import GangWords, UseWords, need

__all__ = ["use", "need", "Handle", "Compute", "Queue", "Gang"]

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H")

AHEAD = 1024  # how many calls of a map are open at once


class Handle:
    """A handle, awaited. ``sync`` is the same lease as an ordinary handle, for other threads."""

    def __init__(self, sync: SyncHandle) -> None:
        self.sync = sync

    @property
    def leases(self) -> tuple[LeaseTerms, ...]:
        """The leases held now."""
        return self.sync.leases

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes on which it lies now."""
        return self.sync.nodes

    def statistics(self) -> Statistics:
        """Say what it has and does now."""
        return self.sync.statistics()

    async def activate(self, **settings: Any) -> None:
        """Let it work: wait until it can be reached."""
        await asyncio.to_thread(self.sync.activate, **settings)

    async def rest(self) -> None:
        """Let it sleep until ``activate``."""
        await asyncio.to_thread(self.sync.rest)

    async def command(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Make it do something by name."""
        return await asyncio.to_thread(self.sync.command, name, *args, **kwargs)

    async def wait(self, what: str | Callable[[], object], timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as its twin
        """Wait for an event of a topic, or for a condition to hold."""
        return await asyncio.to_thread(self.sync.wait, what, timeout)

    def event(self, topic: str, callback: Callable[[Event], object]) -> None:
        """Call ``callback(event)`` in this event loop at each event of a topic."""
        loop = asyncio.get_running_loop()
        self.sync.event(topic, lambda event: loop.call_soon_threadsafe(callback, event))

    async def respond(self, event: Event, answer: Any) -> None:
        """Answer an event that asks."""
        await asyncio.to_thread(self.sync.respond, event, answer)

    async def close(self) -> None:
        """Give it back; what still runs on it is stopped."""
        await asyncio.to_thread(self.sync.close)

    def __getattr__(self, name: str) -> Any:
        """Await any other method of the handle in a thread: ``await memory.put(...)``, ``await disk.list()``."""
        method = getattr(self.sync, name)
        return partial(asyncio.to_thread, method) if callable(method) else method


class Compute(Handle):
    """Processors, awaited."""

    sync: SyncCompute

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run ``fn(*args, **kwargs)`` on a worker; await the result."""
        return asyncio.wrap_future(self.sync.submit(fn, *args, **kwargs))

    async def map(self, fn: Callable[..., T], *iterables: Iterable[Any]) -> AsyncIterator[T]:
        """Run ``fn`` on each item; yield the results in order. At most ``AHEAD`` calls are open at once."""
        calls: deque[asyncio.Future[T]] = deque()
        try:
            for item in zip(*iterables, strict=False):
                calls.append(self.submit(fn, *item))
                if len(calls) >= AHEAD:
                    yield await calls.popleft()
            while calls:
                yield await calls.popleft()
        finally:
            for call in calls:
                call.cancel()


class Queue:
    """A durable queue, awaited: ``await queue.put(x)``, ``async for message in queue``. ``sync`` is the same for threads."""

    def __init__(self, sync: SyncQueue) -> None:
        self.sync = sync

    async def get(self, timeout: float | None = None) -> Message:  # noqa: ASYNC109 - as its twin
        """Take the oldest message, waiting for one; ``queue.Empty`` if none came in so many seconds."""
        return await asyncio.to_thread(self.sync.get, timeout)

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Take one message after the other; each is acknowledged when the next is asked for, unless it was settled."""
        while True:
            message = await self.get()
            yield message
            if not message.settled:
                await asyncio.to_thread(message.ack)

    def __getattr__(self, name: str) -> Any:
        """Await any other method of the queue in a thread."""
        method = getattr(self.sync, name)
        return partial(asyncio.to_thread, method) if callable(method) else method


class Gang(tuple[Any, ...]):
    """The handles of several needs, all or none."""

    __slots__ = ()

    async def close(self) -> None:
        """Give everything back."""
        for handle in self:
            await handle.close()


class Using(Generic[H]):
    """A use on its way: ``async with`` it, or ``await`` it and close the handle oneself."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._held: Any = None

    def __await__(self) -> Generator[Any, None, H]:
        return self._get().__await__()

    async def __aenter__(self) -> H:
        self._held = await self._get()
        return self._held  # type: ignore[no-any-return] # what `use` promised

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._held if isinstance(self._held, Gang) else (self._held,):
            await asyncio.to_thread(handle.sync.__exit__, kind, error, traceback)

    async def _get(self) -> H:
        asking = asyncio.ensure_future(asyncio.to_thread(self._begin))
        try:
            held = await asyncio.shield(asking)
        except asyncio.CancelledError:  # the answer still comes, and nobody is left to give it back
            asking.add_done_callback(_give_back)
            raise
        return Gang(map(_wrapped, held)) if isinstance(held, tuple) else _wrapped(held)  # type: ignore[return-value]


@overload
def use(kind: Literal["CPU", "GPU"], amount: Amounts | None = None, **words: Unpack[UseWords]) -> Using[Compute]: ...
@overload
def use(kind: Literal["Queue"], **words: Any) -> Using[Queue]: ...  # type: ignore[overload-overlap] # the narrower first
@overload
def use(kind: str, amount: Amount | None = None, **words: Unpack[UseWords]) -> Using[Handle]: ...
@overload
def use(*needs: Wanted[Any], **words: Unpack[GangWords]) -> Using[Gang]: ...
def use(*what: Any, **words: Any) -> Using[Any]:
    """Get the right to something: the words of ``worldos.use``, for ``async with`` or ``await``."""
    return Using(lambda: front.use(*what, **words))


def _wrapped(handle: Any) -> Handle | Queue:
    if isinstance(handle, SyncQueue):
        return Queue(handle)
    return Compute(handle) if isinstance(handle, SyncCompute) else Handle(handle)


def _give_back(asking: asyncio.Future[Any]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()
