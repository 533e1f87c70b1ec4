"""``wos watch security``: what it says of itself, and of somebody who was narrowed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from tests.agent.agents import RunningAgent
from tests.cli.conftest import wos
from typer.testing import CliRunner

from worldos.cli import main, watch

PRINCIPAL: dict[str, Any] = {
    "who": "a" * 52,
    "name": "a[bold]b",
    "member": False,
    "learnt": 60,
    "learns": 60,
    "per_minute": 12,
    "strange_percent": {"rate": 110, "fan_out": 40, "denials": 0, "level": 3},
    "step": 1,
    "last_s": 4,
    "ceiling": {"class": "reversible", "per_minute": 24},
    "why": "it asks more often than usual",
}
LEARNING = {**PRINCIPAL, "name": "new", "learnt": 7, "ceiling": None, "step": 0, "why": ""}
NARROWING: dict[str, Any] = {
    "id": "b" * 52,
    "who": "a" * 52,
    "name": "a[bold]b",
    "class": "reversible",
    "per_minute": 24,
    "human": True,
    "left_s": 590,
    "by": "c" * 52,
    "by_name": "desk",
    "why": "it asks more often than usual",
    "for_its_end": 0,
}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    watch.register(main.app)


def drawn(seen: dict[str, Any]) -> str:
    console = Console(width=160, record=True, highlight=False, file=io.StringIO())
    for grid in watch._grids(seen):
        console.print(grid)
    return console.export_text()


def test_it_explains_itself(expected) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["watch", "security", "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected("wos-watch-security", done.output)


def test_it_shows_how_far_each_is_from_usual_and_what_was_taken(expected) -> None:
    expected("watch-security", drawn({"principals": [PRINCIPAL, LEARNING], "narrowings": [NARROWING]}))


def test_on_a_quiet_machine_it_says_so(agent: RunningAgent) -> None:
    assert (
        wos(agent.home, "watch", "security", "--once").stdout.strip()
        == "nobody else asked this machine for anything yet"
    )
    seen = json.loads(wos(agent.home, "watch", "security", "--json").stdout)
    assert seen == {"narrowings": [], "principals": []}


@pytest.mark.parametrize("option", ["--free", "--learn"])
def test_somebody_unknown_is_named(agent: RunningAgent, option: str) -> None:
    done = wos(agent.home, "watch", "security", option, "nobody")
    assert done.returncode == 2
    assert "wos watch security" in done.stderr
