"""How the commands speak: tables and sentences for people, JSON for programs, never a traceback.

Standard output carries the answer and nothing else; progress, questions and errors go to standard error. The consoles
``out`` and ``err`` are made when they are first used: rich costs 100 ms, and ``--json`` and errors do without.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from worldos.errors import NoAgent, WorldError
from worldos.model.units import show, show_bytes

if TYPE_CHECKING:
    from rich.console import Console

    out: Console
    err: Console

THIS_MACHINE, YOUR_MACHINES, WORK = "This machine", "Your machines", "Work"
FILES, LOOK = "Files", "Look"
"""The groups of commands in ``wos --help``."""

MS_US = 1000
PIPE_COLUMNS = 220  # a table that goes into a pipe is never folded
NARROW_COLUMNS = 60
COLUMN_LEAST = 12  # narrower columns cannot be read
BOLD, RED, PLAIN = "\x1b[1m", "\x1b[1;31m", "\x1b[0m"


def __getattr__(name: str) -> Console:
    if name not in {"out", "err"}:
        raise AttributeError(name)
    from rich.console import Console  # noqa: PLC0415 - see the module's words

    console = Console(stderr=name == "err", highlight=False, soft_wrap=True)
    globals()[name] = console
    return console


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=_plain) + "\n")
    sys.stdout.flush()


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]], *, right: Iterable[str] = ()) -> None:
    """Print a plain table; in a pipe wide enough not to cut what a script may grep."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    names, cells = list(columns), [[str(cell) for cell in row] for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    elif console.width < NARROW_COLUMNS < COLUMN_LEAST * len(names):
        _list(console, names, cells)
        return
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    aligned = set(right)
    for column in names:
        grid.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    console.print(grid)


def _list(console: Console, columns: list[str], rows: list[list[str]]) -> None:
    """Print what would be a table of many columns one below the other: the terminal is too narrow for it."""
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                console.print(f"[bold]{column.lower()}[/] {cell}", soft_wrap=True)
        console.print()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that something goes on, to a person at a terminal, and leave no trace of it."""
    if not _is_terminal():
        yield
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True, highlight=False).status(what, spinner="dots"):
        yield


def complain(error: WorldError) -> None:
    """Print an error, what caused it, and what to do next."""
    bold, red, plain = (BOLD, RED, PLAIN) if _is_terminal() and "NO_COLOR" not in os.environ else ("", "", "")
    lines = [f"{red}wos:{plain} {error}"]
    cause = None if isinstance(error, NoAgent) else error.__cause__  # that nobody listens is all there is to know
    while cause is not None:
        if str(cause):
            lines.append(f"  because: {_sentence(cause)}")
        cause = cause.__cause__
    if error.hint:
        lines.append(f"  {bold}try:{plain} {error.hint}")
    if sys.stderr is not None:
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()


def amount(kind: str, value: int) -> str:
    """Write an amount for people, in the kind's unit."""
    return show(kind, value) if value else "0"


def size(value: int) -> str:
    """Write bytes for people."""
    return show_bytes(value) if value else "0"


def micros(value: int) -> str:
    """Write a time in microseconds for people."""
    return f"{value} us" if value < MS_US else f"{value / MS_US:.1f} ms"


def text(value: str) -> str:
    """Write what others named (machines, files, resources) so that rich takes it as it is."""
    return value.replace("[", "\\[")


def _sentence(cause: BaseException) -> str:
    """Say a cause without Python's number for it."""
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno) + (f": {cause.filename}" if cause.filename else "")
    return str(cause)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
