"""World OS: a lease on two CPUs of this machine, with the embedded agent; nothing was started beforehand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS
from bench.peers.functions import same
from worldos import use

if TYPE_CHECKING:
    import numpy


class WorldOS:
    """The handle of a CPU lease is an executor."""

    def __init__(self, cpu: Any) -> None:
        self.cpu = cpu

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.cpu.submit(function, *args)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self.cpu.map(function, items))

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        return self.cpu.submit(same, array).result()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[WorldOS]:
    os.environ["WORLDOS_HOME"] = str(folder)
    with use("CPU", amount=float(WORKERS)) as cpu:
        yield WorldOS(cpu)
