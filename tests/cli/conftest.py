"""The real command against a real agent; whole outputs are compared with files that ``--rewrite`` writes anew."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.cli.warming import Warm

from worldos.home import Home

SNAPSHOTS = Path(__file__).with_name("snapshots")
COMMAND_S = 60
Run = subprocess.CompletedProcess[str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the expected outputs of tests/cli anew")


@pytest.fixture
def expected(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a snapshot of this name."""

    def compare(name: str, text: str) -> None:
        file = SNAPSHOTS / f"{name}.txt"
        clean = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"
        if request.config.getoption("--rewrite", default=False):
            file.write_text(clean)
        assert clean == file.read_text(), "pytest tests/cli --rewrite takes over the new text; read the diff"

    return compare


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wos-c-") as folder:
        yield Path(folder)


@contextmanager
def fresh_agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-s-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture(scope="session")
def agent() -> Iterator[RunningAgent]:
    """The agent of all tests of a worker. What was submitted to it may run, and its runner stay, when the next test begins."""
    with fresh_agent() as agent:
        yield agent


@pytest.fixture(scope="module")
def own_agent() -> Iterator[RunningAgent]:
    """An agent for one file: for tests that count what it has given away."""
    with fresh_agent() as agent:
        yield agent


def environ(home: Home, **more: str) -> dict[str, str]:
    return {**os.environ, "WORLDOS_HOME": str(home.path), "COLUMNS": "200", "NO_COLOR": "1", **more}


def command(*words: str | bytes) -> list[str | bytes]:
    return [sys.executable, "-P", "-m", "worldos.cli.main", *words]


def wos(home: Home, *words: str | bytes, stdin: str = "", cwd: Path | None = None, **more: str) -> Run:
    """Run a command to its end, in a process of its own. A traceback or a bug report is never right."""
    run = Warm.of_this_process().run([*map(os.fsdecode, words)], environ(home, **more), cwd, stdin, COMMAND_S)
    assert "Traceback" not in run.stderr, run.stderr
    assert "mistake of World OS itself" not in run.stderr, run.stderr
    return run


def fails(run: Run, code: int, *said: str) -> None:
    """It failed with this exit code, and said this, and what to do."""
    assert run.returncode == code, f"{run.returncode}: {run.stdout}{run.stderr}"
    text = " ".join(run.stderr.replace("│", " ").split())
    for part in said:
        assert part in text, text
    assert run.stdout == ""
