"""Processors: a handle that is also an executor, so that every program that knows ``concurrent.futures`` knows it.

Calls go straight to the workers (lanes/client.py); the agent is not on the way. A worker or node that is lost costs nothing
but time: its calls run elsewhere, as often as ``retries`` says, and each future gets one result. ``retries=0`` is for
what must not run twice.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from worldos.errors import BadRequest
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

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on a worker; return its future at once."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return self._lane.submit_call(fn, args, kwargs, retries=self._retries)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Run ``fn`` on each item; yield the results in order of the items.

        Small calls travel together by themselves; ``chunksize`` above 1 makes chunks that also run together.
        """
        if chunksize < 1:
            raise BadRequest(f"chunksize={chunksize}: it must be at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables, strict=False)
        if chunksize == 1:
            return _in_order([self._call(fn, item) for item in items], deadline)
        chunks = iter(lambda: tuple(itertools.islice(items, chunksize)), ())
        lists = _in_order([self._call(_run_chunk, (fn, chunk)) for chunk in chunks], deadline)
        return itertools.chain.from_iterable(lists)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls; wait for those that are there, and give the lease back."""
        self._shut = True
        if not self._open:
            return
        self._lane.shutdown(wait, cancel_futures=cancel_futures)
        self.close()

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
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self.shutdown(wait=True)
        else:  # the block failed: nobody waits for the rest
            self.close()
        return None

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Future[Any]:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return self._lane.submit_call(fn, args, {}, retries=self._retries)


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
            yield futures.pop().result(left)
    finally:
        for future in futures:
            future.cancel()


def _run_chunk(fn: Callable[..., T], chunk: tuple[tuple[Any, ...], ...]) -> list[T]:
    return [fn(*item) for item in chunk]
