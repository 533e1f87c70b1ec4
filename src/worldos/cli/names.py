"""Names of files in commands: completed in the shell, and read as ``cp`` and ``rsync`` read them.

A name may be written as ``wos://a/b``, ``/a/b`` or ``a/b``. One that begins with a dash is written ``/-name``, or after ``--``.
What ends in a slash is a folder: what goes there keeps its own name. Without the slash it is the name itself, unless a folder
has that name already and what goes there is a file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from worldos.errors import BadRequest, WorldError

if TYPE_CHECKING:
    from worldos.files.about import About, Progress
    from worldos.files.files import Files

JSON = typer.Option(False, "--json", help="Print JSON.")
STREAM = "-"
SHOWN_CHARS = 40
SECOND_NS = 1_000_000_000


@contextmanager
def session() -> Iterator[Files]:
    """Open the files of the account; raises NoAgent where no agent runs."""
    from worldos.files.files import Files  # noqa: PLC0415 - loads what codes and seals: --help does without

    with Files.open() as files:
        yield files


def completed(incomplete: str) -> list[str]:
    """Complete a name; nothing where no agent runs."""
    folder, slash, _ = incomplete.rpartition("/")
    with suppress(WorldError), session() as files:
        begun = incomplete.removeprefix("wos://").lstrip("/")
        written = incomplete[: len(incomplete) - len(begun)]
        found = (entry.name + "/" * entry.folder for entry in files.list(folder + slash))
        return [written + name for name in found if name.startswith(begun)]
    return []


NAME = typer.Argument(metavar="NAME", help="A file or folder.", autocompletion=completed)
SOME = typer.Argument(
    "", metavar="[NAME]", help="A file or folder (default: all).", autocompletion=completed, show_default=False
)


def last_part(name: str) -> str:
    """Return the last part of a name or path, whatever slashes end it; ``.`` and ``..`` by what they are called."""
    part = name.rstrip("/").rsplit("/", 1)[-1]
    return Path(name).resolve().name if part in {"", ".", ".."} else part


def target(files: Files, source: str, wanted: str, *, folder: bool) -> str:
    """Return the whole name that a source gets when it goes to what was written as its target."""
    own = last_part(source)
    if wanted in {"", "/", "wos://", "."}:
        return own
    if wanted.endswith("/"):
        return f"{wanted.rstrip('/')}/{own}"
    if not folder and is_folder(files, wanted):
        return f"{wanted}/{own}"
    return wanted


def is_folder(files: Files, name: str) -> bool:
    """Tell whether a folder has this name; the name of all is one."""
    if not name.removeprefix("wos://").strip("/"):
        return True
    return files.exists(name) and files.stat(name).folder


def several(words: list[str], what: str) -> tuple[list[str], str]:
    """Split what was typed into sources and a target, which is a folder for more than one."""
    *sources, wanted = words
    if len(sources) > 1 and not wanted.endswith("/"):
        said = wanted[:SHOWN_CHARS]
        raise BadRequest(
            f"several {what} go into a folder, and {said!r} may be none", hint=f"end its name with a slash: {said}/"
        )
    return sources, wanted


def same_but_for_case(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of names that a system which ignores case takes for one."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]


def ignores_case(folder: Path) -> bool:
    """Tell whether the system that holds a folder takes ``a`` and ``A`` for one, by making a file there."""
    import tempfile  # noqa: PLC0415

    with suppress(OSError), tempfile.NamedTemporaryFile(prefix=".wos-case-", dir=folder) as file:
        return Path(file.name).with_name(Path(file.name).name.upper()).exists()
    return False


def plain(value: Any) -> Any:
    """Turn what is told about files into what JSON can say."""
    if isinstance(value, msgspec.Struct):
        return {field: plain(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def when(time_ns: int) -> str:
    """Write a time for people, by the clock on their wall."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_ns // SECOND_NS)) if time_ns else ""


def shown(entry: About) -> str:
    """Write the name of an entry: a folder ends in a slash."""
    return entry.name + "/" * entry.folder


@contextmanager
def bar(what: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far a put or get is, to a person at a terminal, if it takes long; notices are said in any case."""
    if not sys.stderr.isatty():
        yield _notices
        return
    from worldos.cli.bar import Bar  # noqa: PLC0415 - rich

    with Bar(what) as drawn:
        yield drawn.follow


def _notices(value: Progress) -> None:
    if value.notice:
        sys.stderr.write(f"{value.notice}\n")
