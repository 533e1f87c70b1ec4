"""``wos submit``: what it prints, and each way in which a job cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside


def test_it_prints_the_id_alone(agent: RunningAgent) -> None:
    run = inside(agent.home, "submit", "--", "true")
    assert run.returncode == 0
    assert len(run.stdout.strip()) == 10
    assert run.stderr == ""


def test_json_says_what_was_put_into_the_line(agent: RunningAgent) -> None:
    words = (
        "--array",
        "1-9:2%2",
        "--memory",
        "50MB",
        "--env",
        "A=1",
        "--runtime",
        "1h",
        "--priority",
        "-5",
        "--name",
        "odd",
    )
    job = json.loads(inside(agent.home, "submit", *words, "--json", "--", "true").stdout)
    assert job["name"] == "odd"
    assert sum(job["counts"].values()) == 5
    assert job["need"]["memory_bytes"] == 50_000_000
    assert job["priority"] == -5


def test_who_waits_hears_how_it_ended(agent: RunningAgent, folder: Path) -> None:
    (folder / "in").write_text("x")
    assert inside(agent.home, "submit", "--wait", "--with", str(folder / "in"), "--", "cat", "in").returncode == 0
    bad = inside(agent.home, "submit", "--wait", "--array", "0-1", "--", "sh", "-c", "exit $WOS_TASK")
    assert bad.returncode == 1
    assert "1 of 2 tasks did not end well" in bad.stderr


def test_a_command_that_does_not_exist_there_is_said(agent: RunningAgent) -> None:
    run = inside(agent.home, "submit", "--wait", "--", "no-such-command")
    assert run.returncode == 1
    assert "there is no such command" in inside(agent.home, "jobs", run.stdout.strip()).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--after", "nosuchjob1"), 2, "no job"),
        (("--deadline", "2020-01-01 08:00"), 2, "has passed"),
        (("--deadline", "soon"), 2, "not a time"),
        (("--budget", "0"), 2, "WOSCoin"),
        (("--array", "1-1000000000"), 2, "at most 1000000"),
        (("--array", "5-1"), 2, "runs backwards"),
        (("--array", "x"), 2, "names no tasks"),
        (("--where", "arch == 'z80'"), 3, "could ever run this"),
        (("--memory", "8000TB"), 3, "could ever run this"),
        (("--cpu", "100000"), 3, "could ever run this"),
        (("--cpu", "none"), 2, "none"),
        (("--runtime", "0s"), 2, "time"),
        (("--grace", "2h"), 2, "grace"),
        (("--retries", "1000"), 2, "retries"),
        (("--priority", "200"), 2, "priority"),
        (("--isolation", "glass"), 2, "isolation"),
        (("--with", "/nowhere"), 2, "there is no"),
        (("--env", "=x"), 2, "names no variable"),
        (("--env", "NOT_SET_ANYWHERE"), 2, "names no variable"),
        (("--name", "n" * 200), 2, "name"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be(
    agent: RunningAgent, words: tuple[str, ...], code: int, said: str
) -> None:
    fails(inside(agent.home, "submit", *words, "--", "true"), code, said)


def test_what_could_never_run_may_wait_all_the_same(agent: RunningAgent) -> None:
    run = inside(agent.home, "submit", "--anyway", "--where", "arch == 'z80'", "--", "true")
    assert run.returncode == 0
    assert "z80" in inside(agent.home, "jobs", run.stdout.strip()).stdout
    assert inside(agent.home, "cancel", run.stdout.strip()).returncode == 0
