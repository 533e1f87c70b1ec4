"""A child runs a program as its user would have started it, and has nothing of ours."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from worldos.lanes.child import Child, close_on_exec, found, spawn

PATH = {"PATH": os.environ["PATH"]}


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # put back at the end: who spawns goes where its child begins


def said(child: Child) -> tuple[int, bytes, bytes]:
    out, errors = child.stdout.readall(), child.stderr.readall()
    return child.wait(60), out or b"", errors or b""


def test_it_begins_in_its_folder_with_its_environment_and_streams_of_its_own(tmp_path: Path) -> None:
    child = spawn(["sh", "-c", "pwd; echo $A >&2; exit 3"], tmp_path, {**PATH, "A": "b"})
    assert said(child) == (3, f"{tmp_path}\n".encode(), b"b\n")


def test_it_reads_what_it_is_given_or_nothing(tmp_path: Path) -> None:
    child = spawn(["cat"], tmp_path, PATH)
    assert child.stdin is not None
    child.stdin.write(b"x")
    child.stdin.close()
    assert said(child)[:2] == (0, b"x")
    child = spawn(["cat"], tmp_path, PATH, has_input=False)
    assert child.stdin is None
    assert said(child)[:2] == (0, b"")


def test_nothing_of_ours_is_open_in_it_and_signals_come_as_they_do(tmp_path: Path) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(fd, True)
    close_on_exec()
    listed = said(spawn(["ls", "/proc/self/fd"], tmp_path, PATH))
    status = spawn(["cat", "/proc/self/status", "/proc/self/stat"], tmp_path, PATH)
    _, out, _ = said(status)
    os.close(fd)
    assert listed[1].split() == [b"0", b"1", b"2", b"3"], "the last is that of the listing"
    (ignored,) = [line for line in out.decode().splitlines() if line.startswith("SigIgn")]
    assert not int(ignored.split()[1], 16) & (1 << signal.SIGPIPE - 1)
    assert int(out.decode().rpartition(")")[2].split()[2]) == status.pid, "a process group of its own"


@pytest.mark.parametrize(("name", "error"), [("no-such", FileNotFoundError), ("./plain", PermissionError)])
def test_what_cannot_be_started_is_said_as_ever(tmp_path: Path, name: str, error: type[OSError]) -> None:
    (tmp_path / "plain").write_text("no program")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        spawn([name], tmp_path, PATH)
    assert len(os.listdir("/proc/self/fd")) == before


def test_programs_are_looked_for_where_their_own_environment_says(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    program = tmp_path / "mine" / "sh"
    program.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(PermissionError):
        found("sh", {"PATH": str(tmp_path / "mine")})
    program.chmod(0o755)
    assert said(spawn(["sh"], tmp_path, {"PATH": f"{tmp_path / 'mine'}:/bin"}))[:2] == (0, b"mine\n")


def test_one_that_goes_on_is_waited_for_no_longer_than_that(tmp_path: Path) -> None:
    child = spawn(["sleep", "60"], tmp_path, PATH)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
