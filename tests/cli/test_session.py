"""``wos session``: as a person types it, and what a command puts out told on in one."""

from __future__ import annotations

import json
import subprocess

from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import command, environ, fails, wos


def test_a_session_is_begun_written_in_shown_and_ended(agent: RunningAgent) -> None:
    assert "wos session say notes" in wos(agent.home, "session", "start", "notes").stdout
    assert wos(agent.home, "session", "say", "notes", "first [word]").returncode == 0
    assert wos(agent.home, "session", "say", "notes", stdin="from a pipe").returncode == 0
    shown = wos(agent.home, "session", "show", "notes").stdout
    assert "desk first [word]" in shown
    assert "from a pipe" in shown
    listed = wos(agent.home, "session", "list").stdout
    assert "notes" in listed
    assert "desk (here)" in listed
    assert "this device writes" in wos(agent.home, "session", "move", "notes").stdout
    assert "notes has ended" in wos(agent.home, "session", "end", "notes").stdout
    assert "ended" in wos(agent.home, "session", "list").stdout


def test_all_of_it_is_there_as_json(agent: RunningAgent) -> None:
    begun = json.loads(wos(agent.home, "session", "start", "data", "--json").stdout)
    assert json.loads(wos(agent.home, "session", "say", "data", "x", "--json").stdout) == {"seq": 2}
    shown = json.loads(wos(agent.home, "session", "show", begun["id"][:6], "--json").stdout)
    assert [op["kind"] for op in shown["ops"]] == ["start", "say"]
    assert any(row["id"] == begun["id"] for row in json.loads(wos(agent.home, "session", "list", "--json").stdout))
    json.loads(wos(agent.home, "session", "end", "data", "--json").stdout)


def test_what_is_wrong_is_said_with_what_to_do(agent: RunningAgent) -> None:
    fails(wos(agent.home, "session", "show", "nothing"), 2, "there is no session")
    fails(wos(agent.home, "session", "start", "x" * 65), 2, "printable")
    wos(agent.home, "session", "start", "twice")
    fails(wos(agent.home, "session", "start", "twice"), 2, "already")
    fails(wos(agent.home, "session", "move", "twice", "no such device"), 2, "no device")


def test_a_followed_session_is_shown_until_it_ends(agent: RunningAgent) -> None:
    wos(agent.home, "session", "start", "long")
    following = subprocess.Popen(
        command("session", "show", "long", "--follow"), env=environ(agent.home), stdout=subprocess.PIPE, text=True
    )
    wos(agent.home, "session", "say", "long", "word by word")
    wos(agent.home, "session", "end", "long")
    shown, _ = following.communicate(timeout=20)
    assert following.returncode == 0
    assert "word by word" in shown
    assert "ended it" in shown
    until(lambda: following.poll() is not None, "it ends by itself")
