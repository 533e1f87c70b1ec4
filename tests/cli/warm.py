"""A warm ``wos``: a process that has loaded the program and forks for each command, so that a command costs no start of Python.

``python warm.py SOCKET``; it listens there until standard input ends. A request is the JSON of ``argv``, ``env`` and ``cwd`` with
the three standard streams as file descriptors; the answers are the number of the process, and its exit code at its end. What runs
in the child is ``worldos.cli.main.main`` as ever, with that environment, folder and streams, and it ends as an interpreter ends.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

REQUEST_BYTES = 1 << 20
STREAMS = 3


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
    child = os.fork()
    if child == 0:
        request.close()
        command(json.loads(data), list(descriptors))
    for descriptor in (0, *descriptors):
        os.close(descriptor)
    request.send(b"%d" % child)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # who asked may wait no more
        request.send(b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def command(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the program."""
    for stream, descriptor in enumerate(descriptors):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = ["wos", *asked["argv"]]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115
    from worldos.cli import main  # noqa: PLC0415

    main.main()
    sys.exit(0)


def load() -> None:
    """Load what commands need."""
    from worldos.cli import main  # noqa: PLC0415

    for part in main.COMMANDS:
        if part not in {"demo", "mcp", "replay"}:  # each loads a great deal that no other needs
            importlib.import_module(f"worldos.cli.{part}")


if __name__ == "__main__":
    load()
    gc.freeze()  # what is common to all commands is never gone through again, nor copied for it
    serve(sys.argv[1])
