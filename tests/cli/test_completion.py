"""What the shell completes: jobs, queues, engines, and nothing at all where nobody answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import wos
from tests.cli.inside import inside

from worldos.cli.completion import (
    any_job,
    command_of,
    ended_job,
    engines_known,
    failed_job,
    jobs_or_forget,
    nodes_known,
    open_job,
    queues_known,
)
from worldos.home import Home


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({"COMP_WORDS": "wos jobs k3", "COMP_CWORD": "2"}, "jobs"),
        ({"COMP_WORDS": "wos jobs", "COMP_CWORD": "2"}, "jobs"),
        ({"COMP_WORDS": "wos jo", "COMP_CWORD": "1"}, None),
        ({"COMP_WORDS": "wos --grant file jobs k", "COMP_CWORD": "4"}, "jobs"),
        ({"COMP_WORDS": "wos", "COMP_CWORD": "x"}, None),
        ({"_TYPER_COMPLETE_ARGS": "wos queue take fr"}, "queue"),
        ({"_TYPER_COMPLETE_ARGS": "wos queue "}, "queue"),
        ({"_TYPER_COMPLETE_ARGS": "wos qu"}, None),
        ({}, None),
    ],
    ids=range(9),
)
def test_the_command_is_known_whose_words_are_completed(environ: dict[str, str], command: str | None) -> None:
    assert command_of(environ) == command


def test_jobs_are_completed_by_what_can_be_done_with_them(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    open_, bad = (
        inside(agent.home, "submit", "--name", name, "--", *command).stdout.strip()
        for name, command in (("waits-long", ("sleep", "100")), ("ends badly", ("false",)))
    )
    until(lambda: [job for job, _ in failed_job("") if job == bad], "it has failed", 40)
    assert dict(any_job(bad[:4]))[bad] == "failed: ends badly"
    assert {job for job, _ in open_job("")} & {open_, bad} == {open_}
    assert {job for job, _ in ended_job("")} & {open_, bad} == {bad}
    assert [job for job, _ in open_job("waits")] == ["waits-long"]
    assert [word for word, _ in jobs_or_forget("forg")] == ["forget"]
    shown = wos(agent.home, _WOS_COMPLETE="complete_bash", COMP_WORDS=f"wos cancel {open_[:5]}", COMP_CWORD="2")
    assert (shown.stdout.split(), shown.stderr) == ([open_], "")
    inside(agent.home, "cancel", open_)


def test_queues_engines_and_machines_are_completed(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    inside(agent.home, "queue", "put", "complete-me", "x")
    assert queues_known("compl") == [("complete-me", "1 wait")]
    assert nodes_known("de") == [("desk", "alive")]
    assert [name for name, _ in engines_known("")] == ["Dask", "PostgreSQL", "Ray"]
    assert engines_known("R") == [("Ray", "")]


def test_where_nobody_answers_nothing_is_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent at all, and one that hangs."""
    monkeypatch.setenv("WORLDOS_HOME", str(folder))
    assert any_job("") == queues_known("") == nodes_known("") == []
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(Home(folder).socket_file))
        silent.listen()
        assert any_job("") == queues_known("") == nodes_known("") == []
        run = wos(Home(folder), _WOS_COMPLETE="complete_bash", COMP_WORDS="wos logs ", COMP_CWORD="2")
    assert (run.stdout.strip(), run.stderr) == ("", "")
