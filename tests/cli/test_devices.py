"""``wos invite``, ``join``, ``devices``, ``revoke``, ``leave``, ``recover`` (joining itself: tests/e2e/test_join.py)."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, running_pair, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.files.roots import make_first
from worldos.home import Home


def bare(path: Path) -> Home:
    path.mkdir(mode=0o700)
    return Home(path)


def test_an_invitation_is_a_command_to_type_and_a_picture(agent: RunningAgent) -> None:
    before = agent.ask("status")["programs"]
    process = subprocess.Popen(
        command("invite"), env=environ(agent.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = []
    while "█" not in "".join(lines):
        lines.append(process.stdout.readline())
    assert "within 10 minutes" in "".join(lines)
    assert "wos join wos-" in "".join(lines)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in said
    until(lambda: agent.ask("status")["programs"] <= before, "its conversation is over")


def test_a_plain_invitation_is_the_ticket_alone(agent: RunningAgent) -> None:
    process = subprocess.Popen(command("invite", "--plain"), env=environ(agent.home), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert re.fullmatch(r"wos-\w{40,}\n", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.stdout.close()


def test_a_machine_nobody_can_reach_says_how_to_change_that(folder: Path) -> None:
    home = new_home(folder / "a")
    with running(home, listen=""):
        fails(wos(home, "invite"), 2, "no other machine can reach", "wos up --reachable")


@pytest.mark.parametrize("ticket", ["nonsense", "wos-", "wos-" + "a" * 86, "wos-" + "a" * 100_000, "WOS-é"])
def test_what_is_no_ticket_is_refused_and_nothing_is_made(folder: Path, ticket: str) -> None:
    home = Home(folder / "none")
    run = wos(home, "join", ticket)
    assert run.returncode == 2, run.stderr
    assert "try:" in run.stderr
    assert not home.path.exists()


def test_a_join_that_is_interrupted_leaves_the_machine_as_it_was(agent: RunningAgent, folder: Path) -> None:
    inviting = subprocess.Popen(
        command("invite", "--plain"), env=environ(agent.home), stdout=subprocess.PIPE, text=True
    )
    assert inviting.stdout is not None
    ticket = inviting.stdout.readline().strip()
    home = Home(folder / "new")
    joining = subprocess.Popen(
        command("join", ticket), env=environ(home), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # nobody at either terminal: both sides say that nobody can compare the code, and end
    _, said = joining.communicate(timeout=30)
    assert joining.returncode != 0
    assert "Traceback" not in said
    assert inviting.wait(30) != 0
    inviting.stdout.close()
    assert not home.keylog_file.exists()
    assert homes.running_pid(home) is None
    assert len(agent.ask("devices")) == 1


def test_a_machine_with_an_account_of_its_own_joins_and_has_the_files_of_the_other(folder: Path) -> None:
    home = new_home(folder / "own", "own")
    make_first(home)
    with running(new_home(folder / "desk")) as agent:
        inviting = subprocess.Popen(
            command("invite", "--plain", "--yes"), env=environ(agent.home), stdout=subprocess.PIPE, text=True
        )
        assert inviting.stdout is not None
        run = wos(home, "join", inviting.stdout.readline().strip(), "--yes", "--listen", "127.0.0.1:0")
        assert run.returncode == 0, run.stderr
        assert inviting.wait(30) == 0
        inviting.stdout.close()
        try:
            run = wos(home, "ls", "/")
            assert run.returncode == 0, run.stderr
            assert len(list(home.path.glob("files-of-*/keyring"))) == 1, "what it had is set aside"
        finally:
            assert wos(home, "leave", "-y").returncode == 0
        assert len(list(home.path.glob("files-of-*/keyring"))) == 2


def test_revoking_needs_a_yes_and_a_device(agent: RunningAgent) -> None:
    fails(wos(agent.home, "revoke", "attic"), 2, "nobody is here to ask", "--yes")
    fails(wos(agent.home, "revoke", "attic", "-y"), 2, "no device is called 'attic'", "wos devices")
    fails(wos(agent.home, "revoke", "desk", "-y"), 2, "wos leave")


def test_a_revoked_device_is_gone_at_once_and_refused_on_return(folder: Path) -> None:
    with running_pair(folder) as (first, second):
        run = wos(first.home, "revoke", "attic", "-y")
        assert run.returncode == 0, run.stderr
        assert second.wait() == 0
        assert len(json.loads(wos(first.home, "nodes", "--json").stdout)) == 1
        run = wos(second.home, "up")
        assert run.returncode != 0
        assert "revoked" in run.stderr
        assert "wos leave" in run.stderr
        assert "revoked" in wos(first.home, "devices").stdout


def test_a_machine_leaves_and_the_others_know(folder: Path) -> None:
    with running_pair(folder) as (first, second):
        run = wos(second.home, "leave", "-y")
        assert run.returncode == 0, run.stderr
        assert "1 other machines were told" in run.stdout
        assert second.wait() == 0
        left = {"keylog", "device.key", "state", "hybrid.key", "statements"} & {
            file.name for file in second.home.path.iterdir()
        }
        assert not left
        until(lambda: len(first.ask("nodes")) == 1, "it is gone on the other")
        fails(wos(second.home, "leave", "-y"), 3, "no account", "wos up")


def test_leaving_without_an_agent_says_that_nobody_was_told(folder: Path) -> None:
    home = new_home(folder / "a")
    fails(wos(home, "leave"), 2, "nobody is here to ask", "--yes")
    run = wos(home, "leave", "-y")
    assert run.returncode == 0
    assert "wos revoke" in run.stdout
    assert not home.key_file.exists()


def test_the_words_bring_the_account_to_a_bare_and_to_a_known_machine(folder: Path) -> None:
    known = bare(folder / "known")
    words = make_account(known, "known")
    for home in (known, Home(folder / "bare")):
        run = wos(home, "recover", "--name", "again", "--json", stdin=words + "\n")
        assert run.returncode == 0, run.stderr
        with running(home) as agent:
            assert agent.ask("status")["account"] == json.loads(run.stdout)["account"]
    said = wos(known, "recover", stdin=words)
    assert "is yours again" in said.stdout
    assert "wos up" in said.stdout


@pytest.mark.parametrize("words", ["", "hello world", "abandon " * 24])
def test_wrong_words_are_refused(folder: Path, words: str) -> None:
    home = Home(folder / "a")
    run = wos(home, "recover", stdin=words)
    assert run.returncode == 2, run.stderr
    assert not home.keylog_file.exists()


def test_words_of_another_account_do_not_take_a_machine_with_others(folder: Path) -> None:
    other = make_account(bare(folder / "other"), "other")
    with running_pair(folder) as (first, _):
        fails(wos(first.home, "recover", stdin=other), 2, "an agent runs here", "wos down")
        assert wos(first.home, "down").returncode == 0
        fails(wos(first.home, "recover", stdin=other), 3, "belongs to another account", "wos leave")


def test_recovering_stolen_machines_puts_all_others_out(folder: Path) -> None:
    home = bare(folder / "a")
    words = make_account(home, "stolen")
    os.rename(home.key_file, folder / "key-of-the-thief")
    assert wos(home, "recover", "--revoke-others", "--name", "fresh", stdin=words).returncode == 0
    with running(home) as agent:
        assert {d["name"]: d["status"] for d in agent.ask("devices")} == {"stolen": "revoked", "fresh": "active"}


def test_ctrl_c_while_the_codes_are_compared_ends_both_sides(agent: RunningAgent, folder: Path) -> None:
    inviting = subprocess.Popen(
        command("invite", "--plain", "--yes"),
        env=environ(agent.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert inviting.stdout is not None
    ticket = inviting.stdout.readline().strip()
    home = Home(folder / "new")
    ours, theirs = pty.openpty()
    joining = subprocess.Popen(
        command("join", ticket), env=environ(home), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    while b"same code?" not in shown:
        shown += os.read(ours, 4096)
    joining.send_signal(signal.SIGINT)
    assert joining.wait(10) == 130
    os.close(ours)
    _, said = inviting.communicate(timeout=15)
    assert inviting.returncode == 4
    assert "wos invite" in said
    assert not home.keylog_file.exists()
    assert len(agent.ask("devices")) == 1
