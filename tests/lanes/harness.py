"""A lane host with an event loop of its own in a thread, and lanes straight to its doors: no agent anywhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.patience import patient_s

from worldos.lanes.client import Door, Lane
from worldos.lanes.host import LaneHost, LaneSpec, WorkerDoor

T = TypeVar("T")


class Here:
    """A running lane host."""

    def __init__(self, mechanism: str | None = None) -> None:
        self.ended: list[tuple[str, int, int, str]] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.host = LaneHost(on_worker_ended=lambda *args: self.ended.append(args), mechanism=mechanism)
        self._leases = 0
        self.do(self.host.start())

    def do(self, job: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        """Run a coroutine in the host's loop."""
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(timeout_s)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in the host's loop."""

        async def run() -> T:
            return function(*args)

        return self.do(run())

    def open(self, **spec: Any) -> tuple[str, list[WorkerDoor]]:
        """Open a lease."""
        self._leases += 1
        lease = f"lease-{self._leases}"
        return lease, self.do(self.host.open_lease(lease, LaneSpec(**spec)))

    def lane(self, workers: int = 2, *, local: bool = True, lane: dict[str, Any] | None = None, **spec: Any) -> Lane:
        """Open a lease and a lane to it, and wait for its workers."""
        _lease, doors = self.open(workers=workers, **spec)
        made = Lane([Door(path=door.path, node="here", local=local) for door in doors], **(lane or {}))
        assert made.wait_for_workers(workers, patient_s(10))
        return made

    def stop(self) -> None:
        """Stop the host and its loop."""
        self.do(self.host.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(patient_s(5))
        self.loop.close()


def eventually(condition: Callable[[], Any], timeout_s: float = 5.0) -> Any:
    """Wait for a condition; return its value."""
    deadline_s = time.monotonic() + patient_s(timeout_s)
    while True:
        value = condition()
        if value or time.monotonic() > deadline_s:
            return value
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
