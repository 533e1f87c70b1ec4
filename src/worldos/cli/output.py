"""How the commands speak: tables and sentences for people, JSON for programs, never a traceback.

Standard output carries the answer and nothing else; progress, questions and errors go to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from worldos.errors import WorldError
from worldos.model.units import show, show_bytes

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

MS_US = 1000


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=_plain) + "\n")


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]], *, right: Iterable[str] = ()) -> None:
    """Print a plain table; wide enough not to cut what a script may grep."""
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    aligned = set(right)
    for column in columns:
        grid.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    if out.is_terminal:
        out.print(grid)
    else:
        Console(highlight=False, width=220).print(grid)


def complain(error: WorldError) -> None:
    """Print an error, what caused it, and what to do next."""
    err.print(f"[bold red]wos:[/] {_plain_text(str(error))}")
    cause = error.__cause__
    while cause is not None:
        text = str(cause)
        if text:
            err.print(f"  because: {_plain_text(text)}")
        cause = cause.__cause__
    if error.hint:
        err.print(f"  [bold]try:[/] {_plain_text(error.hint)}")


def amount(kind: str, value: int) -> str:
    """Write an amount for people, in the kind's unit."""
    return show(kind, value) if value else "0"


def size(value: int) -> str:
    """Write bytes for people."""
    return show_bytes(value) if value else "0"


def micros(value: int) -> str:
    """Write a time in microseconds for people."""
    return f"{value} us" if value < MS_US else f"{value / MS_US:.1f} ms"


def _plain_text(text: str) -> str:
    return text.replace("[", "\\[")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
