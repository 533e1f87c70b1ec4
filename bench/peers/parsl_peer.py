"""Parsl: its HighThroughputExecutor on one machine, two workers, one retry; everything else as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from bench.peers import WORKERS
from bench.peers.functions import same

if TYPE_CHECKING:
    import numpy


class Parsl:
    """Python apps, made once each."""

    def __init__(self) -> None:
        self.apps: dict[Callable[..., Any], Any] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        if function not in self.apps:
            self.apps[function] = python_app(function)
        return self.apps[function](*args)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return [future.result() for future in [self.submit(function, item) for item in items]]

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        return self.submit(same, array).result()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Parsl]:
    executor = HighThroughputExecutor(
        label="here",
        max_workers_per_node=WORKERS,
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    config = Config(executors=[executor], run_dir=str(folder), retries=1, strategy="none", usage_tracking=0)
    with parsl.load(config):
        yield Parsl()
