"""loky, the executor under joblib. It does not run a lost call again: as for Python's pool, that is done by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loky import get_reusable_executor

from bench.peers import WORKERS
from bench.peers.pool_peer import Pool


class Loky(Pool):
    """Two worker processes of loky; its broken pool is a BrokenProcessPool, and a new one comes when asked for."""

    def fresh(self) -> Any:
        return get_reusable_executor(max_workers=WORKERS)

    def restart(self) -> None:
        self.executor = self.fresh()


@contextlib.contextmanager
def opened(_folder: Path) -> Iterator[Loky]:
    peer = Loky()
    yield peer
    peer.executor.shutdown()
