"""concurrent.futures.ProcessPoolExecutor. It does not run a lost call again: that is done by hand here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS
from bench.peers.functions import same

if TYPE_CHECKING:
    import numpy


class Again:
    """A call that is made a second time, in a new pool, when the first pool broke under it."""

    def __init__(self, pool: Pool, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.pool, self.function, self.args = pool, function, args
        self.first: Future[Any] = pool.executor.submit(function, *args)

    def result(self) -> Any:
        try:
            return self.first.result()
        except BrokenProcessPool:
            self.pool.restart()
            return self.pool.executor.submit(self.function, *self.args).result()


class Pool:
    """Two worker processes of the standard library."""

    def __init__(self) -> None:
        self.executor = self.fresh()

    def fresh(self) -> Any:
        return ProcessPoolExecutor(WORKERS)

    def restart(self) -> None:
        self.executor.shutdown(wait=False)
        self.executor = self.fresh()

    def submit(self, function: Callable[..., Any], *args: Any) -> Again:
        return Again(self, function, args)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return [future.result() for future in [self.executor.submit(function, item) for item in items]]

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        return self.executor.submit(same, array).result()


@contextlib.contextmanager
def opened(_folder: Path) -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.executor.shutdown()
