"""``wos mount serve`` as a person starts it: what it prints, who gets in, how it ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import command, environ, fails, wos
from tests.cli.inside import inside

from worldos.cli.mount import kept_password
from worldos.errors import DiskFull
from worldos.home import Home


def test_it_serves_with_the_password_it_prints_and_ends_politely(agent: RunningAgent) -> None:
    inside(agent.home, "put", "-", "mounted", stdin="from the folder")
    process = subprocess.Popen(
        command("mount", "serve", "--port", "0", "--json"), env=environ(agent.home), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            said += process.stdout.readline()
        told = json.loads(said)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(told["url"] + "mounted", timeout=10)
        token = base64.b64encode(f"{told['user']}:{told['password']}".encode()).decode()
        asked = urllib.request.Request(told["url"] + "mounted", headers={"Authorization": f"Basic {token}"})
        assert urllib.request.urlopen(asked, timeout=10).read() == b"from the folder"
        assert told["url"].startswith("http://127.0.0.1:")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        process.stdout.close()
    inside(agent.home, "rm", "mounted")


def test_the_password_stays_until_a_new_one_is_wanted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = kept_password(home, anew=False)
    assert len(first) >= 16
    assert kept_password(home, anew=False) == first
    second = kept_password(home, anew=True)
    assert kept_password(home, anew=False) == second != first
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("short\n")
    assert len(kept_password(home, anew=False)) >= 16, "what is no password is replaced"


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "mount.password").mkdir()
    with pytest.raises(DiskFull, match=r"mount\.password"):
        kept_password(Home(tmp_path), anew=False)


def test_without_an_agent_it_says_how_to_start_one(folder: Path) -> None:
    os.makedirs(folder / "nobody")
    fails(wos(Home(folder / "nobody"), "mount", "serve", "--port", "0"), 4, "wos up")
