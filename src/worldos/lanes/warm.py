"""A warm interpreter: ``{python} -m MODULE`` as a child of the worker, which has Python and its libraries loaded already.

An interpreter that starts anew needs 100 ms until a function can be called; a fork of one that runs needs 5. The child is set
up as a fresh one would be: a ``__main__`` of its own, plain standard streams, signals as they come, no descriptor of the worker's
but 0, 1 and 2. What it took is counted as for any command. Source: the fork server of Python's multiprocessing.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import io
import itertools
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from worldos.lanes.child import Child

FDS_MAX: Final = 4096  # a worker holds a few dozen
MODULE_WORDS: Final = 3  # {python} -m MODULE


def is_module(words: Sequence[str]) -> bool:
    """Tell whether the words after the interpreter's name are a module, and not a script or options of its own."""
    return len(words) >= MODULE_WORDS and words[1] == "-m"


def start(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> Child:
    """Start a module in a child."""
    pipes = [os.pipe() for _ in range(3)]
    pid = os.fork()
    if pid == 0:
        _child(list(words), folder, env, pipes)
    os.setpgid(pid, pid)  # here too: a signal may be for the group before the child has come to it
    (in_read, in_write), (out_read, out_write), (error_read, error_write) = pipes
    for fd in (in_read, out_write, error_write):
        os.close(fd)
    return Child(pid, in_write, out_read, error_read)


def _child(words: list[str], folder: Path, env: Mapping[str, str], pipes: list[tuple[int, int]]) -> NoReturn:
    """Be a fresh interpreter, as far as the module can see; never return."""
    code = 1
    try:
        settle(folder, env, pipes)
        code = _run(words)
    except BaseException:  # noqa: BLE001 - the last to see it
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def settle(folder: Path, env: Mapping[str, str], pipes: list[tuple[int, int]], keep: tuple[int, ...] = ()) -> None:
    """Be like a fresh process in a child just forked: streams (each as a pipe's two ends), signals, folder, environment.

    No descriptor stays open but the first three and those to ``keep``.
    """
    os.setpgid(0, 0)
    for number, fd in enumerate([_away(fd) for fd in (pipes[0][0], pipes[1][1], pipes[2][1])]):
        os.dup2(fd, number)
    edges = [2, *sorted(keep), FDS_MAX]
    for before, after in itertools.pairwise(edges):
        os.closerange(before + 1, after)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), "utf-8")
    sys.stdout = _writer(1, buffered=True)
    sys.stderr = _writer(2, buffered=False)
    atexit._clear()
    gc.unfreeze()


def _away(fd: int) -> int:
    """Return another number for a descriptor, none of the first three; a sandbox lets none be far up either."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD, 3)


def _writer(fd: int, *, buffered: bool) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors="backslashreplace", line_buffering=not buffered)


def _run(words: list[str]) -> int:
    """Run the module as ``python -m`` does; return its exit code."""
    module = words[2]
    sys.argv = [module, *words[MODULE_WORDS:]]
    sys.path.insert(0, str(Path.cwd()))
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = _code_of(end)
    except BaseException:  # noqa: BLE001 - as an interpreter shows it
        traceback.print_exc()
        code = 1
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return code


def _code_of(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1
