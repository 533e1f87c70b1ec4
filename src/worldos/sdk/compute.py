"""Processors: a handle that is also an executor, so that every program that knows ``concurrent.futures`` knows it.

Calls go straight to the workers (lanes/client.py); the agent is not on the way. A worker or node that is lost costs nothing
but time: its calls run elsewhere, as often as ``retries`` says, and each future gets one result. ``retries=0`` is for
what must not run twice.

What CPython tests of its own executors holds here (tests/sdk/test_executor_semantics.py); the differences that are meant
are in docs/guides/your-program.md.
"""

from __future__ import annotations

import itertools
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from worldos.errors import BadRequest
from worldos.lanes.failing import BadChunk, Unsendable
from worldos.sdk import leaving, profiles
from worldos.sdk.elastic import Elastic
from worldos.sdk.handle import Handle
from worldos.sdk.holding import Holding, Part

P = ParamSpec("P")
T = TypeVar("T")

COMMANDS = ("call", "map")


class Compute(Handle, Executor):
    """Processors somewhere, as an executor. Safe to use from several threads, not from a forked child."""

    def __init__(self, holding: Holding, part: Part, retries: int) -> None:
        super().__init__(holding, part)
        self._lane = part.lane
        self._retries = retries
        self._shut = False
        self._elastic: Elastic | None = None
        self._learned_at = self._lane.profiles.clock if self._lane.profiles is not None else 0
        leaving.watch(self)

    def grow_to(self, most_milli: int, ttl_ns: int) -> None:
        """From now on follow the queue, with up to this much."""
        yields = self._retries > 0
        self._elastic = Elastic(self._holding.connection, self._part, most_milli, ttl_ns, yields=yields)
        self._part.growth = self._elastic

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on a worker; return its future at once."""
        return self._call(fn, args, kwargs)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Run ``fn`` on each item; yield the results in order of the items.

        Small calls travel together by themselves; ``chunksize`` above 1 makes chunks that also run together.
        """
        if chunksize < 1:
            raise BadChunk(f"chunksize={chunksize}: it must be at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables, strict=False)
        if chunksize == 1:
            return _in_order([self._call(fn, item, {}) for item in items], deadline)
        chunks = iter(lambda: tuple(itertools.islice(items, chunksize)), ())
        lists = _in_order([self._call(_run_chunk, (fn, chunk), {}, of=(fn, len(chunk))) for chunk in chunks], deadline)
        return itertools.chain.from_iterable(lists)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls; give the lease back when those that are there are done, and ``wait`` for that or not.

        ``cancel_futures`` cancels what no worker has begun.
        """
        self._shut = True
        if not self._open:
            return
        if cancel_futures:
            self._lane.withdraw()
        if wait:
            self._lane.drain()
            self.close()
        else:
            leaving.linger(self._holding, self._part)

    def command(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a function and wait for it: ``command("call", fn, *args)``, ``command("map", fn, items)``."""
        match name:
            case "call":
                return self.submit(*args, **kwargs).result()
            case "map":
                return list(self.map(*args, **kwargs))
            case _:
                raise BadRequest(f"a {self.kind} knows no command {name!r}", hint=f"there are: {', '.join(COMMANDS)}")

    def close(self) -> None:
        """Give the lease back at once. What still runs is stopped, what waits is cancelled."""
        self._shut = True
        if self._open and self._lane.profiles is not None:
            profiles.ended(self._holding.connection, self._lane.profiles, self._learned_at)
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self.shutdown(wait=True)
        else:  # the block failed: nobody waits for the rest
            self.close()
        return None

    def submit_batch(self, batch: Callable[[], T], fn: Callable[..., Any], times: int) -> Future[T]:
        """Run ``batch()``, which calls ``fn`` so many times: what is learned of it counts for that."""
        return self._call(_run_batch, (batch,), {}, of=(fn, times))

    def _call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        of: tuple[Callable[..., Any], int] | None = None,
    ) -> Future[Any]:
        if self._shut or leaving.ending():
            raise RuntimeError(
                f"cannot schedule new futures after {'interpreter ' if leaving.ending() else ''}shutdown"
            )
        try:
            inner = of if of is not None and _is_plain(of[0]) else None
            future = self._lane.submit_call(fn, args, kwargs, retries=self._retries, of=inner)
        except Unsendable as error:  # as every executor, it says so by the future
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        if self._elastic is not None and self._elastic.sleeps:
            self._elastic.ring()
        return future

    def _dropped(self) -> None:
        """Nobody can submit any more: what was submitted still runs, as with every executor."""
        if self._shut:  # it lingers already
            return
        message = f"{self!r} was never closed: use it in a with block"
        warnings.warn(message, ResourceWarning, stacklevel=3, source=self)
        self._shut = True
        leaving.linger(self._holding, self._part)


class Cpu(Compute):
    """Cores."""


class Gpu(Compute):
    """Graphics processors: the calls run beside them, with only the leased ones in sight."""


def _in_order(futures: list[Future[T]], deadline: float | None) -> Iterator[T]:
    """Yield results in order; whoever stops listening cancels the rest."""
    futures.reverse()
    try:
        while futures:
            left = None if deadline is None else deadline - time.monotonic()
            yield _result(futures.pop(), left)
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[T], timeout: float | None) -> T:
    """Return a result, holding on to nothing; a call that is not waited for any longer is cancelled."""
    try:
        return future.result(timeout)
    finally:
        future.cancel()
        del future


def _run_chunk(fn: Callable[..., T], chunk: tuple[tuple[Any, ...], ...]) -> list[T]:
    return [fn(*item) for item in chunk]


def _is_plain(fn: object) -> bool:
    """Tell whether a function is cheap to name: nothing that it carries with it would be pickled once more."""
    return isinstance(fn, types.BuiltinFunctionType) or (isinstance(fn, types.FunctionType) and not fn.__closure__)


def _run_batch(batch: Callable[[], T]) -> T:
    return batch()
