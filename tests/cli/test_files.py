"""``wos put``, ``get``, ``cat``, ``ls`` and the others as a person types them, on a real agent with a depot of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import command, environ, fails
from tests.cli.inside import inside

from worldos.cli import files
from worldos.files.about import StorageStatus, StoreRow
from worldos.home import Home


def done(agent: RunningAgent, *words: str, stdin: str = "") -> str:
    run = inside(agent.home, *words, stdin=stdin)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_file_goes_in_and_comes_out_the_same(agent: RunningAgent, folder: Path) -> None:
    data = os.urandom(300_000)
    (folder / "in ü.bin").write_bytes(data)
    assert "in ü.bin is kept: 300.0 kB" in done(agent, "put", str(folder / "in ü.bin"))
    assert "out.bin is here" in done(agent, "get", "in ü.bin", str(folder / "out.bin"))
    assert (folder / "out.bin").read_bytes() == data
    poured = subprocess.run(
        command("get", "in ü.bin", "-"), env=environ(agent.home), capture_output=True, timeout=60, check=True
    )
    assert poured.stdout == data
    done(agent, "rm", "in ü.bin")


def test_a_pipe_goes_in_and_comes_out(agent: RunningAgent) -> None:
    done(agent, "put", "-", "piped", stdin="so much\n")
    assert done(agent, "cat", "piped", "/piped") == "so much\nso much\n"
    fails(inside(agent.home, "put", "-", stdin="x"), 2, "needs a name", "wos put - NAME")
    done(agent, "rm", "piped")


def test_a_folder_goes_in_and_comes_out_the_same(agent: RunningAgent, folder: Path) -> None:
    for name in ("a/1", "a/b c/2", "a/b c/-n"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    done(agent, "put", str(folder / "a"), "tree")
    done(agent, "put", str(folder / "a"), "tree")
    assert done(agent, "ls", "-R", "tree").splitlines() == ["tree/1", "tree/b c/", "tree/b c/-n", "tree/b c/2"]
    done(agent, "get", "tree", str(folder / "back"))
    assert (folder / "back/b c/-n").read_text() == "a/b c/-n"
    (folder / "into").mkdir()
    done(agent, "get", "tree/b c", str(folder / "into"))
    assert (folder / "into/b c/2").exists()
    done(agent, "rm", "-r", "tree")


def test_names_mean_what_cp_and_mv_mean_by_them(agent: RunningAgent, folder: Path) -> None:
    (folder / "f").write_text("1")
    done(agent, "put", str(folder / "f"), "rules/")
    done(agent, "cp", "rules/f", "rules/g")
    done(agent, "mkdir", "rules/sub")
    done(agent, "mv", "rules/g", "rules/sub")
    done(agent, "cp", "rules/f", "/rules/-dash")
    done(agent, "cp", "wos://rules/f", "rules/-dash", "rules/sub/")
    assert done(agent, "ls", "-R", "rules").splitlines()[:4] == [
        "rules/-dash",
        "rules/f",
        "rules/sub/",
        "rules/sub/-dash",
    ]
    assert done(agent, "cat", "/rules/-dash") == done(agent, "cat", "--", "rules/-dash") == "1"
    fails(inside(agent.home, "mv", "rules/f", "rules/sub", "nowhere"), 2, "several names go into a folder")
    fails(inside(agent.home, "mv", "rules"), 2, "two names")
    done(agent, "rm", "-r", "rules")


def test_what_is_gone_is_back(agent: RunningAgent) -> None:
    done(agent, "put", "-", "draft", stdin="one")
    done(agent, "put", "-", "draft", stdin="two")
    done(agent, "rm", "draft")
    versions = json.loads(done(agent, "history", "draft", "--json"))
    assert [version["removed"] for version in versions] == [True, False]
    assert "draft is back" in done(agent, "undelete", "draft")
    assert done(agent, "cat", "draft") == "two"
    done(agent, "undelete", "draft", "--version", versions[1]["id"])
    assert done(agent, "cat", "draft") == "one"
    assert "VERSION" in done(agent, "history", "draft")
    done(agent, "rm", "draft")


def test_what_cannot_be_is_said_with_what_to_do(agent: RunningAgent, folder: Path) -> None:
    home = agent.home
    fails(inside(home, "cat", "no such"), 2, "no such is not there", "wos ls")
    fails(inside(home, "put", str(folder / "none")), 2, "there is no file", "wos get")
    done(agent, "mkdir", "fold")
    fails(inside(home, "cat", "fold"), 2, "fold is a folder", "wos ls fold")
    fails(inside(home, "rm", "fold"), 2, "is a folder", "wos rm -r")
    fails(inside(home, "rm", "gone"), 2, "not there")
    assert done(agent, "rm", "-f", "gone") == ""
    for name in ("../up", "a\x01b", "x" * 256):
        run = inside(home, "put", "-", name, stdin="x")
        assert run.returncode == 2, (name, run.stderr)
        assert "try:" in run.stderr or "wos:" in run.stderr
    (folder / "file").touch()
    done(agent, "put", str(folder / "file"), "fold/")
    fails(inside(home, "get", "fold/file", str(folder / "file" / "x")), 2, "there can be no folder")
    done(agent, "rm", "-r", "fold")


def test_a_put_that_is_broken_off_leaves_nothing(agent: RunningAgent) -> None:
    process = subprocess.Popen(
        command("put", "-", "half"), env=environ(agent.home), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(os.urandom(3_000_000))  # more than a pipe holds: it reads
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    fails(inside(agent.home, "cat", "half"), 2, "not there")


def test_without_an_agent_each_says_how_to_start_one(folder: Path) -> None:
    (folder / "f").touch()
    home = Home(folder / "nobody")
    for words in (
        ("ls",),
        ("put", str(folder / "f")),
        ("get", "f"),
        ("cat", "f"),
        ("rm", "f"),
        ("du",),
        ("history", "f"),
    ):
        fails(inside(home, *words), 4, "No World OS agent runs", "wos up")


def test_lists_are_the_same_in_json(agent: RunningAgent) -> None:
    done(agent, "put", "-", "listed/a", stdin="12345")
    (entry,) = json.loads(done(agent, "ls", "listed", "--json"))
    assert (entry["name"], entry["size_bytes"], entry["folder"]) == ("listed/a", 5, False)
    assert len(entry["digest"]) == 64
    assert done(agent, "ls", "-l", "listed").split()[:2] == ["5", "bytes"]
    assert done(agent, "ls", "listed/a") == "a\n"
    usage = json.loads(done(agent, "du", "listed", "--json"))
    assert (usage[-1]["name"], usage[-1]["files"], usage[-1]["plain_bytes"]) == ("listed", 1, 5)
    assert done(agent, "du", "-s", "listed").splitlines()[1].split()[0] == "listed"
    done(agent, "rm", "-r", "listed")


def test_the_shell_completes_names(agent: RunningAgent) -> None:
    done(agent, "put", "-", "complete/one", stdin="1")
    done(agent, "put", "-", "complete/other", stdin="1")
    asked = environ(agent.home, _WOS_COMPLETE="complete_bash", COMP_WORDS="wos cat complete/o", COMP_CWORD="2")
    run = subprocess.run(command(), env=asked, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split() == ["complete/one", "complete/other"]
    done(agent, "rm", "-r", "complete")


@pytest.mark.parametrize(("losses", "said"), [(0, "none"), (-1, "none"), (1, "any one"), (3, "any 3")])
def test_how_many_may_be_lost_is_said_in_words(losses: int, said: str) -> None:
    assert files.survival(losses).startswith(said)


def test_below_policy_is_said_and_what_to_do() -> None:
    told = StorageStatus(stores=(StoreRow(node="n", name="d", linked=True),), k=1, n=4, below_policy=True, survives=0)
    assert files.safety(told) == ". On 1 device, so none may be lost; on 4 any 3 may be: wos invite"
    enough = StorageStatus(stores=(), k=3, n=6, below_policy=False, survives=3)
    assert files.safety(enough) == ", any 3 may be lost at once (3-of-6)"


def test_devices_that_sleep_are_no_reason_for_more_devices() -> None:
    rows = tuple(StoreRow(node=str(n), name=str(n), linked=n < 3) for n in range(5))
    told = StorageStatus(stores=rows, k=2, n=5, below_policy=True, survives=1)
    said = files.safety(told)
    assert said == ". On 3 of 5 devices, so any one may be lost now; the rest follows when the others answer"
