"""Opening: what others gave a code for, brought here; and what we write where a code lets us.

What a code leads to is asked of all stores that can be reached, our own and those of others. A folder is brought with all its
names, each below the place that was said, and nothing is written through a link. What we write is first a file of our own, in
``sent/``, and stays one until we remove it: the owner's devices copy it when they hear of it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from worldos.errors import BadRequest, NotAllowed, NotThere, Unreachable
from worldos.files import logs
from worldos.files.about import About, file_about
from worldos.files.bringing import FolderGet, write_file
from worldos.files.receiving import SENT, free_name
from worldos.files.sharing import newest, reaching_far, resealed, share_file
from worldos.store import keys
from worldos.store.caps import Cap, Right, read_code
from worldos.store.directory import Named
from worldos.store.drop import OPENING_SEQ, Drop, box_of, proven, sign_drop
from worldos.store.entry import NONCE_BYTES, Entry
from worldos.store.limits import ENTRY_SEQ_MAX
from worldos.store.listing import Row
from worldos.store.manifest import Contents
from worldos.store.names import clean
from worldos.store.ops import FileRef

if TYPE_CHECKING:
    from worldos.files.files import Files


def open_code_at(files: Files, code: str, dest: Path) -> About:
    """Bring what a code leads to: into ``dest`` if that is a folder, else under that name."""
    cap = read_code(code)
    if cap.right is Right.APPEND:
        raise NotAllowed("this code lets you add files and read none", hint="add one with: wos put FILE CODE")
    with reaching_far(files) as far:
        value = _value(far, cap)
        if isinstance(value, Contents):
            return _bring_file(far, cap.read_secret, value, dest)
        rows = [row for row in value if isinstance(row, Row)] if isinstance(value, tuple) else []
        return _bring_folder(far, rows, dest)


def put_by_code(files: Files, source: Path | bytes, code: str, name: str = "") -> About:
    """Change the file, or add to the folder, that a code to write or append leads to."""
    cap = read_code(code)
    if cap.right not in {Right.WRITE, Right.APPEND}:
        raise NotAllowed(
            f"this code lets you {cap.right}, not write", hint="ask the owner for a code made with --write"
        )
    if isinstance(source, Path) and source.is_dir():
        raise BadRequest(f"{source} is a folder: files go one by one by a code", hint="put each of its files")
    with reaching_far(files) as far:
        name = name or (source.name if isinstance(source, Path) else "")
        if cap.kind == "file":
            value = _value(far, cap)
            name = value.name if isinstance(value, Contents) else name
        parts = clean(name)
        if len(parts) != 1:
            raise BadRequest(f"{name[:80]!r} is no name for one file")
        box = box_for(far, cap) if cap.kind == "folder" else b""
        about = files.put(source, free_name(files, f"{SENT}/{parts[0]}"))
        sent = read_code(share_file(files, about.name, Right.READ))  # so that the owner's devices may fetch it
        ref = files.ref(about.name)
        if cap.kind == "file":
            _write_file(far, cap, ref, parts[0])
        else:
            _drop(far, cap, ref, parts[0], sent, box)
    return about


def box_for(files: Files, cap: Cap) -> bytes:
    """Return what to seal drops to; raise NotThere where no store knows of the box, or it was taken away."""
    if cap.right is Right.WRITE:
        shown = newest(files.session.stores, cap.read_secret)
        _see_there(shown.seq, shown.value)
    append = _append_of(cap)
    log = keys.box_log(append)
    entry = logs.last(files.session.stores.reachable(), (log,), thorough=True).get(log)
    if entry is None:
        raise NotThere(
            "no store that can be reached knows this folder", hint="is the owner's site linked? see: wos nodes"
        )
    return box_of(entry, append)


def _append_of(cap: Cap) -> bytes:
    return cap.narrow(Right.APPEND).secret


def _write_file(files: Files, cap: Cap, ref: FileRef, name: str) -> None:
    seq = newest(files.session.stores, cap.read_secret).seq + 1
    _append_there(files, resealed(files, cap.secret, ref, name, seq))


def _drop(files: Files, cap: Cap, ref: FileRef, name: str, sent: Cap, box: bytes) -> None:
    seq = OPENING_SEQ + 1 + secrets.randbelow(ENTRY_SEQ_MAX - OPENING_SEQ)
    drop = Drop(
        name=name,
        size_bytes=ref.size_bytes,
        digest=ref.digest,
        read=b"" if ref.inline or not ref.size_bytes else sent.read_secret,
        inline=ref.inline,
    )
    if cap.right is Right.WRITE:
        drop = proven(drop, cap.secret, seq)
    entry = sign_drop(_append_of(cap), seq, drop, box, os.urandom(32), os.urandom(NONCE_BYTES))
    _append_there(files, entry)


def _append_there(files: Files, entry: Entry) -> None:
    """Append to all stores of others that can be reached; where the owner is ourselves, to our own."""
    stores = files.session.stores.reachable()
    foreign = [store for store in stores if store.at.account != files.session.owner]
    logs.append(foreign or stores, [entry], devices=len(stores))


def _value(files: Files, cap: Cap) -> object:
    shown = newest(files.session.stores, cap.read_secret)
    _see_there(shown.seq, shown.value)
    return shown.value


def _see_there(seq: int, value: object) -> None:
    if not seq:
        raise Unreachable(
            "no store that can be reached knows what this code leads to",
            hint="the devices of whoever gave it must be on, and linked with yours: wos nodes",
        )
    if value is None:
        raise NotThere("what this code led to was withdrawn by its owner", hint="ask the owner for another code")


def _bring_file(files: Files, read: bytes, contents: Contents, dest: Path) -> About:
    files.session.shelf.manifest(read, thorough=True)
    ref = FileRef(
        read=read,
        size_bytes=contents.size_bytes,
        modified_ns=contents.modified_ns,
        digest=contents.digest,
        inline=contents.inline,
        mode=contents.mode,
        media=contents.media,
    )
    name = clean(contents.name)[-1] if contents.name else "opened"
    target = dest / name if dest.is_dir() else dest
    write_file(files, ref, target, _silent)
    return file_about(target.name, ref)


def _bring_folder(files: Files, rows: list[Row], dest: Path) -> About:
    above = {
        "/".join(parts[:count]) for parts in (row.path.split("/") for row in rows) for count in range(1, len(parts))
    }
    found = {path: Named(path=path, real=path, file=None) for path in above}
    for row in rows:
        found[row.path] = Named(path=row.path, real=row.path, file=None if row.folder else _ref_of(row))
        if row.read and files.session.shelf.manifest(row.read).contents.digest != row.digest:
            files.session.shelf.manifest(row.read, thorough=True)  # a store had an older one
    for path in found:
        if any((dest / part).is_symlink() for part in (Path(path), *Path(path).parents)[:-1]):
            raise NotAllowed(f"{dest / path} is a link, or lies behind one", hint="move it away, or open elsewhere")
    FolderGet(files, dest, 0, None).run([found[path] for path in sorted(found)])
    return About(name=dest.name, folder=True, size_bytes=sum(row.size_bytes for row in rows))


def _ref_of(row: Row) -> FileRef:
    return FileRef(
        read=row.read,
        size_bytes=row.size_bytes,
        modified_ns=row.modified_ns,
        mode=row.mode,
        media=row.media,
        digest=row.digest,
        inline=row.inline,
    )


def _silent(_: int) -> None:
    """Nobody looks on."""
