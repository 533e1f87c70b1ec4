"""Workers behind leases, without any agent."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from worldos.lanes.host import LaneHost, LaneSpec
from worldos.lanes.link import Door


class Workers:
    """A lane host with an event loop of its own in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._host = LaneHost()
        self._numbers = itertools.count(1)
        self._do(self._host.start())

    def door(self, **spec: Any) -> Door:
        """Open a lease with one worker; return its door."""
        lease = f"lease-{next(self._numbers)}"
        (door,) = self._do(self._host.open_lease(lease, LaneSpec(**{"workers": 1, **spec})))
        return Door(path=door.path)

    def stop(self) -> None:
        """End all of it."""
        self._do(self._host.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, job: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(20)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Give a running host."""
    here = Workers()
    yield here
    here.stop()
