"""The command inside this process: all that ``wos`` does from its arguments to its exit code, without a start of Python."""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

from tests.cli.conftest import environ

from worldos.cli import main
from worldos.home import Home
from worldos.sdk.connection import close

Run = subprocess.CompletedProcess[str]


@contextlib.contextmanager
def registered(*parts: str) -> Iterator[None]:
    """Let the app have the commands of these parts for a while; other tests look at the order in which they came."""
    commands, groups = list(main.app.registered_commands), list(main.app.registered_groups)
    for part in parts:
        importlib.import_module(f"worldos.cli.{part}").register(main.app)
    try:
        yield
    finally:
        main.app.registered_commands[:] = commands
        main.app.registered_groups[:] = groups


def inside(home: Home, *words: str, stdin: str = "") -> Run:
    """Run a command to its end. A traceback or a bug report is never right."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    code: object = 0
    with (
        registered(),
        mock.patch.dict("os.environ", environ(home)),
        mock.patch.object(sys, "argv", ["wos", *words]),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main.main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            close()  # as the end of a process does
    said = []
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        said.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))
    assert "mistake of World OS itself" not in said[1], said[1]
    assert isinstance(code, int)
    return Run(words, code, *said)
