"""``wos realm``: what its commands say of themselves, and the tree as it is drawn."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.cli.conftest import command, environ, fails, wos
from tests.tui.realms import EARTH, row
from typer.testing import CliRunner

from worldos.cli import main, realm
from worldos.home import Home

NAMES = ("create", "found", "invite", "join", "leave", "remove", "tree", "show", "policy", "watch")


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    realm.register(main.app)


def tree_of(rows: list[dict]) -> str:
    console = Console(width=150, record=True, highlight=False, file=io.StringIO())
    for line in realm.drawn(rows):
        console.print(line)
    return console.export_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself(expected, name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["realm", name, "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected(f"wos-realm-{name}", done.output)
    assert ("--json" in done.output) is (name != "watch")


def test_the_tree_stands_in_columns(expected) -> None:
    expected("realm-tree", tree_of(EARTH))


def test_names_of_others_are_drawn_as_they_are() -> None:
    assert "a[bold]b" in tree_of([row("a[bold]b", "", 1)])


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """Two accounts: ``office`` below ``acme``, and ``den``."""
    with (
        tempfile.TemporaryDirectory(prefix="wos-q-") as folder,
        running(new_home(Path(folder) / "o", "office")) as office,
        running(new_home(Path(folder) / "d", "den")) as den,
    ):
        for agent in (office, den):
            until(lambda agent=agent: any(row["primary"] for row in agent.ask("realm_tree")), "it has a center")
        run = wos(office.home, "realm", "create", "acme", "--level", "enterprise")
        assert run.returncode == 0, run.stderr
        assert "acme is a realm of level enterprise now" in run.stdout
        yield office, den


class Inviting:
    """``wos realm invite`` that waits."""

    def __init__(self, agent: RunningAgent, *options: str) -> None:
        self.process = subprocess.Popen(
            command("realm", "invite", *options),
            env=environ(agent.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        while "wosr-" not in self.said:
            self.said += self.process.stdout.readline()
        self.ticket = next(word for word in self.said.split() if word.startswith("wosr-"))

    def end(self) -> tuple[int, str, str]:
        """Wait for its end."""
        said, complaint = self.process.communicate(timeout=30)
        return self.process.returncode, said, complaint


def test_a_realm_joins_after_a_question_and_leaves(two: tuple[RunningAgent, RunningAgent]) -> None:
    office, den = two
    inviting = Inviting(office)
    assert "goes below acme" in inviting.said
    fails(wos(den.home, "realm", "join", inviting.ticket), 2, "nobody is here to say yes", "--yes")

    ours, theirs = pty.openpty()
    joining = subprocess.Popen(
        command("realm", "join", inviting.ticket), env=environ(den.home), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"Join acme (enterprise) as child den? [y/N]" not in shown:
        shown += os.read(ours, 65536)
    os.write(ours, b"y\n")
    assert joining.wait(30) == 0
    os.close(ours)
    code, said, complaint = inviting.end()
    assert code == 0, complaint
    assert "den is below yours now" in said
    assert "the connection ended" in complaint, "the first try, which nobody answered"

    until(lambda: "den" in wos(office.home, "realm", "tree").stdout, "acme has it")
    rows = json.loads(wos(office.home, "realm", "tree", "--json").stdout)
    assert {row["path"] for row in rows} == {"acme", "acme/office", "acme/den"}
    about = wos(office.home, "realm", "show", "acme").stdout
    assert "BELOW IT" in about
    assert "council  office" in about
    until(lambda: "acme/den, epoch" in wos(den.home, "status").stdout, "it knows where it is")
    fails(wos(den.home, "realm", "leave"), 2, "nobody is here to ask", "--yes")
    assert "den is not below acme any more" in wos(den.home, "realm", "leave", "-y").stdout


def test_a_ticket_for_the_other_command_is_named(two: tuple[RunningAgent, RunningAgent]) -> None:
    office, den = two
    inviting = Inviting(office, "--plain")
    assert inviting.said == inviting.ticket + "\n"
    fails(wos(den.home, "join", inviting.ticket), 2, "this ticket is for a realm", "wos realm join TICKET")
    inviting.process.send_signal(signal.SIGINT)
    assert inviting.end()[0] == 130
    until(lambda: office.ask("status")["programs"] == 1, "its conversation is over")
    fails(wos(den.home, "realm", "join", inviting.ticket, "-y"), 4, "wos realm invite")


def test_a_policy_is_shown_and_set(two: tuple[RunningAgent, RunningAgent]) -> None:
    _, den = two
    assert wos(den.home, "realm", "policy").stdout.split() == ["lend", "own"]
    said = wos(den.home, "realm", "policy", "lend", "kin").stdout
    assert said.split()[:2] == ["lend", "kin"]
    assert "each in a sandbox" in said
    fails(wos(den.home, "realm", "policy", "lend"), 2, "what should lend be", "wos realm policy lend VALUE")
    fails(wos(den.home, "realm", "policy", "lend", "all"), 3, "lend is one of: own, kin")


def test_the_shell_completes_the_names_of_realms(two: tuple[RunningAgent, RunningAgent], folder: Path) -> None:
    asked = {"_WOS_COMPLETE": "complete_bash", "COMP_WORDS": "wos realm show a", "COMP_CWORD": "3"}
    assert "acme/office" in wos(two[0].home, **asked).stdout.split()
    run = wos(Home(folder), **asked)
    assert (run.stdout + run.stderr).strip() == "", (
        "without an agent there is nothing to offer, and nothing to complain about"
    )
