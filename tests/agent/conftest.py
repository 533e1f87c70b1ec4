"""One real agent for all tests here that only look at it; homes in short folders, because of Unix sockets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, running_pair


@pytest.fixture(scope="session")
def agent() -> Iterator[RunningAgent]:
    folder = Path(tempfile.mkdtemp(prefix="wos-a-"))
    with running(new_home(folder / "desk")) as agent:
        yield agent
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="wos-t-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pair() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    folder = Path(tempfile.mkdtemp(prefix="wos-p-"))
    with running_pair(folder) as agents:
        yield agents
    shutil.rmtree(folder)
