"""An agent as a process: one line when it is ready or why not, signals end it, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.home import Home

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this place")


def refused(home: Home, **options: str) -> str:
    """Start an agent that cannot begin; return its one sentence."""
    agent = RunningAgent(home, **options)
    code = agent.wait()
    assert code in {1, 2, 3}, agent.line
    assert agent.line.startswith("failed "), f"{agent.line!r} {agent.said}"
    assert agent.line.count("\n") == 1
    assert agent.line.rstrip().endswith(")"), "it says what to do"
    assert "Traceback" not in agent.said
    return agent.line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_an_agent_in_order(folder: Path, number: int) -> None:
    home = new_home(folder / "a")
    agent = RunningAgent(home)
    assert agent.line == f"ready {home.socket_file}\n"
    family = psutil.Process(agent.process.pid).children(recursive=True)
    assert agent.end(number) == 0
    assert not home.socket_file.exists()
    assert homes.running_pid(home) is None
    assert not psutil.wait_procs(family, 5)[1]


def test_a_home_has_one_agent_and_the_second_says_who_it_is(folder: Path) -> None:
    with running(new_home(folder / "a")) as first:
        said = refused(first.home)
        assert f"process {first.process.pid}" in said
        assert "wos status" in said
        assert first.ask("status")["life"] == 1


def test_a_killed_agent_leaves_a_home_that_begins_again(folder: Path) -> None:
    home = new_home(folder / "a")
    for life in (1,):
        agent = RunningAgent(home)
        assert agent.ask("status")["life"] == life
        family = psutil.Process(agent.process.pid).children(recursive=True)
        agent.end(signal.SIGKILL)
        assert not psutil.wait_procs(family, 5)[1], "its children ended with it"
    with running(home) as agent:
        assert agent.ask("status")["life"] == 2


def test_a_port_in_use_is_named_with_what_to_do(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(new_home(folder / "a"), listen=f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}: Address already in use" in said
    assert "--listen" in said


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "nonsense", "[::1", "::1"])
def test_an_address_that_is_none_is_refused(folder: Path, listen: str) -> None:
    assert "not an address" in refused(new_home(folder / "a"), listen=listen)


def test_a_name_that_nobody_knows_is_refused(folder: Path) -> None:
    assert "cannot listen at nobody.invalid:0" in refused(new_home(folder / "a"), listen="nobody.invalid:0")


def test_an_address_of_another_machine_is_refused(folder: Path) -> None:
    assert "cannot listen at 192.0.2.1:0" in refused(new_home(folder / "a"), listen="192.0.2.1:0")


@pytest.mark.parametrize("name", ["device.key", "keylog", "state", "config.toml"])
def test_a_damaged_file_stops_the_start_and_stays_as_it_is(folder: Path, name: str) -> None:
    home = new_home(folder / "a")
    file = home.path / name
    damaged = b"\xff damaged"
    file.write_bytes(damaged)
    assert name in refused(home)
    assert file.read_bytes() == damaged


def test_a_damaged_journal_does_not_stop_the_next_life(folder: Path) -> None:
    home = new_home(folder / "a")
    home.journal_folder.mkdir()
    (home.journal_folder / "00000001.journal").write_bytes(b"garbage")
    with running(home) as agent:
        assert agent.ask("status")["journal"].endswith("00000002.journal")


def test_a_home_without_an_account_is_told_what_to_do(folder: Path) -> None:
    assert "wos up" in refused(Home(folder / "bare"))


def test_a_home_with_a_path_too_long_for_sockets_works(folder: Path) -> None:
    deep = folder / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    home = Home(deep)
    make_account(home, "deep")
    with running(home) as agent:
        assert agent.ask("status")["home"] == str(deep)
        place = home.run_folder
        assert place.stat().st_mode & 0o777 == 0o700
    assert not place.exists()


@needs_root
def test_a_run_folder_that_another_user_laid_there_is_refused(folder: Path) -> None:
    deep = folder / ("d" * 90) / ("f" * 90)
    deep.mkdir(parents=True)
    home = Home(deep)
    make_account(home, "deep")
    home.run_folder.mkdir()
    try:
        os.chown(home.run_folder, 12345, 12345)
        assert "belongs to another user" in refused(home)
    finally:
        home.run_folder.rmdir()


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    place = folder / "ro"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    make_account(_made(place / "home"), "ro")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def _made(path: Path) -> Home:
    path.mkdir()
    return Home(path)


@needs_root
def test_a_home_on_a_read_only_place_is_refused(read_only: Path) -> None:
    for name in ("home", "none"):
        said = refused(Home(read_only / name))
        assert str(read_only) in said
        assert "WORLDOS_HOME" in said


def test_an_embedded_agent_ends_when_its_program_does(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worldos.agent", "--embedded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        line = process.stdout.readline().decode()
        assert line.startswith(f"ready {folder}/wos-embedded-")
        family = psutil.Process(process.pid).children(recursive=True)
        process.stdin.close()
        assert process.wait(45) == 0
    assert not psutil.wait_procs(family, 5)[1]
    until(lambda: not list(folder.iterdir()), f"nothing is left of it: {list(folder.iterdir())}")
