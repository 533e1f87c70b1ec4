"""``wos storage``, ``scrub``, ``repair``: what is said of stores, files and what is lent."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside, registered
from typer.testing import CliRunner

from worldos.cli import main, storage
from worldos.files.about import Standing, StorageStatus, StoreRow

COMMANDS = ("status", "lend", "gone", "unlock", "feature-code")


@pytest.fixture(scope="module", autouse=True)
def commands() -> Iterator[None]:
    with registered("storage"):
        yield


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(expected, name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["storage", name, "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected(f"wos-storage-{name}", done.output)
    assert "--json" in done.output


def test_the_status_names_stores_and_says_what_one_device_is_worth(agent: RunningAgent) -> None:
    inside(agent.home, "put", "-", "standing", stdin="x" * 10_000)
    run = inside(agent.home, "storage", "status")
    assert run.returncode == 0, run.stderr
    assert "(here)" in run.stdout
    assert "Below policy" in run.stdout
    assert "none may be lost" in run.stdout
    told = json.loads(inside(agent.home, "storage", "status", "standing", "--json").stdout)
    assert told["below_policy"] is True
    assert [row["name"] for row in told["files"]] == ["standing"]
    assert told["files"][0]["devices"] == 1
    inside(agent.home, "rm", "standing")


def test_lending_is_said_back(agent: RunningAgent) -> None:
    run = inside(agent.home, "storage", "lend", "20GB", "--for", "family")
    assert run.stdout == "this machine lends 20.0 GB to files of your family; see it: wos storage status\n", run.stderr
    assert json.loads(inside(agent.home, "storage", "lend", "auto", "--for", "me", "--json").stdout) == {
        "amount_bytes": -1,
        "for": "me",
    }
    fails(inside(agent.home, "storage", "lend", "much"), 2, "much")
    fails(inside(agent.home, "storage", "lend", "1GB", "--for", "nobody"), 2, "--for me, --for family or --for others")


def stores(answering: int, silent: int = 0) -> StorageStatus:
    rows = tuple(StoreRow(node=str(n), name=str(n), linked=n < answering) for n in range(answering + silent))
    return StorageStatus(stores=rows, k=2, n=5, below_policy=silent > 0, survives=3 - silent)


@pytest.mark.parametrize(
    ("more", "told", "said"),
    [
        ({}, stores(5), "whole"),
        ({"debt": 2}, stores(5), "2 parts missing"),
        ({"debt": 2}, stores(3, 2), "2 parts on devices that do not answer"),
        ({"debt": 2, "repairing": True}, stores(5), "in repair"),
        ({"debt": 2, "below_policy": True}, stores(2), "too few devices"),
        ({"survives": -1}, stores(1, 4), "out of reach until devices come back"),
    ],
)
def test_the_state_of_a_file_is_said_in_words(more: dict, told: StorageStatus, said: str) -> None:
    row = Standing(**{"name": "a", "k": 3, "n": 6, "devices": 6, "survives": 3, **more})
    assert storage._standing(row, told)[-1] == said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (stores(5), "New files: 2 of 5 parts rebuild them, any 3 may be lost at once"),
        (
            stores(3, 2),
            "2 of 5 devices do not answer: of what is put now any one may be lost; the rest follows when they do",
        ),
    ],
)
def test_what_new_files_get_is_said(told: StorageStatus, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage._show_stores(told)
    assert said in capsys.readouterr().out


def test_counting_says_nothing_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with storage.Counting("scrubbed") as count:
        count.follow(1, 2)
    assert said.getvalue() == ""


def test_only_another_device_can_be_gone(agent: RunningAgent) -> None:
    fails(inside(agent.home, "storage", "gone", "nobody", "--yes"), 2, "0 devices are called 'nobody'")
    here = json.loads(inside(agent.home, "storage", "status", "--json").stdout)["stores"][0]["name"]
    fails(inside(agent.home, "storage", "gone", here, "--yes"), 2, "this is the device itself")


def test_a_scrub_and_a_repair_say_what_they_saw(agent: RunningAgent) -> None:
    inside(agent.home, "put", "-", "scrubbed", stdin="x" * 10_000)
    run = inside(agent.home, "scrub")
    assert run.returncode == 0, run.stderr
    assert "none was spoilt" in run.stdout
    assert json.loads(inside(agent.home, "scrub", "--json").stdout)["bad"] == 0
    run = inside(agent.home, "repair")
    assert run.returncode == 0, run.stderr
    assert "looked at" in run.stdout
    inside(agent.home, "rm", "scrubbed")
