"""joblib on leased processors: ``with parallel_config("worldos", n_jobs=4):``, and so for scikit-learn.

``n_jobs`` is how many cores are leased; -1 (and none given) is what is free now, wherever it is, or what ``amount=(2, 64)`` says:
then the lease grows and shrinks with the queue. The lease stays while the
backend does (the ``with`` block), so several fits in a row find their workers warm. Calls travel in joblib's own batches, as
arguments of one function: that function is sent once.
Source: joblib documentation, "Custom backend API".
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    register_parallel_backend,
)

from worldos.errors import NoCapacity
from worldos.model.units import parse_amount
from worldos.sdk.compute import Cpu
from worldos.sdk.connection import connection
from worldos.sdk.needs import Amount, least_and_most
from worldos.sdk.use import use

NAME = "worldos"
MILLI = 1000


class WorldosBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # joblib has no types
    """A joblib backend on one CPU handle. Words of ``use`` (memory, where, near, ...) may go with ``parallel_config``."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    default_n_jobs = -1

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None, **words: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._amount: tuple[Amount, Amount] | None = words.pop("amount", None)
        self._words = words
        self._cpu: Cpu | None = None
        self._cores = 0

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many cores ``n_jobs`` stands for; what this backend has leased counts as free."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        if self._amount is not None:
            least, most = least_and_most("CPU", self._amount)
            return (most or parse_amount("CPU", least or 1)) // MILLI
        free = free_cores() + self._cores
        return max(1, free + 1 + (n_jobs or -1))

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Lease the cores, or keep those that are leased. One core is joblib's word for: here, in line."""
        cores = self.effective_n_jobs(n_jobs)
        if cores == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self._cpu is None or self._cpu.closed or cores != self._cores:
            self._close()
            self._cpu = self._lease(cores)
            self._cores = cores
        self.parallel = parallel
        return cores

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """Run a batch of calls on a worker."""
        assert self._cpu is not None
        calls = getattr(func, "items", None) or [(func,)]  # joblib's own batches say what they call
        future = self._cpu.submit_batch(func, inspect.unwrap(calls[0][0]), len(calls))  # scikit-learn wraps each
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return what a batch gave, or raise."""
        return out.result()

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """A worker has the cores that it has: what is nested runs in line."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def terminate(self) -> None:
        """End one parallel loop; the workers stay warm for the next."""
        self.reset_batch_stats()
        self.parallel = None  # else the two hold each other, and the lease with them

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 - joblib's signature
        """Stop what runs: the lease goes back, and another is taken if more is to come."""
        self._close()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def __reduce__(self) -> tuple[Any, ...]:
        return (WorldosBackend, (self.nesting_level,))

    def __del__(self) -> None:
        self._close()

    def _lease(self, cores: int) -> Cpu:
        cpu: Cpu
        try:
            cpu = use("CPU", self._amount or cores, **self._words)
        except NoCapacity:  # a backend of an earlier loop may wait for the collector, with its lease
            gc.collect()
            cpu = use("CPU", self._amount or cores, **self._words)
        return cpu

    def _close(self) -> None:
        cpu, self._cpu, self._cores = getattr(self, "_cpu", None), None, 0
        if cpu is not None:
            cpu.close()


def free_cores() -> int:
    """Return how many whole cores are free on all nodes that can be asked now."""
    return sum(node["cpu_free"] // MILLI for node in connection().ask("nodes"))


def register() -> None:
    """Make the backend known to joblib under the name ``worldos``."""
    register_parallel_backend(NAME, WorldosBackend)


register()
