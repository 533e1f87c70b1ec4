"""``wos run``: any command as if it ran here, and each way in which it cannot."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import command, environ, fails, wos

PYTHON = sys.executable


@pytest.fixture
def agent(own_agent: RunningAgent) -> RunningAgent:
    return own_agent


def nothing_is_left(agent: RunningAgent) -> None:
    until(lambda: agent.ask("leases") == {"granted": [], "held": []}, "every lease is back")


def test_input_output_and_exit_code_are_as_if_local(agent: RunningAgent, folder: Path) -> None:
    code = "import sys; data = sys.stdin.read(); print(data.upper()); print('aside', file=sys.stderr); sys.exit(7)"
    run = wos(agent.home, "run", "--", PYTHON, "-c", code, stdin="hello", cwd=folder)
    assert (run.returncode, run.stdout, run.stderr) == (7, "HELLO\n", "aside\n")
    nothing_is_left(agent)


def test_files_go_along_and_results_come_back(agent: RunningAgent, folder: Path) -> None:
    (folder / "data.csv").write_text("1,2\n")
    run = wos(
        agent.home, "run", "--with", "data.csv", "--", "sh", "-c", "cp data.csv copy.csv; echo new > made", cwd=folder
    )
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["copy.csv", "data.csv", "made"]
    run = wos(agent.home, "run", "--no-keep", "--", "sh", "-c", "echo new > other", cwd=folder)
    assert run.returncode == 0
    assert not (folder / "other").exists()


def test_a_command_that_is_not_there_says_so(agent: RunningAgent, folder: Path) -> None:
    run = wos(agent.home, "run", "--", "no-such-command", cwd=folder)
    assert run.returncode == 127
    assert "no such command" in run.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--cpu", "a few"), 2, "few"),
        (("--cpu", "0"), 2, ""),
        (("--cpu", "-1"), 2, ""),
        (("--cpu", "100000"), 3, "no node can give"),
        (("--memory", "5 bananas"), 2, "bananas"),
        (("--memory", "900TB"), 3, "no node can give"),
        (("--gpu", "64"), 3, "GPU"),
        (("--where", "arch == "), 2, ""),
        (("--where", "arch == 'z80'"), 3, "arch"),
        (("--near", "the moon"), 3, "moon"),
        (("--objective", "best"), 2, "fastest"),
        (("--with", "none.csv"), 2, "none.csv"),
        (("--isolation", "moat"), 2, "sandbox"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(
    agent: RunningAgent, folder: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    run = wos(agent.home, "run", *options, "--", "true", cwd=folder)
    fails(run, code, said)
    assert "try:" in run.stderr or "--with" in options
    nothing_is_left(agent)


def test_a_command_that_takes_too_much_memory_is_stopped_and_told_why(agent: RunningAgent, folder: Path) -> None:
    run = wos(agent.home, "run", "--memory", "100MB", "--", PYTHON, "-c", "bytearray(300_000_000)", cwd=folder)
    assert run.returncode != 0
    limits = agent.ask("status")["limits_by"]
    assert "memory" in run.stderr.lower() or "cgroup" not in limits, f"{run.stderr} ({limits})"
    nothing_is_left(agent)


def test_ctrl_c_ends_the_command_there_and_here(agent: RunningAgent, folder: Path) -> None:
    process = subprocess.Popen(
        command("run", "--", "sh", "-c", "echo ready; exec sleep 60"),
        env=environ(agent.home),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in said
    nothing_is_left(agent)


def test_a_command_that_ignores_signals_ends_with_its_lease(agent: RunningAgent, folder: Path) -> None:
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, 1)\nprint('deaf', flush=True)\ntime.sleep(60)"
    process = subprocess.Popen(
        command("run", "--", PYTHON, "-c", code),
        env=environ(agent.home),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"deaf\n"
    process.kill()
    process.communicate(timeout=20)
    nothing_is_left(agent)


def test_arguments_in_any_bytes_are_refused_and_files_come_back_as_they_are(agent: RunningAgent, folder: Path) -> None:
    fails(wos(agent.home, "run", "--", "printf", b"caf\xe9", cwd=folder), 2, "not UTF-8", "--with script.sh")
    run = wos(agent.home, "run", "--", PYTHON, "-c", r"open(b'caf\xe9.txt', 'w').write('x')", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert [bytes(path).rpartition(b"/")[2] for path in folder.iterdir()] == [b"caf\xe9.txt"]


def test_closed_input_is_no_input(agent: RunningAgent, folder: Path) -> None:
    script = f"{PYTHON} -P -m worldos.cli.main run -- cat <&-"
    run = subprocess.run(
        ["sh", "-c", script], env=environ(agent.home), cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_a_command_that_closes_its_output_lives_on_to_its_end(agent: RunningAgent, folder: Path) -> None:
    run = wos(agent.home, "run", "--", "sh", "-c", "exec >&- 2>&-; sleep 0.3; echo late > made; exit 5", cwd=folder)
    assert run.returncode == 5
    assert (folder / "made").read_text() == "late\n"


def test_a_fork_bomb_ends_with_its_lease(agent: RunningAgent, folder: Path) -> None:
    bomb = (
        "import os, sys, time\n"
        "for number in range(3000):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "    except OSError: sys.exit('no more than ' + str(number))\n"
    )
    run = wos(agent.home, "run", "--", PYTHON, "-c", bomb, cwd=folder)
    assert run.returncode == 1
    assert "no more than " in run.stderr
    nothing_is_left(agent)
    assert agent.ask("status")["name"] == "desk"
