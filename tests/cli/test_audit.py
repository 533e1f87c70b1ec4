"""``wos audit``: what was decided, checked and made again, with an agent and without."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agent.agents import new_home, running, running_pair, until
from tests.cli.conftest import fails, wos


def test_what_was_decided_is_shown_checked_replayed_and_erased(folder: Path) -> None:
    home = new_home(folder / "desk")
    with running(home):
        assert wos(home, "run", "--", "true").returncode == 0
        rows = json.loads(wos(home, "audit", "show", "--json").stdout)
        matched = next(row for row in rows if row["kind"] == "matched")
        said = wos(home, "audit", "show", str(matched["number"])).stdout
        assert "number 1 of this life" in said
        assert "CPU" in said
        assert "all as it should be" in wos(home, "audit", "verify").stdout
        alone = wos(home, "audit", "verify", "--witnesses", "2")
        assert alone.returncode == 1
        assert "0 witnesses have cosigned it, not 2" in alone.stderr
        assert "choices made again: all as then" in wos(home, "audit", "replay").stdout
        assert "1 choices made again" in wos(home, "audit", "replay", str(matched["number"])).stdout
        fails(wos(home, "audit", "erase", str(matched["number"])), 2, "nobody is here to ask")
        assert "its leaf and its proofs stay" in wos(home, "audit", "erase", str(matched["number"]), "--yes").stdout
        fails(wos(home, "audit", "show", str(matched["number"])), 2, "was erased")
    found = json.loads(wos(home, "audit", "verify", "--json").stdout)
    assert (found["wrong"], found["erased"]) == ([], 1)
    fails(wos(home, "audit", "replay", "0"), 2, "(began) is no choice")
    leaves = home.decisions_folder / "leaves"
    data = bytearray(leaves.read_bytes())
    data[-1] ^= 1
    leaves.write_bytes(data)
    run = wos(home, "audit", "verify")
    assert run.returncode == 1
    assert "do not come to the root" in run.stderr


def test_neutrality_is_searched_and_so_are_planted_biases(folder: Path) -> None:
    run = wos(new_home(folder / "desk"), "audit", "neutrality", "--worlds", "100")
    assert run.returncode == 0, run.stderr
    assert "0 of 100 worlds were not neutral" in run.stdout
    assert "ties by id" in run.stdout
    assert "not found" not in run.stdout


def test_witnesses_are_shown_and_another_log_is_checked(folder: Path) -> None:
    with running_pair(folder) as (desk, _attic):
        until(lambda: all(w["size"] for w in desk.ask("audit_witness")["by"]), "attic cosigned", 20)
        said = wos(desk.home, "audit", "witness").stdout
        assert "COSIGNED" in said
        assert "attic" in said
        run = wos(desk.home, "audit", "verify", "attic")
        assert "all as it should be" in run.stdout, run.stdout + run.stderr
        assert "desk" in wos(desk.home, "audit", "show", "-n", "200").stdout
        fails(wos(desk.home, "audit", "verify", "nobody"), 2, "no machine is called")


def test_a_home_without_a_log_says_how_to_get_one(folder: Path) -> None:
    fails(wos(new_home(folder / "desk"), "audit", "verify"), 2, "wos up")
