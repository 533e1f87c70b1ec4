"""``wos engines`` and ``wos engine up``: what there is, one that runs until Ctrl-C, and sentences for what cannot be."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.engines import environment, postgresql
from worldos.engines.standing import Standing, StandingFile
from worldos.home import Home

INSTALLED = environment.find(postgresql.engine.software({}), Home(Path("/no/such/home"))) is not None


def test_engines_are_listed_with_what_is_installed_here(agent: RunningAgent) -> None:
    lines = wos(agent.home, "engines").stdout.splitlines()
    assert lines[0].split() == ["ENGINE", "VERSION", "HERE", "WHAT"]
    rows = json.loads(wos(agent.home, "engines", "--json").stdout)
    assert [row["name"] for row in rows["engines"]] == ["Dask", "PostgreSQL", "Ray"]
    assert rows["environments"] == []


def test_an_environment_is_shown_and_removed(agent: RunningAgent) -> None:
    made = agent.home.path / "engines/tiny-1.0-abcdef12"
    made.mkdir(parents=True)
    (made / "ready").write_text("tiny==1.0\n")
    try:
        assert "tiny-1.0-abcdef12" in wos(agent.home, "engines").stdout
        assert wos(agent.home, "engine", "remove", "tiny-1.0-abcdef12").stdout == "removed tiny-1.0-abcdef12\n"
        assert not made.exists()
        fails(wos(agent.home, "engine", "remove", "../.."), 2, "there is no environment", "wos engines")
    finally:
        shutil.rmtree(made, ignore_errors=True)


def test_how_far_the_log_of_a_database_is_kept_is_shown(agent: RunningAgent) -> None:
    shop, other = StandingFile(agent.home, "shop"), StandingFile(agent.home, "other")
    try:
        shop.say(
            Standing(database="shop", waiting_bytes=3_000_000, whole_at_s=time.time() - 130, why="no store [here]")
        )
        other.say(Standing(database="other"))
        lines = wos(agent.home, "engines").stdout.splitlines()
        assert [line.split()[:2] for line in lines[-3:]] == [["DATABASE", "IN"], ["other", "yes"], ["shop", "to"]]
        assert "ago, 3.0 MB wait: no store [here]" in lines[-1]
        rows = json.loads(wos(agent.home, "engines", "--json").stdout)["databases"]
        assert [(row["database"], row["waiting_bytes"]) for row in rows] == [("other", 0), ("shop", 3_000_000)]
    finally:
        shop.close()
        other.close()


def test_what_cannot_be_started_is_said(agent: RunningAgent) -> None:
    fails(wos(agent.home, "engine", "up", "Spark"), 2, "there is no engine 'Spark'", "Dask, PostgreSQL, Ray")
    fails(wos(agent.home, "engine", "up", "Dask", "four"), 2, "'four' is no word of an engine", "WORD=VALUE")
    fails(wos(agent.home, "engine", "up", "Dask", "colour=red"), 2, "Dask knows no word colour=", "packages")
    fails(wos(agent.home, "engine", "up", "Dask", "--nodes", "3"), 3, "3 nodes are wanted, 1 have cores free")
    fails(wos(agent.home, "engine", "up", "PostgreSQL", "version=9"), 2, "no version of PostgreSQL", "version=15")


@pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed")
def test_an_engine_runs_until_ctrl_c(agent: RunningAgent) -> None:
    words = command("engine", "up", "PostgreSQL", "keep=false", "--json")
    with subprocess.Popen(words, env=environ(agent.home), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        told = ""
        while not told.endswith("}\n"):
            line = running.stdout.readline()
            assert line, "it ended"
            told += line
        url = json.loads(told)["url"]
        with psycopg.connect(url) as database:
            assert database.execute("select 6 * 7").fetchone() == (42,)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    until(lambda: "CPU" not in wos(agent.home, "leases", "--json").stdout, 10)
