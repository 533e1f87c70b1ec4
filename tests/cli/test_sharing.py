"""``wos share``, ``open``, ``unshare`` on a real agent: a code is enough, and ends."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside

CODE_CHARS = 60


def test_a_code_brings_the_file_and_ends(agent: RunningAgent, folder: Path) -> None:
    inside(agent.home, "put", "-", "poem.txt", stdin="so much depends")
    shared = inside(agent.home, "share", "poem.txt")
    assert shared.returncode == 0, shared.stderr
    code = shared.stdout.strip()
    assert len(code) == CODE_CHARS
    assert code.startswith("wos1")
    opened = inside(agent.home, "open", "-", str(folder / "mine.txt"), stdin=code + "\n")
    assert opened.returncode == 0, opened.stderr
    assert "is here" in opened.stdout
    assert (folder / "mine.txt").read_text() == "so much depends"
    ended = inside(agent.home, "unshare", "poem.txt")
    assert ended.returncode == 0, ended.stderr
    assert inside(agent.home, "open", code, str(folder / "again.txt")).returncode != 0
    assert not (folder / "again.txt").exists()
    inside(agent.home, "rm", "poem.txt")


def test_a_code_to_write_takes_a_new_version(agent: RunningAgent, folder: Path) -> None:
    inside(agent.home, "put", "-", "list.txt", stdin="bread")
    told = json.loads(inside(agent.home, "share", "list.txt", "--write", "--until", "7d", "--json").stdout)
    assert told["right"] == "write"
    (folder / "list.txt").write_text("bread and salt")
    put = inside(agent.home, "put", str(folder / "list.txt"), told["code"])
    assert put.returncode == 0, put.stderr
    assert "list.txt is where the code leads" in put.stdout
    opened = inside(agent.home, "open", told["code"], str(folder / "back.txt"))
    assert opened.returncode == 0, opened.stderr
    assert (folder / "back.txt").read_text() == "bread and salt"
    inside(agent.home, "rm", "list.txt")


def test_what_is_no_code_is_refused_with_what_is_wrong(agent: RunningAgent) -> None:
    fails(inside(agent.home, "open", "wos1abc"), 2)
    fails(inside(agent.home, "open", "hello"), 2)
    fails(inside(agent.home, "share", "no such file"), 2, "not there")
    fails(inside(agent.home, "share", "x", "--write", "--verify"), 2, "a code gives one right")
    fails(inside(agent.home, "share", "x", "--until", "soon"), 2, "soon")
