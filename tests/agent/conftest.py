"""One real agent for all tests here that only look at it; homes in short folders, because of Unix sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, running_pair


@pytest.fixture(scope="session")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-a-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wos-t-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def pair() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder, running_pair(Path(folder)) as agents:
        yield agents
