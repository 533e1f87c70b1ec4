"""Ray on one machine, without its page, on the loopback address."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS
from bench.peers.functions import same

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

if TYPE_CHECKING:
    import numpy

OBJECT_STORE_BYTES = 1 << 30


class Ref:
    """An object reference with the result() of a future."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref

    def result(self) -> Any:
        return ray.get(self.ref)


class Ray:
    """Remote functions, made once each."""

    def __init__(self) -> None:
        self.remote: dict[Callable[..., Any], Any] = {}

    def of(self, function: Callable[..., Any]) -> Any:
        if function not in self.remote:
            self.remote[function] = ray.remote(function)
        return self.remote[function]

    def submit(self, function: Callable[..., Any], *args: Any) -> Ref:
        return Ref(self.of(function).remote(*args))

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return ray.get([self.of(function).remote(item) for item in items])

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        return ray.get(self.of(same).remote(ray.put(array)))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Ray]:
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
    )
    yield Ray()
    ray.shutdown()
