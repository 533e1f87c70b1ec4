"""Looking: tables for people, JSON for programs, and what happened in this life and earlier ones."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.home import Home


def plain(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_nodes_are_a_table_with_this_one_first(agent: RunningAgent) -> None:
    lines = plain(wos(agent.home, "nodes").stdout)
    assert lines[0] == "NODE STATUS WAY ROUND TRIP CPU FREE MEMORY FREE DISK FREE LOAD PLACE ID"
    assert lines[1].startswith("desk (here) alive ")
    (row,) = json.loads(wos(agent.home, "nodes", "--json").stdout)
    assert row["here"]


def test_resources_are_found_as_in_the_tour(agent: RunningAgent) -> None:
    run = wos(agent.home, "resources", "--type", "CPU", "--near", "me", "--where", "memory >= 100MB")
    lines = plain(run.stdout)
    assert lines[0] == "KIND WHAT NODE FREE OF STATE PRICE/H ID"
    assert len(lines) == 2
    rows = json.loads(wos(agent.home, "resources", "--json").stdout)
    fields = {
        "id",
        "kind",
        "capacity",
        "free",
        "unit",
        "owner",
        "place",
        "uri",
        "price_uwos",
        "tags",
        "state",
        "node_name",
    }
    assert all(fields - row.keys() <= {"unit"} for row in rows), rows[0].keys()


def test_what_fits_nothing_says_so_and_what_is_wrong_is_refused(agent: RunningAgent) -> None:
    run = wos(agent.home, "resources", "--place", "moon")
    assert (run.returncode, run.stdout) == (0, "")
    assert "nothing fits" in run.stderr
    assert wos(agent.home, "resources", "--place", "moon", "--json").stdout == "[]\n"
    fails(wos(agent.home, "resources", "--type", "Toaster"), 2, "no kind 'Toaster'", "there are: CPU")
    fails(wos(agent.home, "resources", "--where", "memory >= 5 bananas"), 2, "try:")


def test_a_resource_shows_its_life(agent: RunningAgent) -> None:
    (cpu,) = json.loads(wos(agent.home, "resources", "--type", "CPU", "--json").stdout)
    lines = plain(wos(agent.home, "resource", cpu["id"]).stdout)
    assert f"id {cpu['id']}" in lines
    assert "WHEN STATE WHY" in lines
    assert json.loads(wos(agent.home, "resource", cpu["id"], "--json").stdout)["history"]
    fails(wos(agent.home, "resource", "nothing"), 2, "no resource 'nothing'", "wos resources")


def test_no_leases_is_said(folder: Path) -> None:
    with running(new_home(folder / "desk")) as fresh:  # the others' keeps room for files of its jobs
        assert wos(fresh.home, "leases").stdout == "no leases\n"
        assert json.loads(wos(fresh.home, "leases", "--json").stdout) == {"granted": [], "held": []}


def test_the_log_is_there_while_no_agent_runs(folder: Path) -> None:
    home = new_home(folder / "desk")
    assert wos(home, "log").stdout == ""
    for _ in range(2):
        with running(home):
            pass
    run = wos(home, "log", "-n", "1000")
    assert run.returncode == 0
    assert run.stdout.count("agent started") == 2
    assert run.stdout.count("agent stopped") == 2
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  ", line) for line in run.stdout.splitlines())
    assert len(wos(home, "log", "-n", "1").stdout.splitlines()) == 1
    assert json.loads(wos(home, "log", "-n", "1", "--json").stdout)["name"] == "agent stopped"


def test_the_log_goes_on_until_ctrl_c(own_agent: RunningAgent) -> None:
    agent = own_agent
    process = subprocess.Popen(command("log", "-f"), env=environ(agent.home), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until(lambda: agent.ask("status")["programs"] == 2, "it listens")
    agent.ask("drain", drained=True)
    agent.ask("drain", drained=False)
    assert any("maintenance" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.stdout.close()
    until(lambda: agent.ask("status")["programs"] == 1, "it has hung up")


def test_following_the_log_of_no_agent_says_so(folder: Path) -> None:
    fails(wos(Home(folder), "log", "-f"), 4, "wos up")


@pytest.mark.parametrize("name", ["devices", "status"])
def test_the_other_questions_have_both_forms(agent: RunningAgent, name: str) -> None:
    assert "desk" in wos(agent.home, name).stdout
    assert "desk" in json.dumps(json.loads(wos(agent.home, name, "--json").stdout))
