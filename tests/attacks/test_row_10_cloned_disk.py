"""Attack 10: a cloned disk, or a snapshot of a machine that is brought back.

Run: real agents of one account on the loopback. A device's home is copied while it rests, and both copies are started, each
with the same key and the same next life; and an old copy of a home is put back after the device lived on. Outcome: the other
device sees it at the first statement or link of the second copy, holds the key for cloned, and neither copy does anything
any more: both stop, refuse to begin again, and say what to do. Two words of one writer at one place, and all other orders of
events, are in tests/kernel/test_clones.py; that nothing is paid twice is for the ledger's rows.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, running, same_account, until

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.home import Home


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wos-x-") as folder:
        yield Path(folder)


def copied(home: Home, name: str) -> Home:
    copy = Home(home.path.with_name(name))
    shutil.copytree(
        home.path, copy.path, symlinks=True, ignore=lambda _, names: [n for n in names if n.endswith("sock")]
    )
    return copy


def notices(agent: RunningAgent, name: str) -> list[dict[str, Any]]:
    return [line["fields"] for line in agent.ask("log") if line["name"] == name]


def stopped(agent: RunningAgent) -> None:
    """It ended by itself, in order, and said why."""
    assert agent.wait() == 0, agent.said
    log = (agent.home.path / "notices.jsonl").read_text()
    assert "this device lives twice" in log


def refuses_to_begin(home: Home) -> None:
    again = RunningAgent(home)
    assert not again.ready
    again.wait()
    assert "lives twice" in again.line


@pytest.mark.slow
def test_two_copies_of_one_disk_are_both_out_at_once(folder: Path) -> None:
    desk, attic = Home(folder / "desk"), Home(folder / "attic")
    for home in (desk, attic):
        home.path.mkdir(mode=0o700)
    same_account(desk, attic, make_account(desk, "desk"))
    with running(desk) as witness:
        status = witness.ask("status")
        homes.write_remembered(attic, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
        stolen = copied(attic, "stolen")
        first = RunningAgent(attic)
        assert first.ready
        until(lambda: len(witness.ask("nodes")) == 2 and notices(witness, "node linked"), "the true one is linked", 20)
        second = RunningAgent(stolen)
        assert second.ready
        until(lambda: notices(witness, "device cloned"), "the witness sees it", 20)
        stopped(second)
        stopped(first)
        assert notices(witness, "device cloned")[0]["node"] != status["node"]
        held_back = {row["name"]: row["held_back"] for row in witness.ask("devices")}
        assert "its key lives twice" in held_back["attic"]
        assert held_back["desk"] == ""
        row = next(row for row in witness.ask("nodes") if not row["here"])
        assert row["status"] == "offline"
        for home in (attic, stolen):
            refuses_to_begin(home)


@pytest.mark.slow
def test_a_snapshot_that_is_brought_back_stops_when_it_hears_of_its_own_future(folder: Path) -> None:
    desk, attic = Home(folder / "desk"), Home(folder / "attic")
    for home in (desk, attic):
        home.path.mkdir(mode=0o700)
    same_account(desk, attic, make_account(desk, "desk"))
    with running(desk) as witness:
        status = witness.ask("status")
        homes.write_remembered(attic, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
        with running(attic):
            until(lambda: is_there(witness), "the attic is linked", 20)
        old = copied(attic, "old")
        for _ in range(2):
            with running(attic):
                until(lambda: is_there(witness), "the attic is linked", 20)
        restored = RunningAgent(old)
        assert restored.ready
        stopped(restored)
        refuses_to_begin(old)


def is_there(witness: RunningAgent) -> bool:
    return any(not row["here"] and row["status"] == "alive" for row in witness.ask("nodes"))
