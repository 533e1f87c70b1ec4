"""An agent for the life of one program, where none runs: no daemon, no configuration, nothing left behind.

The agent is a child that holds the read end of a pipe; only this program holds the other end. However the program
ends, the kernel closes the pipe and the agent ends with it, after it has stopped its workers and removed its temporary
home. The child is in a session of its own, so Ctrl-C reaches the program and not the agent under it.
Only the standard library is imported here, and little of it: the child boots while the program loads the rest.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from worldos.errors import NoAgent
from worldos.home import default_home

READY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 3.0
LINE_BYTES_MAX = 4096


class Embedded:
    """The agent of this program, on its way or ready."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "worldos.agent", "--embedded"]
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        except OSError as cause:
            raise NoAgent(f"cannot start {sys.executable}: {cause.strerror}") from cause
        self._path: Path | None = None

    def path(self) -> Path:
        """Wait until the agent is ready; return the path of its socket."""
        if self._path is None:
            line = self._line()
            word, _, rest = line.partition(" ")
            if word == "ready" and rest:
                self._path = Path(rest)
            else:
                self.end()
                said = rest if word == "failed" and rest else f"it said {line!r}" if line else "it ended at once"
                raise NoAgent(f"the embedded agent did not start: {said}", hint="try one by itself: wos up")
        return self._path

    def end(self) -> None:
        """Let the agent end, and see that it does."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            self._child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def forget(self) -> None:
        """In a forked child: let go of the pipe, so that the agent depends on the parent alone."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._child.returncode = 0  # not our child: nothing to wait for, nothing to warn about

    def _line(self) -> str:
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        deadline = time.monotonic() + READY_TIMEOUT_S
        data = b""
        while not data.endswith(b"\n") and len(data) < LINE_BYTES_MAX:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.end()
                raise NoAgent(f"the embedded agent was not ready after {READY_TIMEOUT_S:.0f} s")
            piece = os.read(descriptor, LINE_BYTES_MAX)
            if not piece:
                break
            data += piece
        return data.decode("utf-8", "replace").strip()


_beginning = threading.Lock()
_booting: Embedded | None = None


def prepare() -> None:
    """Where no agent runs, let one boot while the program loads the rest of the SDK. Returns at once."""
    global _booting  # noqa: PLW0603 - one agent a program: this module owns it until the connection takes it
    if "worldos.sdk.connection" in sys.modules:
        return
    with _beginning:
        if _booting is None and not default_home().socket_file.exists():
            _booting = Embedded()


def take() -> Embedded | None:
    """Hand over the agent that is booting, if there is one."""
    global _booting
    with _beginning:
        booting, _booting = _booting, None
        return booting


def _forked() -> None:
    global _beginning  # noqa: PLW0603
    _beginning = threading.Lock()
    booting = take()
    if booting is not None:
        booting.forget()


os.register_at_fork(after_in_child=_forked)
