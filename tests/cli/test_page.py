"""``wos page``: what it prints, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails, wos

from worldos.home import Home


def test_no_page_without_an_agent(folder: Path) -> None:
    fails(wos(Home(folder), "page", "--no-browser"), 4, "No World OS agent", "wos up")


def test_no_link_without_a_page(agent: RunningAgent) -> None:
    fails(wos(agent.home, "page", "--link"), 3, "no page of this home runs", "wos page")


@pytest.mark.parametrize("origin", ["http://desk.example.org", "desk", "https://127.0.0.1/x", "https://a b"])
def test_an_origin_that_no_passkey_can_have_is_refused(agent: RunningAgent, origin: str) -> None:
    fails(wos(agent.home, "page", "--origin", origin), 2, "no origin of a page", "https://NAME")


def test_without_the_extra_it_says_how_to_get_it(agent: RunningAgent, folder: Path) -> None:
    """A module that cannot be imported stands before the real one, as if it were not installed."""
    (folder / "granian.py").write_text("raise ModuleNotFoundError('No module named granian', name='granian')\n")
    run = wos(agent.home, "page", PYTHONPATH=str(folder))
    fails(run, 2, "granian is not installed", "pip install 'worldos[page]'")


def test_help_says_what_it_is() -> None:
    run = wos(Home(Path("/nowhere")), "page", "--help")
    assert run.returncode == 0
    assert "Ctrl-C" in run.stdout
