"""The whole command line: help, exit codes, streams that are closed or full, names in any bytes, completion."""

from __future__ import annotations

import contextlib
import importlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import command, environ, fails, wos
from typer.testing import CliRunner

from worldos.cli import main
from worldos.home import Home

ALL = [name for names in main.COMMANDS.values() for name in names]
# The output of what it ran, a picture, the bytes of a file, and those with commands of their own.
GROUPS = {
    "realm",
    "role",
    "storage",
    "mount",
    "session",
    "contact",
    "account",
    "guard",
    "watch",
    "audit",
    "grants",
    "queue",
    "engine",
    "lend",
}
WITHOUT_JSON = (GROUPS | {"run", "logs", "top", "cat", "result"}) - {"grants", "lend"}


@pytest.fixture(scope="module")
def help_of() -> Callable[..., str]:
    main.app.registered_commands.clear()  # other tests of this process may have added some, in an order of their own
    main.app.registered_groups.clear()
    for part in main.COMMANDS:
        importlib.import_module(f"worldos.cli.{part}").register(main.app)
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})

    def ask(*words: str) -> str:
        done = runner.invoke(main.app, [*words, "--help"], prog_name="wos")
        assert done.exit_code == 0, done.output
        return done.output

    return ask


def test_the_overview_is_grouped_and_in_the_order_of_use(help_of, expected) -> None:
    text = help_of()
    expected("wos", text)
    for kind in ([name for name in ALL if name not in GROUPS], [name for name in ALL if name in GROUPS]):
        places = [text.index(f"│ {name} ") for name in kind]  # in each panel, groups come after single commands
        assert places == sorted(places)


@pytest.mark.parametrize("name", ALL)
def test_each_command_explains_itself(help_of, expected, name: str) -> None:
    text = help_of(name)
    expected(f"wos-{name}", text)
    assert ("--json" in text) is (name not in WITHOUT_JSON)


def test_without_a_command_the_overview_is_shown(folder: Path) -> None:
    run = wos(Home(folder))
    assert "Usage: wos" in run.stdout + run.stderr
    assert run.returncode == 2


def test_the_version_is_one_line(folder: Path) -> None:
    assert wos(Home(folder), "--version").stdout.startswith("wos 0.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dance",), "No such command 'dance'"),
        (("up", "--loud"), "No such option"),
        (("join",), "Missing argument 'TICKET'"),
        (("log", "-n", "0"), "0 is not in the range"),
        (("log", "-n", "many"), "'many' is not a valid"),
        (("run",), "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_refused_with_its_usage(folder: Path, words: tuple[str, ...], said: str) -> None:
    fails(wos(Home(folder), *words), 2, said, "Usage: wos")


@pytest.mark.parametrize(
    "name", ["status", "nodes", "resources", "leases", "devices", "drain", "down", "top", "invite"]
)
def test_where_no_agent_runs_every_command_says_how_to_start_one(folder: Path, name: str) -> None:
    run = wos(Home(folder / "none"), name)
    fails(run, 4, "wos up")
    assert "Errno" not in run.stderr
    assert not (folder / "none").exists()


def test_a_user_without_a_home_gets_a_home_or_a_sentence(folder: Path) -> None:
    without = {key: value for key, value in os.environ.items() if key not in {"HOME", "WORLDOS_HOME", "XDG_DATA_HOME"}}
    run = subprocess.run(command("status"), env=without, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode in {2, 4}
    assert "Traceback" not in run.stderr
    run = wos(Home(Path("~nobody-of-this-name")), "status", HOME="/nonexistent")
    fails(run, 2, "no home folder", "WORLDOS_HOME=/path")


def test_closed_streams_are_no_trap(agent: RunningAgent) -> None:
    script = f"{sys.executable} -P -m worldos.cli.main status --json"
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        run = subprocess.run(
            ["sh", "-c", f"{script} {closing}"], env=environ(agent.home), capture_output=True, timeout=60, check=False
        )
        assert run.returncode == 0, (closing, run.stderr)
        assert b"Traceback" not in run.stderr


def test_a_full_disk_behind_the_output_is_named(agent: RunningAgent) -> None:
    for words in (("nodes",), ("nodes", "--json"), ("--version",)):
        with open("/dev/full", "w") as full:
            run = subprocess.run(
                command(*words),
                env=environ(agent.home),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        assert run.returncode == 1
        assert "the answer cannot be written" in run.stderr
        assert "No space left" in run.stderr


def test_a_reader_that_hangs_up_ends_it_quietly(agent: RunningAgent) -> None:
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        command("nodes", "--json"),
        env=environ(agent.home),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert run.returncode in {1, 141}
    assert run.stderr == b""


def test_names_in_any_bytes_are_printed_and_refused_in_order(agent: RunningAgent) -> None:
    fails(wos(agent.home, "resource", b"\xff\xfe"), 2, "not UTF-8")
    fails(wos(agent.home, "revoke", "-y", b"caf\xe9"), 2, "not UTF-8")
    fails(wos(agent.home, "replay", b"/no/\xff/file"), 2, "there is no file")


def test_a_narrow_terminal_gets_a_list_in_place_of_a_table(agent: RunningAgent) -> None:
    for columns in ("1", "10", "30"):
        run = on_terminal(agent.home, "nodes", COLUMNS=columns)
        assert "Traceback" not in run
        assert "desk" in run
        assert "memory free" in run


def on_terminal(home: Home, *words: str, **more: str) -> str:
    """Run a command on a terminal of its own; return what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(*words), env=environ(home, **more), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal without a program ends in EIO
        while piece := os.read(ours, 65536):
            shown += piece
    process.wait(60)
    os.close(ours)
    return shown.decode(errors="replace")


@pytest.mark.parametrize(("typed", "offered"), [("wos sta", "status"), ("wos resources --ty", "--type")])
def test_the_shell_completes_commands_and_options(folder: Path, typed: str, offered: str) -> None:
    count = str(len(typed.split()) - 1)
    run = wos(Home(folder), _WOS_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=count)
    assert offered in run.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_for_each_shell(folder: Path, shell: str) -> None:
    run = wos(Home(folder), "--show-completion", shell)
    assert run.returncode == 0
    assert "_WOS_COMPLETE" in run.stdout


def test_only_what_a_command_needs_is_loaded() -> None:
    code = (
        "import sys; sys.argv = ['wos', 'status', '--json'];"
        "import worldos.cli.main as m, importlib;"
        "[importlib.import_module(f'worldos.cli.{p}') for p in m._parts(sys.argv[1:])];"
        "print([n for n in ('rich.table', 'rich.console', 'textual', 'cryptography', 'nacl', 'asyncio', 'cloudpickle')"
        " if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
