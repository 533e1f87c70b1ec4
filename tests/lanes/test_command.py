"""Any command on a worker, as if it ran here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from harness import Here, alive, eventually

from worldos.errors import BadRequest, NodeGone, OverQuota
from worldos.lanes.client import Door
from worldos.lanes.command import run_command


class Terminal:
    """Pipes in place of a terminal."""

    def __init__(self, folder: Path, text: bytes = b"") -> None:
        self.stdin = folder / "stdin"
        self.stdin.write_bytes(text)
        self.out = folder / "stdout"
        self.err = folder / "stderr"

    def run(self, door: Door, argv: list[str], **words: object) -> int:
        with self.stdin.open("rb") as stdin, self.out.open("wb") as out, self.err.open("wb") as err:
            return run_command(door, argv, stdin=stdin.fileno(), stdout=out.fileno(), stderr=err.fileno(), **words)  # type: ignore[arg-type]


@pytest.fixture
def door(here: Here) -> Door:
    _lease, doors = here.open(workers=1)
    return Door(path=doors[0].path)


def test_output_error_and_exit_code_come_back(door: Door, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run(door, ["sh", "-c", "echo out; echo err >&2; exit 7"]) == 7
    assert terminal.out.read_bytes() == b"out\n"
    assert terminal.err.read_bytes() == b"err\n"


def test_input_goes_in_and_much_output_comes_out_at_once(door: Door, tmp_path: Path) -> None:
    text = os.urandom(3_000_000)
    terminal = Terminal(tmp_path, text)
    assert terminal.run(door, ["cat"]) == 0
    assert terminal.out.read_bytes() == text


def test_files_go_along_and_what_is_new_or_changed_comes_back(door: Door, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "data" / "deep").mkdir(parents=True)
    (home / "data" / "deep" / "in.txt").write_text("abc")
    (home / "same.txt").write_text("same")
    (home / "not-sent.txt").write_text("stays")
    script = "tr a-z A-Z < data/deep/in.txt > out.txt; mkdir new; echo n > new/n; echo more >> data/deep/in.txt; ls"
    terminal = Terminal(tmp_path)
    inputs = [Path("data"), home / "same.txt"]
    assert terminal.run(door, ["sh", "-c", script], inputs=inputs, folder=home) == 0
    assert terminal.out.read_text().split() == ["data", "new", "out.txt", "same.txt"]
    assert (home / "out.txt").read_text() == "ABC"
    assert (home / "new" / "n").read_text() == "n\n"
    assert (home / "data" / "deep" / "in.txt").read_text() == "abcmore\n"
    assert (home / "not-sent.txt").read_text() == "stays"


def test_a_missing_input_is_refused_before_anything_runs(door: Door, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="there is no nowhere"):
        Terminal(tmp_path).run(door, ["true"], inputs=[Path("nowhere")], folder=tmp_path)


def test_a_command_that_does_not_exist_says_so(door: Door, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Terminal(tmp_path).run(door, ["no-such-command"]) == 127
    assert "no such command" in capfd.readouterr().err


def test_a_command_ended_by_a_signal_has_the_code_of_the_shell(door: Door, tmp_path: Path) -> None:
    assert Terminal(tmp_path).run(door, ["sh", "-c", "kill -SEGV $$"]) == 128 + signal.SIGSEGV


def test_nothing_that_the_command_started_is_left(door: Door, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    started = time.monotonic()
    assert terminal.run(door, ["sh", "-c", "sleep 300 & echo $!"]) == 0
    assert time.monotonic() - started < 60, "nobody waits for what it started"
    pid = int(terminal.out.read_text())
    assert eventually(lambda: not alive(pid))


def test_a_door_that_is_closed_says_so(tmp_path: Path) -> None:
    with pytest.raises(NodeGone):
        Terminal(tmp_path).run(Door(path=str(tmp_path / "no.door")), ["true"])


def test_a_command_over_its_memory_is_stopped_with_the_reason(here: Here, tmp_path: Path) -> None:
    _lease, doors = here.open(workers=1, memory_bytes=100_000_000)
    hog = "x = b'x' * 50_000_000\ny = [x + b'1' for _ in range(20)]"
    code: int | str
    try:
        code = Terminal(tmp_path).run(Door(path=doors[0].path), [sys.executable, "-c", hog])
    except OverQuota as error:
        code = str(error)
    assert code == 128 + signal.SIGKILL or "memory leased" in str(code)


def test_control_c_reaches_the_command_and_a_stubborn_one_is_killed_by_the_third(here: Here, tmp_path: Path) -> None:
    _lease, doors = here.open(workers=1)
    script = "trap 'echo got INT' INT; trap 'echo got TERM' TERM; echo ready; while true; do sleep 0.05; done"
    program = textwrap.dedent(f"""
        import sys
        from worldos.lanes.command import run_command
        from worldos.lanes.client import Door
        sys.exit(run_command(Door(path={doors[0].path!r}), ["sh", "-c", {script!r}]))
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    for word in (b"ready", b"got INT", b"got TERM"):
        assert process.stdout.readline().strip() == word
        process.send_signal(signal.SIGINT)
    assert process.wait(15) == 128 + signal.SIGKILL
    process.stdout.close()


def test_when_the_holder_is_killed_the_command_ends(here: Here, tmp_path: Path) -> None:
    _lease, doors = here.open(workers=1)
    program = textwrap.dedent(f"""
        from worldos.lanes.command import run_command
        from worldos.lanes.client import Door
        run_command(Door(path={doors[0].path!r}), ["sh", "-c", "trap '' TERM; echo $$; sleep 300"])
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(lambda: not alive(pid), 8)
