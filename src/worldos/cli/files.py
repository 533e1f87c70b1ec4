"""``wos put``, ``get``, ``cat``, ``mkdir``, ``mv``, ``cp``, ``rm``: files on all your machines, as if they were here.

Data goes to standard output for ``cat`` and ``get NAME -`` and for nothing else; ``put - NAME`` takes it from standard input.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worldos.cli import output
from worldos.cli.names import (
    JSON,
    NAME,
    STREAM,
    bar,
    completed,
    ignores_case,
    is_folder,
    last_part,
    plain,
    same_but_for_case,
    session,
    several,
    shown,
    target,
)
from worldos.errors import BadRequest, NotThere

if TYPE_CHECKING:
    from worldos.files.about import About, StorageStatus
    from worldos.files.files import Files

PIECE_BYTES = 1 << 20
CASE_SHOWN = 3
DEVICES_WANTED = 4
CODE_BEGIN = "wos1"
CODE_CHARS_LEAST = 50
KEPT = "have it back within 30 days: wos undelete"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    commands = (("put", put), ("get", get), ("cat", cat), ("mkdir", mkdir), ("mv", mv), ("cp", cp), ("rm", rm))
    for name, command in commands:
        app.command(name, rich_help_panel=output.FILES)(command)


def put(
    words: list[str] = typer.Argument(
        metavar="FILE|DIR... [NAME]", help="What to keep, and its name (default: its own); '-' is standard input."
    ),
    as_json: bool = JSON,
) -> None:
    """Keep a file or a folder: sealed here, spread over your devices, so that any 3 may be lost.

    NAME/ with a slash is a folder to put it into. A folder put again under its NAME adds and renews, and removes nothing;
    older versions stay in wos history for 30 days. Where somebody lets you write by a code, it is wos put FILE CODE [NAME].

    wos put ~/Pictures pictures

    wos put a.txt b.txt texts/

    pg_dump db | wos put - db.sql
    """
    if len(words) in {2, 3} and is_code(words[1]):
        _put_by_code(words[0], words[1], words[2] if len(words) == 3 else "", as_json=as_json)
        return
    sources, wanted = several(words, "files") if len(words) > 1 else (words, "")
    with session() as files:
        done = [_put_one(files, source, wanted) for source in sources]
        told = files.storage()
    if as_json:
        output.say_json(plain(done if len(done) > 1 else done[0]))
        return
    for entry in done:
        print(f"{shown(entry)} is kept: {output.size(entry.size_bytes)}{safety(told)}")


def _put_one(files: Files, source: str, wanted: str) -> About:
    if source == STREAM:
        if not wanted or wanted.endswith("/"):
            raise BadRequest("what comes from standard input needs a name", hint="wos put - NAME")
        with bar("putting") as progress:
            return files.put(sys.stdin.buffer, wanted, progress=progress)
    path = Path(source)
    if not path.exists() and not path.is_symlink():
        raise NotThere(f"there is no file {source!r} on this machine", hint="wos get NAME brings one of yours here")
    with bar("putting") as progress:
        return files.put(path, target(files, source, wanted, folder=path.is_dir()), progress=progress)


def is_code(word: str) -> bool:
    """Tell whether a word is rather a code of wos share than a name."""
    return word.startswith(CODE_BEGIN) and len(word) >= CODE_CHARS_LEAST and "/" not in word


def _put_by_code(source: str, code: str, name: str, *, as_json: bool) -> None:
    path = Path(source)
    if not path.is_file():
        raise NotThere(f"there is no file {source!r} on this machine", hint="by a code files go one by one")
    with session() as files, bar("putting"):
        entry = files.put_by_code(path, code, name)
    if as_json:
        output.say_json(plain(entry))
    else:
        print(f"{path.name} is where the code leads: {output.size(entry.size_bytes)}; your copy is {entry.name}")


def safety(told: StorageStatus) -> str:
    """Say how many devices may be lost, as it is for what is written now."""
    if not told.below_policy:
        return f", {survival(told.survives)} ({told.k}-of-{told.n})"
    count, answering = len(told.stores), sum(store.linked for store in told.stores)
    if answering < count:
        return f". On {answering} of {count} devices, so {survival(told.survives)} now; the rest follows when the others answer"
    many = f"{count} devices" if count != 1 else "1 device"
    advice = f"; on {DEVICES_WANTED} any 3 may be: wos invite" if count < DEVICES_WANTED else ""
    return f". On {many}, so {survival(told.survives)}{advice}"


def survival(losses: int) -> str:
    """Say in words how many devices may be lost at once."""
    if losses <= 0:
        return "none may be lost"
    return "any one may be lost" if losses == 1 else f"any {losses} may be lost at once"


def get(
    name: str = NAME,
    dest: str = typer.Argument("", metavar="[DEST]", help="Where to (default: here); '-' is standard output."),
    version: str = typer.Option("", help="An older one, as wos history shows it."),
    as_json: bool = JSON,
) -> None:
    """Bring a file or a folder to this machine, checked to its last byte.

    DEST that is a folder, or ends in a slash, is where it goes under its own name.
    """
    with session() as files:
        if dest == STREAM:
            _pour(files, name, version)
            return
        found = files.stat(name) if not version else None
        path = Path(dest or ".")
        place = path / (last_part(name) or "wos") if path.is_dir() or dest.endswith("/") else path
        if found is not None and found.folder:
            _check_case(files, name, place)
        _make_folder(place.parent)
        with bar("getting") as progress:
            got = files.get(name, place, version=version, progress=progress)
        size_bytes = files.usage(name).plain_bytes if got.folder else got.size_bytes
    if as_json:
        output.say_json({**plain(got), "size_bytes": size_bytes, "path": str(place)})
    else:
        print(f"{place}{'/' * got.folder} is here: {output.size(size_bytes)}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise BadRequest(f"there can be no folder {folder}", hint="choose another place for it") from cause


def _pour(files: Files, name: str, version: str) -> None:
    if not version and files.stat(name).folder:
        raise BadRequest(f"{name} is a folder", hint=f"wos get {name} brings it here; wos ls {name} lists it")
    if version:
        files.get(name, sys.stdout.buffer, version=version)
    else:
        with files.reader(name) as reader:
            shutil.copyfileobj(reader, sys.stdout.buffer, PIECE_BYTES)
    sys.stdout.buffer.flush()


def _check_case(files: Files, name: str, place: Path) -> None:
    """Refuse to let one file take the place of another where the system here ignores case."""
    pairs = same_but_for_case(entry.name for entry in files.walk(name))
    here = next((folder for folder in (place, *place.absolute().parents) if folder.is_dir()), Path("/"))
    if pairs and ignores_case(here):
        some = "; ".join(" and ".join(group) for group in pairs[:CASE_SHOWN])
        hint = "bring them one by one, each to a name of its own: wos get NAME DEST"
        raise BadRequest(f"names that differ only in case cannot be together on this disk: {some}", hint=hint)


def cat(
    names: list[str] = typer.Argument(metavar="NAME...", help="Files.", autocompletion=completed),
) -> None:
    """Write files to standard output."""
    with session() as files:
        for name in names:
            _pour(files, name, "")


def mkdir(
    names: list[str] = typer.Argument(metavar="NAME...", help="Folders to make, with those above them."),
    as_json: bool = JSON,
) -> None:
    """Make folders. Those above a file are made when it is put."""
    with session() as files:
        for name in names:
            if files.exists(name) and not is_folder(files, name):
                raise BadRequest(f"{name} is a file")
            files.make_folder(name)
        made = [files.stat(name) for name in names]
    if as_json:
        output.say_json(plain(made))


def mv(
    words: list[str] = typer.Argument(metavar="NAME... NAME", help="What, and whereto.", autocompletion=completed),
    as_json: bool = JSON,
) -> None:
    """Give files and folders another name, or put them into a folder."""
    _two_names(words, "mv", as_json=as_json)


def cp(
    words: list[str] = typer.Argument(metavar="NAME... NAME", help="What, and whereto.", autocompletion=completed),
    recursive: bool = typer.Option(False, "-r", "-R", "-a", help="Taken for granted, as nothing is sent.", hidden=True),
    as_json: bool = JSON,
) -> None:
    """Give files and folders a second name: as cp -r, but nothing is sent."""
    del recursive
    _two_names(words, "cp", as_json=as_json)


def _two_names(words: list[str], act: str, *, as_json: bool) -> None:
    if len(words) < 2:
        raise BadRequest(f"wos {act} needs two names", hint=f"wos {act} {words[0]} NEW-NAME")
    sources, wanted = several(words, "names")
    done: list[dict[str, Any]] = []
    with session() as files:
        for source in sources:
            inside = wanted + "/" * (not wanted.endswith("/") and is_folder(files, wanted))
            name = target(files, source, inside, folder=files.stat(source).folder)
            (files.move if act == "mv" else files.copy)(source, name)
            done.append({"from": source, "to": name})
    if as_json:
        output.say_json(done)


def rm(
    names: list[str] = typer.Argument(metavar="NAME...", help="Files and folders.", autocompletion=completed),
    recursive: bool = typer.Option(False, "--recursive", "-r", help="Folders too, with all that is in them."),
    force: bool = typer.Option(False, "--force", "-f", help="Say nothing of names that are not there."),
    as_json: bool = JSON,
) -> None:
    """Remove files. For 30 days they can be had back: wos undelete."""
    removed: list[About] = []
    with session() as files:
        for name in names:
            if force and not files.exists(name):
                continue
            entry = files.stat(name)
            if entry.folder and not recursive:
                raise BadRequest(f"{name} is a folder", hint=f"wos rm -r {name} removes it with all that is in it")
            files.remove(name, recursive=recursive)
            removed.append(entry)
    if as_json:
        output.say_json(plain(removed))
    elif removed:
        said = shown(removed[0]) if len(removed) == 1 else f"{len(removed)} names"
        print(f"removed {said}; {KEPT} {removed[0].name if len(removed) == 1 else 'NAME'}")
