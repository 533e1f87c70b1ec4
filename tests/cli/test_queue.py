"""``wos queue``: as a person types it."""

from __future__ import annotations

import json

from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside


def test_messages_are_put_shown_and_taken(agent: RunningAgent) -> None:
    home = agent.home
    assert json.loads(inside(home, "queue", "put", "words", "one [1]", "two", "--json").stdout) == {
        "put": 2,
        "waiting": 2,
    }
    assert inside(home, "queue", "put", "words", stdin="three\nfour\n").returncode == 0
    assert "words" in inside(home, "queue", "list").stdout
    shown = inside(home, "queue", "show", "words").stdout
    assert "4 wait" in shown
    assert "(leads)" in shown
    assert inside(home, "queue", "take", "words", "--keep").stdout == "one [1]\n"
    assert inside(home, "queue", "take", "words", "-n", "3").stdout == "one [1]\ntwo\nthree\n"
    (row,) = json.loads(inside(home, "queue", "take", "words", "--json").stdout)
    assert (row["text"], row["taken"]) == ("four", 1)
    empty = inside(home, "queue", "take", "words")
    assert (empty.returncode, empty.stdout) == (1, "")
    assert inside(home, "queue", "put", "words", "--id", "x", "once").returncode == 0
    assert inside(home, "queue", "put", "words", "--id", "x", "once").returncode == 0
    (row,) = [row for row in json.loads(inside(home, "queue", "list", "--json").stdout) if row["queue"] == "words"]
    assert row["waiting"] == 1
    assert inside(home, "queue", "drop", "words", "--yes").returncode == 0
    fails(inside(home, "queue", "show", "words"), 2, "there is no queue")


def test_what_is_wrong_is_said_with_what_to_do(agent: RunningAgent) -> None:
    fails(inside(agent.home, "queue", "take", "nothing"), 2, "wos queue list")
    fails(inside(agent.home, "queue", "put", "words", "--id", "x", "a", "b"), 2, "one message")
    fails(inside(agent.home, "queue", "put", "", "a"), 2, "wos queue put NAME")
    fails(inside(agent.home, "queue", "put", "x" * 121, "a"), 3, "name")
