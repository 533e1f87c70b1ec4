"""Real agents for tests: a process each, on a home of its own, on the loopback, ended when the test is."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cli.warm import Forked, begin_agent
from tests.cli.warming import Warm
from tests.patience import patient_s, until

from worldos.agent import home as homes
from worldos.agent.start import make_account, recover_account
from worldos.home import Home
from worldos.kernel.belonging import log_entries
from worldos.sdk.asking import Asking
from worldos.trust.keylog import KeyLog, SignedEntry

READY_S = patient_s(20.0)
END_S = patient_s(15.0)


class RunningAgent:
    """An agent's process. ``line`` is what it said first."""

    def __init__(self, home: Home, *options: str, listen: str = "127.0.0.1:0", prefix: tuple[str, ...] = ()) -> None:
        self.home = home
        self.code: int | None = None
        self.said = ""
        words = ["--home", str(home.path), "--listen", listen, *options]
        self.process = _started(prefix, words) if prefix else _forked(words)
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_S)
        self.line = self.process.stdout.readline().decode() if readable else ""

    @property
    def ready(self) -> bool:
        return self.line.startswith("ready ")

    def ask(self, name: str, /, **arguments: Any) -> Any:
        with Asking(self.home) as agent:
            return agent.ask(name, **arguments)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end by itself; return its exit code."""
        if self.code is not None:
            return self.code
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        self.said = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.code = code
        return code


def _forked(words: list[str]) -> subprocess.Popen[bytes] | Forked:
    """Start an agent without a start of Python, where the environment lets us."""
    warm = Warm.of_this_process()
    return begin_agent(warm.path, words, str(Path.cwd())) if warm.fits(os.environ) else _started((), words)


def _started(prefix: tuple[str, ...], words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "worldos.agent", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def new_home(path: Path, name: str = "desk") -> Home:
    """A home whose device is the first of an account."""
    path.mkdir(mode=0o700)
    make_account(Home(path), name)
    return Home(path)


@contextlib.contextmanager
def running(home: Home, *options: str, listen: str = "127.0.0.1:0") -> Iterator[RunningAgent]:
    """An agent for the length of a block; it must be ready, and end well."""
    agent = RunningAgent(home, *options, listen=listen)
    try:
        assert agent.ready, f"{agent.line}"
        yield agent
    finally:
        code = agent.end()
    assert code == 0, agent.said
    assert "Traceback" not in agent.said, agent.said


def raw(path: Path) -> socket.socket:
    """A connection to a local socket that says nothing yet."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(patient_s(10))
    sock.connect(str(path))
    return sock


def framed(body: bytes) -> bytes:
    """A frame of the local API."""
    return struct.pack("<I", len(body)) + body


def heard(sock: socket.socket) -> bytes:
    """Everything until the other side hangs up."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            data += piece
    return data


def same_account(first: Home, second: Home, words: str) -> None:
    """Bring a second machine into the account of the first by its words, and let both know it."""
    recover_account(second, "attic", words)
    log = KeyLog()
    for home in (first, second):
        log.merge(SignedEntry(body=body, signature=signature) for body, signature in homes.read_keylog(home))
    for home in (first, second):
        homes.write_keylog(home, log_entries(log, log.entries))


@contextlib.contextmanager
def running_pair(folder: Path) -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """Two agents of one account, linked."""
    desk, attic = Home(folder / "desk"), Home(folder / "attic")
    for home in (desk, attic):
        home.path.mkdir(mode=0o700)
    same_account(desk, attic, make_account(desk, "desk"))
    with running(desk) as first:
        status = first.ask("status")
        homes.write_remembered(attic, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
        with running(attic) as second:
            for agent in (first, second):
                until(lambda agent=agent: linked(agent), "the two are linked", 20)
            yield first, second


def linked(agent: RunningAgent) -> bool:
    rows = agent.ask("nodes")
    return len(rows) == 2 and all(row["status"] == "alive" and row["cpu_capacity"] for row in rows)
