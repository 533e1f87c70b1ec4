"""A child of the worker that runs a program: started in the cheapest way that there is, spoken to by pipes.

``posix_spawn`` does not copy the worker as ``fork`` does, and costs half of ``subprocess.Popen``; what that takes care of besides
is done here: the program is looked for where its own ``PATH`` says, it begins in its folder (the worker is there too, from then
on), with signals as they come, in a process group of its own, and with no descriptor of the worker's but 0, 1 and 2
(``close_on_exec``). Source: POSIX.1-2017, posix_spawn; Python's subprocess.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.005
STANDARD_FDS: Final = 3
DEFAULTS: Final = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them; a program should not


class Child:
    """A running child. ``stdin``: None if it has no input."""

    def __init__(self, pid: int, stdin: int | None, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin = io.FileIO(stdin, "w") if stdin is not None else None
        self.stdout = io.FileIO(stdout, "r")
        self.stderr = io.FileIO(stderr, "r")
        self.returncode: int | None = None

    def wait(self, timeout_s: float | None = None) -> int:
        """Return its exit code, or less the number of the signal that ended it."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, 0 if end_s is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif end_s is not None and time.monotonic() > end_s:
                raise subprocess.TimeoutExpired("child", timeout_s or 0.0)
            else:
                time.sleep(POLL_SECONDS)
        return self.returncode


def spawn(words: Sequence[str], folder: Path, env: Mapping[str, str], *, has_input: bool = True) -> Child:
    """Start a program in a folder. Raises OSError or ValueError where that cannot be."""
    os.chdir(folder)
    program = found(words[0], env)
    out, put_out = os.pipe()
    errors, put_errors = os.pipe()
    taken, given = os.pipe() if has_input else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate((taken, put_out, put_errors))]
        pid = os.posix_spawn(program, list(words), env, file_actions=streams, setpgroup=0, setsigdef=DEFAULTS)
    except (OSError, ValueError):
        for fd in (out, errors, *([given] if given is not None else ())):
            os.close(fd)
        raise
    finally:
        for fd in (taken, put_out, put_errors):
            os.close(fd)
    return Child(pid, given, out, errors)


def found(name: str, env: Mapping[str, str]) -> str:
    """Return where a program is that its environment finds by this name; raise FileNotFoundError or PermissionError."""
    if "/" in name:
        return name
    seen = False
    for folder in os.get_exec_path(dict(env)):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        seen = seen or os.path.isfile(path)
    code = errno.EACCES if seen else errno.ENOENT
    raise OSError(code, os.strerror(code), name)


def close_on_exec() -> None:
    """Let no descriptor that this process has be open in a program that it starts from now on, but the standard ones."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= STANDARD_FDS:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.set_inheritable(int(name), False)  # noqa: FBT003 - not ours
