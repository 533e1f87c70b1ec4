"""One agent and one page for all tests of the page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.web.pages import Client, RunningPage, page_of


@pytest.fixture(scope="session")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-w-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture(scope="session")
def page(agent: RunningAgent) -> Iterator[RunningPage]:
    with page_of(agent.home) as page:
        yield page


@pytest.fixture(scope="session")
def visitor(page: RunningPage) -> Client:
    return page.client()
