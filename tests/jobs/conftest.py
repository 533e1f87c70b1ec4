"""Workers behind leases, without any agent."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, new_home, running

from worldos.jobs.desk import Desk
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
        self._thread.join(15)
        self._loop.close()

    def _do(self, job: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(60)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Give a running host."""
    here = Workers()
    yield here
    here.stop()


@pytest.fixture(scope="session")
def agent() -> Iterator[RunningAgent]:
    """Give a real agent of a home of its own."""
    with tempfile.TemporaryDirectory(prefix="wos-j-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture
def desk(agent: RunningAgent) -> Desk:
    """Give the line of that agent's site."""
    return Desk(agent.ask)


@pytest.fixture
def at_home(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> RunningAgent:
    """Let this program be one of that home."""
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    return agent
