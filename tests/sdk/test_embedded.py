"""An embedded agent lives exactly as long as its program, and leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from tests.sdk.waiting import alive, program, until

from worldos.errors import NoAgent
from worldos.sdk.embedded import Embedded

HOLDS = """
import sys
from worldos import use
from worldos.sdk.connection import connection

cpu = use("CPU", 1)
cpu.submit(pow, 2, 3).result(60)
agent = connection()
print(agent.embedded._child.pid, agent.ask("status")["home"], flush=True)
sys.stdin.readline()
{end}
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "1 / 0", "import os; os._exit(1)", "KILL"])
def test_however_the_program_ends_its_agent_and_workers_end_too(end: str, tmp_path: Path) -> None:
    running = program(HOLDS.format(end="" if end == "KILL" else end), tmp_path)
    assert running.stdout is not None
    pid_text, home = running.stdout.readline().split()
    family = [int(pid_text), *(child.pid for child in psutil.Process(int(pid_text)).children(recursive=True))]
    assert len(family) >= 2
    if end == "KILL":
        running.send_signal(signal.SIGKILL)
    running.communicate("\n", timeout=90)
    until(lambda: not any(alive(pid) for pid in family))
    until(lambda: not Path(home).exists())
    assert not (tmp_path / "home").exists()


def test_ctrl_c_reaches_the_program_and_not_the_agent_under_it() -> None:
    embedded = Embedded()
    try:
        embedded.path()
        assert os.getpgid(embedded._child.pid) != os.getpgrp()
    finally:
        embedded.end()


def test_an_agent_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(NoAgent, match="cannot start"):
        Embedded()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho failed the disk is full\n", "the disk is full"),
        ("#!/bin/sh\necho hello\n", "it said 'hello'"),
        ("#!/bin/sh\nexit 1\n", "it ended at once"),
    ],
)
def test_an_agent_that_starts_wrong_says_how(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = tmp_path / "python"
    impostor.write_text(script)
    impostor.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(impostor))
    with pytest.raises(NoAgent, match=said):
        Embedded().path()
