"""The commands about rights: what they read and what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running

from worldos.cli.roles import read_until
from worldos.errors import BadRequest
from worldos.trust.keys import DeviceKey

STRANGER = DeviceKey.from_seed(b"s" * 32).node_id
NOW_S = 1_900_000_000


@pytest.mark.parametrize(
    ("text", "until_s"),
    [("30d", NOW_S + 30 * 86_400), ("12h", NOW_S + 43_200), ("90", NOW_S + 90), ("2030-06-01", 1_906_502_400)],
)
def test_a_time_is_how_long_or_until_when(text: str, until_s: int) -> None:
    assert read_until(text, NOW_S) == until_s


@pytest.mark.parametrize("text", ["soon", "2026-13-45", "30 moons", "-"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_until(text, NOW_S)


def wos(agent: RunningAgent, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WORLDOS_HOME": str(agent.home.path)}
    command = [sys.executable, "-m", "worldos.cli.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_role_from_first_to_last_by_hand(tmp_path: Path) -> None:
    with running(new_home(tmp_path / "h")) as agent:
        assert "no roles are given" in wos(agent, "role", "list").stdout
        given = wos(agent, "role", "grant", STRANGER, "guest", "--resource", "desk/CPU", "--until", "2h")
        assert "is guest of desk/CPU until" in given.stdout
        yes = wos(agent, "can", STRANGER, "lease", "desk/CPU")
        assert (yes.returncode, yes.stdout[:3]) == (0, "yes")
        no = wos(agent, "can", STRANGER, "lease", "desk/Memory", "--json")
        assert no.returncode == 3
        assert json.loads(no.stdout)["allowed"] is False
        assert "taken back" in wos(agent, "role", "revoke", STRANGER, "--yes").stdout
        assert "the grant was revoked" in wos(agent, "grants").stdout
        file = tmp_path / "narrow"
        wos(agent, "role", "grant", "desk", "auditor", "--out", str(file))
        narrowed = wos(agent, "--grant", str(file), "drain")
        assert narrowed.returncode == 3
        assert "not for admin" in narrowed.stderr
        assert wos(agent, "--grant", str(file), "status").returncode == 0
