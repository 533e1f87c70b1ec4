"""``wos up``, ``down``, ``status``, ``drain``: from a bare machine to a running node and back, and what stands in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.agent import home as homes
from worldos.cli.lifecycle import unit_text
from worldos.home import Home

HERE = ("--listen", "127.0.0.1:0")


@pytest.fixture
def home(folder: Path) -> Iterator[Home]:
    home = Home(folder / "h")
    yield home
    pid = homes.running_pid(home)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        until(lambda: homes.running_pid(home) is None, "the agent ended")


def test_the_first_start_makes_an_account_and_shows_what_it_found(home: Home) -> None:
    run = wos(home, "up", "--name", "desk", "--place", "home/study", *HERE)
    assert run.returncode == 0, run.stderr
    assert "24 recovery words" in run.stderr
    assert "24 " in run.stderr
    assert "desk is up. It found:" in run.stdout
    assert "CPU" in run.stdout
    assert "wos invite" in run.stdout
    status = json.loads(wos(home, "status", "--json").stdout)
    assert (status["name"], status["place"]) == ("desk", "home/study")
    again = wos(home, "up")
    assert again.returncode == 0
    assert "recovery words" not in again.stderr
    assert "desk is up" in again.stdout
    assert json.loads(wos(home, "status", "--json").stdout)["life"] == 1
    down = wos(home, "down")
    assert "stopped (process" in down.stdout
    assert homes.running_pid(home) is None
    assert not list(home.path.rglob("*.sock"))
    assert wos(home, "up", "--json").returncode == 0
    assert json.loads(wos(home, "down", "--json").stdout)["leases_ended"] == 0


def test_without_reachable_the_next_step_is_said(home: Home) -> None:
    run = wos(home, "up", "--name", "desk")
    assert "wos up --reachable" in run.stdout
    fails(wos(home, "up", "--name", "other"), 2, "this is for the next start", "wos down, then wos up")
    wos(home, "down")


def test_the_status_is_a_few_lines(agent: RunningAgent) -> None:
    lines = wos(agent.home, "status").stdout.splitlines()
    labels = [line.split()[0] for line in lines]
    assert labels == [
        "node",
        "account",
        "linked",
        "listens",
        "center",
        "leases",
        "limits",
        "others",
        "state",
        "up",
        "home",
        "journal",
    ]


def test_a_machine_goes_out_of_service_and_back(agent: RunningAgent) -> None:
    assert "in maintenance" in wos(agent.home, "drain").stdout
    assert "maintenance" in wos(agent.home, "status").stdout
    assert json.loads(wos(agent.home, "drain", "--off", "--json").stdout) == {"drained": False}


def test_in_the_foreground_it_ends_with_ctrl_c(home: Home) -> None:
    process = subprocess.Popen(
        command("up", "--foreground", *HERE),
        env=environ(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: wos(home, "status").returncode == 0, "it is up", 20)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode in {0, 130}
    assert "Traceback" not in said
    assert homes.running_pid(home) is None


def test_a_port_in_use_is_named(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = wos(home, "up", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert run.returncode != 0
    assert "Address already in use" in run.stderr
    assert "--listen" in run.stderr
    assert homes.running_pid(home) is None


@pytest.mark.parametrize("listen", ["nonsense", "host:99999", "[::1"])
def test_an_address_that_is_none_is_refused_and_not_kept(home: Home, listen: str) -> None:
    fails(wos(home, "up", "--listen", listen), 2, "not an address")
    assert not home.config_file.exists()


@pytest.mark.parametrize("name", ["device.key", "keylog", "state", "config.toml"])
def test_a_damaged_file_is_named_with_what_to_do(home: Home, name: str) -> None:
    new_home(home.path)
    (home.path / name).write_bytes(b"\xff damaged")
    run = wos(home, "up")
    assert run.returncode in {1, 2}
    assert name in run.stderr
    assert "Traceback" not in run.stderr
    assert (home.path / name).read_bytes() == b"\xff damaged"
    assert homes.running_pid(home) is None


def test_two_starts_at_once_make_one_agent(home: Home) -> None:
    new_home(home.path)
    both = [
        subprocess.Popen(command("up", "--json"), env=environ(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert 0 in {process.returncode for process in both}
    for process, (_, err) in zip(both, said, strict=True):
        assert process.returncode == 0 or b"already" in err, err
    assert json.loads(wos(home, "status", "--json").stdout)["life"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_and_a_full_place_are_named(folder: Path) -> None:
    for options, said in (("ro", "Read-only file system"), ("size=4k,nr_inodes=3", "No space left")):
        place = folder / options.split("=")[0]
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
        try:
            run = wos(Home(place / "home"), "up")
            assert run.returncode == 1, run.stderr
            assert said in run.stderr
            assert "WORLDOS_HOME" in run.stderr
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def test_down_ends_an_agent_that_does_not_answer(folder: Path) -> None:
    home = new_home(folder / "a")
    agent = RunningAgent(home)
    home.socket_file.unlink()
    run = wos(home, "down")
    assert run.returncode == 0, run.stderr
    assert agent.wait() == 0


def test_the_unit_file_is_one_that_systemd_takes(folder: Path) -> None:
    unit = folder / "worldos.service"
    unit.write_text(unit_text(Home(Path('/tmp/a b%c"d'))))
    assert "WORLDOS_HOME=/tmp/a b%%c" in unit.read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    run = subprocess.run(
        ["systemd-analyze", "verify", "--user", unit],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "worldos.service" not in run.stderr


def test_a_service_is_written_even_where_systemd_does_not_run(home: Home, folder: Path) -> None:
    run = wos(
        home, "up", "--service", XDG_CONFIG_HOME=str(folder / "config"), XDG_RUNTIME_DIR=str(folder), PATH="/nowhere"
    )
    assert run.returncode == 2
    assert (folder / "config" / "systemd" / "user" / "worldos.service").is_file()
    assert "wos up --foreground" in run.stderr


def test_a_running_agent_is_left_alone_by_the_status_of_another_home(folder: Path) -> None:
    with running(new_home(folder / "one")) as agent:
        fails(wos(Home(folder / "two"), "status"), 4, "wos up")
        assert agent.ask("status")["name"] == "desk"
