"""Who starts a warm ``wos`` (warm.py), and asks it for commands. One for each process that runs tests, ended with it."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.cli.warm import Forked, begin

PROGRAM = Path(__file__).with_name("warm.py")
FIXED = ("PYTHON", "LANG", "LC_", "LD_", "_TYPER")  # what counts only when the program is loaded


class Warm:
    """A warm ``wos``. Where the environment of a command would matter to the start of Python, Python is started."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="wos-w-")
        self.path = f"{self.folder}/door"
        self.begun = dict(os.environ)
        self.process = subprocess.Popen(
            [sys.executable, "-P", PROGRAM, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    @staticmethod
    @cache
    def of_this_process() -> Warm:
        return Warm()

    def run(
        self, words: list[str], env: dict[str, str], cwd: Path | None, stdin: str, within_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as ``subprocess.run`` would."""
        if not self.fits(env):
            return subprocess.run(
                [sys.executable, "-P", "-m", "worldos.cli.main", *words],
                env=env,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                timeout=within_s,
                cwd=cwd,
                check=False,
            )
        asked = json.dumps({"argv": words, "env": env, "cwd": str(cwd or Path.cwd())}).encode()
        with Streams() as streams, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.settimeout(within_s)
            door.connect(self.path)
            socket.send_fds(door, [asked], streams.theirs)
            streams.begin(stdin)
            process = int(door.recv(64))
            try:
                code = int(door.recv(64))
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, within_s) from None
            out, err = streams.end()
        return subprocess.CompletedProcess(words, code, out, err)

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether an environment is, for the start of Python, the one that the warm process began with."""
        return all(env.get(name) == self.begun.get(name) for name in {*env, *self.begun} if name.startswith(FIXED))

    def begin(
        self, words: Sequence[str], env: Mapping[str, str], cwd: Path | None, streams: Sequence[int], **more: Any
    ) -> Forked:
        """Begin a command on three streams, which stay the caller's; ``more`` is what warm.py says."""
        return begin(self.path, words, env, str(cwd or Path.cwd()), streams, **more)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Streams:
    """The three standard streams of a command: pipes, read as they fill."""

    def __enter__(self) -> Streams:
        self.ins, self.out, self.err = os.pipe(), os.pipe(), os.pipe()
        self.theirs = [self.ins[0], self.out[1], self.err[1]]
        self.data: dict[int, bytes] = {}
        self.threads: list[threading.Thread] = []
        return self

    def begin(self, stdin: str) -> None:
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = []
        self.threads = [
            threading.Thread(target=self.write, args=(stdin.encode(errors="surrogateescape"),), daemon=True)
        ]
        self.threads += [
            threading.Thread(target=self.read, args=(which[0],), daemon=True) for which in (self.out, self.err)
        ]
        for thread in self.threads:
            thread.start()

    def write(self, data: bytes) -> None:
        try:
            with os.fdopen(self.ins[1], "wb") as pipe:
                pipe.write(data)
        except BrokenPipeError:  # it did not want to know
            pass

    def read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            self.data[descriptor] = pipe.read()

    def end(self) -> tuple[str, str]:
        for thread in self.threads:
            thread.join()
        return self._text(self.out), self._text(self.err)

    def _text(self, pipe: tuple[int, int]) -> str:
        text = self.data[pipe[0]].decode("utf-8", "surrogateescape")
        return text.replace("\r\n", "\n").replace("\r", "\n")  # as a text stream reads it

    def __exit__(self, *_: object) -> None:
        for descriptor in self.theirs:
            os.close(descriptor)
