"""Dask.distributed: a local cluster of two processes with one thread each, without its page."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from bench.peers import WORKERS
from bench.peers.functions import same

if TYPE_CHECKING:
    import numpy


class Dask:
    """A client; every call is made anew (pure=False)."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.client.submit(function, *args, pure=False)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return self.client.gather(self.client.map(function, items, pure=False))

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        return self.client.submit(same, self.client.scatter(array, hash=False), pure=False).result()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Dask]:
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            local_directory=str(folder),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Dask(client)
