"""The orders about the decision log, asked of a real agent; and what its log then has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running

from worldos.agent import auditing
from worldos.agent.decision_shelf import open_shelf
from worldos.errors import NotThere
from worldos.home import Home
from worldos.model.ids import NodeId
from worldos.trust.note import log_of

PROGRAM = """
from worldos import use
from worldos.errors import NoCapacity
with use("CPU"):
    pass
try:
    use("CPU", 4000)
except NoCapacity:
    pass
"""


def program(home: Home) -> None:
    """A program of its own, which uses a core and asks for too many."""
    environment = {**os.environ, "WORLDOS_HOME": str(home.path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=90)


def test_uses_and_refusals_are_in_the_log_at_once_and_can_be_checked(agent: RunningAgent) -> None:
    program(agent.home)
    rows = agent.ask("audit_show", count=50)
    assert {"matched", "granted", "unmatched", "began"} <= {row["kind"] for row in rows}
    assert [row["number"] for row in rows] == sorted((row["number"] for row in rows), reverse=True)
    assert agent.ask("audit_flush") > rows[0]["number"]
    (one,) = agent.ask("audit_show", number=next(row["number"] for row in rows if row["kind"] == "matched"))
    assert one["offers"][0]["name"] == "", "what the matcher saw has no names"
    shelf = open_shelf(Path(agent.home.decisions_folder))
    found = auditing.verify(shelf, log_of(shelf.load("checkpoint")))
    assert found["wrong"] == []
    assert all(auditing.same_again(e) for e in auditing.entries(shelf) if e.leaf.kind == 1)


def test_a_kill_loses_at_most_what_was_not_signed_and_the_next_life_goes_on(folder: Path) -> None:
    home = new_home(folder / "home")
    first = RunningAgent(home)
    assert first.ready
    program(home)
    kept = first.ask("audit_flush")
    program(home)
    first.end(signal.SIGKILL)
    with running(home) as second:
        assert second.ask("audit_flush") >= kept + 3
        number = next(row["number"] for row in second.ask("audit_show", count=100) if row["kind"] == "matched")
        assert second.ask("audit_erase", number=number)["kind"] == "chosen"
        with pytest.raises(NotThere, match="erased"):
            second.ask("audit_show", number=number)
    shelf = open_shelf(Path(home.decisions_folder))
    found = auditing.verify(shelf, NodeId(log_of(shelf.load("checkpoint"))))
    assert (found["wrong"], found["erased"]) == ([], 1)
    assert found["draws_checked"] >= 1
