"""``wos ls``, ``du``, ``history``, ``undelete``: what is kept, how much it takes, and what once was.

A folder may hold a hundred thousand names, so lists are written line by line without a table that has to be measured first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from worldos.cli import output
from worldos.cli.names import JSON, NAME, SOME, completed, last_part, plain, session, shown, when

if TYPE_CHECKING:
    from worldos.files.about import About, Usage, Version
    from worldos.files.files import Files

GAP_CELLS = 2
SIZE_CELLS = 9
TIME_CELLS = 16
COLUMNS_IF_UNKNOWN = 80
ROWS_IN_COLUMNS_MAX = 5000  # beyond it nobody looks at columns, and measuring every name takes long
FOLDER, LINK, CONFLICT, PLAIN = "\x1b[1;34m", "\x1b[36m", "\x1b[31m", "\x1b[0m"
VERSION = typer.Option("", help="Which one, as wos history shows it (default: the newest).")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (("ls", ls), ("du", du), ("history", history), ("undelete", undelete)):
        app.command(name, rich_help_panel=output.FILES)(command)


def ls(
    names: list[str] = typer.Argument(
        None, metavar="[NAME...]", help="Files or folders (default: all).", autocompletion=completed, show_default=False
    ),
    long: bool = typer.Option(False, "-l", "--long", help="Sizes and times too."),
    recursive: bool = typer.Option(False, "-R", "--recursive", help="With all that is below, by whole names."),
    as_json: bool = JSON,
) -> None:
    """List what is kept; folders end in a slash."""
    with session() as files:
        groups = [(name, _entries(files, name, recursive=recursive)) for name in names or [""]]
    if as_json:
        output.say_json([plain(entry) for _, entries in groups for entry in entries])
        return
    coloured = sys.stdout.isatty() and "NO_COLOR" not in _environ()
    for number, (name, entries) in enumerate(groups):
        if len(groups) > 1:
            print(("\n" if number else "") + f"{name}:")
        labels = [(entry, _label(entry, whole=recursive)) for entry in entries]
        if long:
            _print_long(labels, coloured=coloured)
        else:
            _print_short(labels, coloured=coloured)


def _entries(files: Files, name: str, *, recursive: bool) -> list[About]:
    if name.removeprefix("wos://").strip("/"):
        own = files.stat(name)
        if not own.folder:
            return [own]
    return list(files.walk(name)) if recursive else files.list(name)


def _label(entry: About, *, whole: bool) -> str:
    return shown(entry) if whole else last_part(entry.name) + "/" * entry.folder


def _print_long(labels: list[tuple[About, str]], *, coloured: bool) -> None:
    """Write size, time and name, one a line."""
    lines = []
    for entry, label in labels:
        size = "" if entry.folder else output.size(entry.size_bytes)
        name = _dyed(entry, label, coloured=coloured) + (f" -> {entry.target}" if entry.target else "")
        lines.append(f"{size:>{SIZE_CELLS}}  {when(entry.modified_ns):<{TIME_CELLS}}  {name}\n")
    sys.stdout.writelines(lines)


def _print_short(labels: list[tuple[About, str]], *, coloured: bool) -> None:
    """Write names alone: in columns on a terminal, else one a line."""
    if not sys.stdout.isatty() or len(labels) > ROWS_IN_COLUMNS_MAX:
        sys.stdout.writelines(f"{label}\n" for _, label in labels)
        return
    cells = [cell_len(label) for _, label in labels]
    rows, widths = columns_for(cells, _width())
    for row in range(rows):
        line = ""
        for column, width in enumerate(widths):
            place = column * rows + row
            if place < len(labels):
                entry, label = labels[place]
                last = place + rows >= len(labels)
                line += _dyed(entry, label, coloured=coloured) + ("" if last else " " * (width - cells[place]))
        print(line)


def columns_for(cells: list[int], width: int) -> tuple[int, list[int]]:
    """Return how many rows names of these widths need at least, and how wide each column is then, with its gap."""
    most = max(min(len(cells), width // (1 + GAP_CELLS)), 1)
    for count in range(most, 0, -1):
        rows = max(-(-len(cells) // count), 1)
        widths = [max(cells[at : at + rows]) + GAP_CELLS for at in range(0, len(cells), rows)]
        if sum(widths) - GAP_CELLS <= width:
            return rows, widths
    return len(cells), [max(cells, default=0) + GAP_CELLS]


def cell_len(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as measured  # noqa: PLC0415

    return measured(text)


def _dyed(entry: About, label: str, *, coloured: bool) -> str:
    if not coloured:
        return label
    dye = CONFLICT if entry.conflict else FOLDER if entry.folder else LINK if entry.target else ""
    return f"{dye}{label}{PLAIN}" if dye else label


def _width() -> int:
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size((COLUMNS_IF_UNKNOWN, 24)).columns


def _environ() -> Iterable[str]:
    import os  # noqa: PLC0415

    return os.environ


def du(
    name: str = SOME,
    summary: bool = typer.Option(False, "--summary", "-s", help="The sum alone."),
    as_json: bool = JSON,
) -> None:
    """Show what files take: as they are, and on all devices together."""
    with session() as files:
        parts = [] if summary else [entry for entry in _entries(files, name, recursive=False) if entry.folder]
        below = [(shown(part), files.usage(part.name)) for part in parts]
        whole = (name.strip("/") or "all", files.usage(name))
    if as_json:
        output.say_json([{"name": label.rstrip("/"), **plain(usage)} for label, usage in (*below, whole)])
        return
    rows = [_usage_row(label, usage) for label, usage in (*below, whole)]
    output.table(("NAME", "FILES", "SIZE", "STORED"), rows, right=("FILES", "SIZE", "STORED"))


def _usage_row(label: str, usage: Usage) -> tuple[str, int, str, str]:
    return output.text(label), usage.files, output.size(usage.plain_bytes), output.size(usage.stored_bytes)


def history(name: str = NAME, as_json: bool = JSON) -> None:
    """Show what had this name in the last 30 days, the newest first.

    An older one comes back by wos undelete NAME --version ID, or to this machine alone by wos get NAME --version ID.
    """
    with session() as files:
        versions = files.history(name)
    if as_json:
        output.say_json(plain(versions))
        return
    rows = [
        (version.id, when(version.at_ns), output.text(version.device), output.size(version.size_bytes), _state(version))
        for version in versions
    ]
    output.table(("VERSION", "WHEN", "FROM", "SIZE", "STATE"), rows, right=("SIZE",))


def _state(version: Version) -> str:
    return "is there" if version.current else "removed" if version.removed else "replaced"


def undelete(name: str = NAME, version: str = VERSION, as_json: bool = JSON) -> None:
    """Have back what was removed or replaced in the last 30 days."""
    with session() as files:
        back = files.undelete(name, version)
        size_bytes = files.usage(back.name).plain_bytes if back.folder else back.size_bytes
    if as_json:
        output.say_json(plain(back))
    else:
        of = f", of {when(back.modified_ns)}" if back.modified_ns else ""
        print(f"{shown(back)} is back: {output.size(size_bytes)}{of}")
