"""``wos storage unlock``, ``feature-code``, ``guardians``: secrets are asked for, never arguments, and refused when weak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside, registered
from typer.testing import CliRunner

from worldos.cli import main
from worldos.home import Home


@pytest.fixture(scope="module", autouse=True)
def commands() -> Iterator[None]:
    with registered("storage"):
        yield


@pytest.mark.parametrize("name", ["list", "set", "ask", "answer"])
def test_each_command_explains_itself(expected, name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["storage", "guardians", name, "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected(f"wos-storage-guardians-{name}", done.output)


def test_a_short_code_is_refused(agent: RunningAgent) -> None:
    fails(inside(agent.home, "storage", "feature-code", stdin="1234\n"), 2, "too short", "12 letters")


def test_the_key_can_be_opened_by_its_code(agent: RunningAgent) -> None:
    inside(agent.home, "put", "-", "first", stdin="x")
    run = inside(agent.home, "storage", "feature-code", stdin="a whole sentence of mine\n")
    assert run.returncode == 0, run.stderr
    assert "wos storage unlock" in run.stdout
    run = inside(agent.home, "storage", "unlock", stdin="a whole sentence of mine\n")
    assert run.returncode == 0, run.stderr
    assert "open on this machine" in run.stdout
    fails(inside(agent.home, "storage", "unlock", stdin="another sentence than mine\n"), 2, "does not open")
    inside(agent.home, "rm", "first")


def test_guardians_are_named_counted_and_known(agent: RunningAgent) -> None:
    assert json.loads(inside(agent.home, "storage", "guardians", "list", "--json").stdout) == []
    assert "nobody keeps a part" in inside(agent.home, "storage", "guardians", "list").stdout
    fails(inside(agent.home, "storage", "guardians", "set"), 2, "who shall keep")
    fails(inside(agent.home, "storage", "guardians", "set", "a", "--need", "2"), 2, "only 1 keep")
    fails(inside(agent.home, "storage", "guardians", "set", "no-such-device", "--need", "1"), 2, "no-such-device")


def test_a_plea_that_is_none_is_refused(agent: RunningAgent) -> None:
    run = inside(agent.home, "storage", "guardians", "answer", "--yes", stdin="wosask1garbage\n")
    assert run.returncode == 2, run.stderr


def test_without_an_agent_it_says_how_to_start_one(folder: Path) -> None:
    fails(inside(Home(folder / "nobody"), "storage", "guardians", "set", "a", "b"), 4, "wos up")
