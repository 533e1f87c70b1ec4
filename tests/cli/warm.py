"""A warm ``wos``: a process that has loaded the program and forks for each command, so that a command costs no start of Python.

``python warm.py SOCKET``; it listens there until standard input ends. A request is the JSON of ``argv``, ``env`` and ``cwd`` with
the three standard streams as file descriptors; the answers are the number of the process, and its exit code at its end. What runs
in the child is ``worldos.cli.main.main`` as ever, with that environment, folder and streams, and it ends as an interpreter ends.
``"agent": true`` is the same for ``python -m worldos.agent``; ``"net"`` is the process whose network namespace it enters,
``"session"`` lets it lead a session, and ``"tied"`` lets it die with who started it.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn

REQUEST_BYTES = 1 << 20
STREAMS = 3
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
LIBC = ctypes.CDLL(None, use_errno=True)


def serve(path: str) -> None:
    """Fork for each request, until whoever started this has ended."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(path)
    door.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    print("ready", flush=True)
    while 0 not in select.select([0, door], [], [])[0]:
        request, _ = door.accept()
        if os.fork() == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(request)
        request.close()


def answer(request: socket.socket) -> NoReturn:
    """Run one command in a process of its own, and say how it ended."""
    descriptors = array.array("i")
    data, extra, _, _ = request.recvmsg(REQUEST_BYTES, socket.CMSG_SPACE(STREAMS * descriptors.itemsize))
    descriptors.frombytes(extra[0][2])
    asked = {**json.loads(data), "warm": request.getsockname()}
    if asked.get("tied"):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    child = os.fork()
    if child == 0:
        request.close()
        settle(asked)
        command(asked, list(descriptors))
    for descriptor in (0, *descriptors):
        os.close(descriptor)
    request.send(b"%d" % child)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # who asked may wait no more
        request.send(b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def settle(asked: dict[str, Any]) -> None:
    """Be where the process was asked for."""
    if asked.get("tied"):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if asked.get("session"):
        os.setsid()
    if asked.get("net") and os.readlink(f"/proc/{asked['net']}/ns/net") != os.readlink("/proc/self/ns/net"):
        there = os.open(f"/proc/{asked['net']}/ns/net", os.O_RDONLY)
        if LIBC.setns(there, CLONE_NEWNET):
            os._exit(70)
        os.close(there)


def command(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the program."""
    for stream, descriptor in enumerate(descriptors):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = ["wos", *asked["argv"]]
    LIBC.prctl(PR_SET_NAME, b"wos-agent" if asked.get("agent") else b"wos", 0, 0, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115
    if asked.get("agent"):
        from worldos.agent import __main__ as agent  # noqa: PLC0415

        sys.path.insert(0, asked["cwd"])  # as ``python -m`` does
        sys.orig_argv[:] = [
            sys.executable,
            "-m",
            "worldos.agent",
            *asked["argv"],
        ]  # what it becomes again with a new owner
        sys.exit(agent.main())
    from worldos.cli import lifecycle, main  # noqa: PLC0415

    lifecycle.subprocess = Starting(asked["warm"])  # type: ignore[assignment]
    main.main()
    sys.exit(0)


def load() -> None:
    """Load what commands need."""
    from worldos.cli import main  # noqa: PLC0415

    for part in main.COMMANDS:
        if part not in {"demo", "mcp", "replay"}:  # each loads a great deal that no other needs
            importlib.import_module(f"worldos.cli.{part}")
    importlib.import_module("worldos.agent.run")


def begin(
    path: str, words: Sequence[str], env: Mapping[str, str], cwd: str, streams: Sequence[int], **more: Any
) -> Forked:
    """Begin a command on three streams, which stay the caller's."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        door.connect(path)
        asked = {"argv": list(words), "env": dict(env), "cwd": cwd, **more}
        socket.send_fds(door, [json.dumps(asked).encode()], list(streams))
        return Forked(door, int(door.recv(64)), words)
    except BaseException:
        door.close()
        raise


def begin_agent(path: str, words: Sequence[str], cwd: str, err: int | None = None) -> Forked:
    """Begin an agent as ``subprocess.Popen`` would, that says ``ready`` into a pipe; its errors go to a pipe or to ``err``."""
    out, errors = os.pipe(), os.pipe() if err is None else None
    with open(os.devnull, "rb") as nothing:
        streams = (nothing.fileno(), out[1], errors[1] if errors else err or 0)
        agent = begin(path, words, os.environ, cwd, streams, agent=True, session=True, net=os.getpid())
    agent.stdout = os.fdopen(out[0], "rb")
    os.close(out[1])
    if errors:
        agent.stderr = os.fdopen(errors[0], "rb")
        os.close(errors[1])
    return agent


class Forked:
    """A process that was begun so, with what tests ask of a ``subprocess.Popen``."""

    def __init__(self, door: socket.socket, pid: int, words: Sequence[str]) -> None:
        self.pid, self.args = pid, list(words)
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self._door = door
        self._hearing = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        with self._hearing:
            if self.returncode is None:
                if not select.select([self._door], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                self.returncode = int(self._door.recv(64) or -signal.SIGKILL)  # it dies with who waits for it
                self._door.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Starting:
    """What stands for ``subprocess`` where the program starts agents: it has them forked by the warm process."""

    DEVNULL, PIPE, run = subprocess.DEVNULL, subprocess.PIPE, staticmethod(subprocess.run)

    def __init__(self, path: str) -> None:
        self.path = path

    def Popen(self, words: list[str], *, stderr: IO[bytes], cwd: str, **_: object) -> Forked:
        assert words[1:3] == ["-m", "worldos.agent"]
        return begin_agent(self.path, words[3:], cwd, stderr.fileno())


if __name__ == "__main__":
    load()
    gc.freeze()  # what is common to all commands is never gone through again, nor copied for it
    serve(sys.argv[1])
