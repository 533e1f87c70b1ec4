"""Giving away: the codes to files and folders of this account, kept up to date, and taken back.

A code leads to a manifest of its own (``store.given``): of the same segments, under another secret, signed anew when the file
changes. ``wos share`` makes it; the keepers of the account's devices look after it (``receiving``). What ended is withdrawn in
every store that can be reached; who opened a version before may still have its keys, and what is written later has others.
Invariant: no secret of an owner's own manifest is ever given away; only active devices of the account say what is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from worldos.errors import BadRequest, NotThere, WorldError
from worldos.files import logs
from worldos.files.limits import ANSWER_S, ENTRIES_AT_ONCE, STANDING_S
from worldos.files.stores import Store, Stores, answers
from worldos.home import Home
from worldos.store import given as records
from worldos.store import keys, manifest
from worldos.store.caps import Kind, Right
from worldos.store.directory import Named
from worldos.store.drop import open_log, sign_box
from worldos.store.entry import NONCE_BYTES, Entry, check_entry, sign_entry
from worldos.store.given import Given
from worldos.store.listing import Row, read_listing, sign_listing
from worldos.store.manifest import Contents, Map
from worldos.store.ops import FileRef

if TYPE_CHECKING:
    from worldos.files.files import Files
    from worldos.files.session import Session


class Shown(NamedTuple):
    """What a register says now: its number and what was read; nothing where the register is new."""

    seq: int
    value: object


# -- what was given away --------------------------------------------------------------------------------------------------


def known_given(
    stores: Sequence[Store], directory_keys: Sequence[bytes], devices: Iterable[bytes]
) -> tuple[Given, ...]:
    """Return what the devices of the account have given away."""
    wanted = {records.given_log(key, device): (key, device) for key in directory_keys for device in devices}
    found = registers(stores, {log: device for log, (_, device) in wanted.items()})
    known: list[tuple[Given, ...]] = []
    for log, entry in found.items():
        with contextlib.suppress(WorldError):  # what a newer World OS wrote
            known.append(records.decode_given(entry.body, wanted[log][0]))
    return records.united(*known)


def remember(session: Session, changed: Sequence[Given]) -> None:
    """Write down what changed, where all devices of the account see it."""
    key = session.roots.directory_keys[0]
    log = records.given_log(key, session.key.public)
    with _turn(session):
        stores = session.stores.reachable()
        whole = records.united(given_by(session), tuple(changed))
        mark(Home(session.folder.parent), whole)
        there = registers(stores, {log: session.key.public}).get(log)
        body = records.encode_given(whole, key, os.urandom(NONCE_BYTES))
        seq = 1 if there is None else there.seq + 1
        logs.append(stores, [sign_entry(session.key, log, seq, body, register=True)])


def mark(home: Home, known: Sequence[Given]) -> None:
    """Let the door of this machine's depot be open to other accounts while anything is given away, and only then."""
    live = any(not given.ended for given in known)
    with contextlib.suppress(OSError):  # without it the others' doors are open
        if live and not home.given_file.exists():
            home.given_file.touch(mode=0o600)
        elif not live:
            home.given_file.unlink(missing_ok=True)


def given_by(session: Session) -> tuple[Given, ...]:
    """Return what the active devices of this account have given away."""
    return known_given(session.stores.reachable(), session.roots.directory_keys, _active(session))


def _active(session: Session) -> list[bytes]:
    """Return the devices whose word counts: those that are active, as far as this home has a key log."""
    from worldos.files.roots import belonging_of  # noqa: PLC0415 - it brings what wraps keys

    home = Home(session.folder.parent)
    if home.keylog_file.exists():
        return list(belonging_of(home).active)
    return sorted(session.devices())


@contextmanager
def _turn(session: Session) -> Iterator[None]:
    lock = os.open(session.folder / "given.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


# -- for people -----------------------------------------------------------------------------------------------------------


def share_file(files: Files, path: str, right: Right, until_ns: int = 0) -> str:
    """Return a code that gives this right to a file or folder."""
    named = files.named(path)
    kind: Kind = "folder" if named.file is None else "file"
    if named.file is not None and named.file.target:
        raise BadRequest(f"{path} is a link to {named.file.target[:80]!r}", hint="share what it points to")
    if right is Right.APPEND and kind == "file":
        raise BadRequest(f"{path} is a file: others can add to folders", hint="wos share --write lets them change it")
    known = given_by(files.session)
    given = next((each for each in known if _is_for(each, path, until_ns) and each.kind == kind), None)
    if given is None:
        given = Given(
            write=os.urandom(keys.SECRET_BYTES), path=path, kind=kind, maker=files.session.key.public, until_ns=until_ns
        )
    drops = right is Right.APPEND or (right is Right.WRITE and kind == "folder")
    changed = replace(given, drops=given.drops or drops, writes=given.writes or right is Right.WRITE)
    if changed != given or given not in known:
        remember(files.session, [changed])
    if changed.drops:
        _open_box(files.session, changed)
    show(files, changed)
    return changed.cap(right).code()


def unshare_file(files: Files, path: str) -> None:
    """Take back all codes of a file or folder."""
    found = [each for each in given_by(files.session) if each.path == path and not each.ended]
    if not found:
        raise BadRequest(f"no code leads to {path}", hint="codes are made with: wos share")
    for given in found:
        end(files.session, given)


def _is_for(given: Given, path: str, until_ns: int) -> bool:
    return given.path == path and given.until_ns == until_ns and not given.ended


def _open_box(session: Session, given: Given) -> None:
    stores = session.stores.reachable()
    log = keys.box_log(keys.append_of(given.write))
    if log not in registers(stores, {log: keys.signing_key(given.write).public}):
        nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
        logs.append(stores, [sign_box(given.write, 1, nonces[0]), open_log(given.write, nonces[1])])


# -- showing --------------------------------------------------------------------------------------------------------------


def show(files: Files, given: Given) -> bool:
    """Bring what a code leads to up to date; return whether anything was written. What is gone stays as it was."""
    try:
        named = files.named(given.path)
    except NotThere:
        return False
    name = given.path.rpartition("/")[2]
    if named.file is not None and given.kind == "file":
        return _show_file(files, given.write, files_own(files, named), name)
    if named.file is None and given.kind == "folder":
        return _show_folder(files, given, name)
    return False


def files_own(files: Files, named: Named) -> FileRef:
    """Return a file in a form that can be given away: one that shares a pack with others is laid down by itself."""
    assert named.file is not None
    return files.alone(named.path) if named.file.packed else named.file


def _show_file(files: Files, write: bytes, ref: FileRef, name: str) -> bool:
    session = files.session
    shown = newest(session.stores, keys.read_of(write))
    if isinstance(shown.value, Contents) and _same(shown.value, ref, name):
        return False
    entry = resealed(files, write, ref, name, shown.seq + 1)
    logs.append(session.stores.reachable(), [entry])
    return True


def resealed(files: Files, write: bytes, ref: FileRef, name: str, seq: int) -> Entry:
    """Make a manifest of a file under another write secret: the same segments, none of their bytes moved."""
    made, contents = Map(segments=()), None
    if ref.cap and ref.size_bytes and not ref.inline:
        opened = files.session.shelf.opened(ref)
        segments = tuple(replace(each, secret=each.secret or opened.verify) for each in opened.made.segments)
        made, contents = Map(segments=segments), opened.contents
    key, salt = keys.signing_key(write), keys.salt_of(write)
    about = Contents(
        public=key.public,
        salt=salt,
        size_bytes=ref.size_bytes,
        modified_ns=ref.modified_ns,
        mode=ref.mode & 0o7777,
        media=ref.media,
        digest=ref.digest,
        pieces=contents.pieces if contents is not None else (),
        keys=contents.keys if contents is not None else (),
        inline=ref.inline if contents is None else b"",
        name=name,
    )
    nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
    return manifest.sign_manifest(write, seq, replace(made, version=seq), about, nonces)


def _show_folder(files: Files, given: Given, name: str) -> bool:
    session = files.session
    shown = newest(session.stores, keys.read_of(given.write))
    before = {row.path: row for row in shown.value} if isinstance(shown.value, tuple) else {}
    with session.catalog.look(at_once=True) as directory:
        below = list(directory.walk(given.path))
    rows, entries = [], list[Entry]()
    start = len(given.path) + 1
    for named in sorted(below, key=lambda each: each.path):
        path = named.path[start:]
        if named.file is None:
            rows.append(Row(path=path, folder=True))
            continue
        if named.file.target:
            continue  # a link may point anywhere: it is of no use to others
        row, entry = _row(files, given, named, path, before.get(path))
        rows.append(row)
        entries += [entry] if entry is not None else []
    if shown.seq and not entries and tuple(rows) == tuple(before.values()):
        return False
    nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
    entries.append(sign_listing(given.write, shown.seq + 1, name, tuple(rows), nonces))
    _append_all(session.stores, entries)
    return True


def _row(files: Files, given: Given, named: Named, path: str, before: Row | None) -> tuple[Row, Entry | None]:
    """Say what a code shows of one file, and the manifest that must be written for it."""
    ref = named.file
    assert ref is not None
    row = Row(
        path=path,
        size_bytes=ref.size_bytes,
        modified_ns=ref.modified_ns,
        mode=ref.mode & 0o7777,
        media=ref.media,
        digest=ref.digest,
        inline=ref.inline,
    )
    if ref.inline or not ref.size_bytes:
        return row, None
    write = inside(given, path)
    row = replace(row, read=keys.read_of(write))
    if row == before:
        return row, None
    seq = newest(files.session.stores, keys.read_of(write)).seq + 1 if before is not None else 1
    return row, resealed(files, write, files_own(files, named), path.rpartition("/")[2], seq)


def inside(given: Given, path: str) -> bytes:
    """Return the write secret of one file in a folder that was given away."""
    return keys.derive(given.write, "inside", path.encode())


def _same(contents: Contents, ref: FileRef, name: str) -> bool:
    return (contents.digest, contents.modified_ns, contents.mode, contents.name) == (
        ref.digest,
        ref.modified_ns,
        ref.mode & 0o7777,
        name,
    )


@contextmanager
def reaching_far(files: Files) -> Iterator[Files]:
    """Lend the same files with the stores of other accounts in reach: to read by codes, and to write where they let us."""
    from worldos.files.files import Files as Reaching  # noqa: PLC0415 - files know of sharing
    from worldos.files.session import Session as Far  # noqa: PLC0415

    near = files.session
    if near.look_far is None:
        yield files
        return
    stores = Stores(near.look_far)
    session = Far(near.folder, near.owner, near.key, stores, near.devices, lambda: near.roots, near.place)
    try:
        yield Reaching(session)
    finally:
        session.close()


# -- looking at registers -------------------------------------------------------------------------------------------------


def newest(stores: Stores, read: bytes) -> Shown:
    """Return what any store has as the newest of a read secret: contents, the rows of a folder, or ``None`` if withdrawn.

    Entries that another key signed are passed over, however high their number.
    """
    verify = keys.verify_of(read)
    log = keys.locator_of(verify)
    told = _asked_all(stores.reachable(), (log,))
    best, refused = Shown(0, ()), list[WorldError]()
    for entry in [entry for entries in told.values() for entry in entries]:
        try:
            value = _value_of(entry, read)
        except WorldError as error:
            refused.append(error)
            continue
        if entry.seq > best.seq:
            best = Shown(entry.seq, value)
    if not best.seq and refused:
        raise refused[0]
    return best


def registers(stores: Sequence[Store], signers: Mapping[bytes, bytes]) -> dict[bytes, Entry]:
    """Return the last entry of each register, as its own signer (log -> public key) wrote it, as far as stores know."""
    best: dict[bytes, Entry] = {}
    for entry in [entry for entries in _asked_all(stores, tuple(signers)).values() for entry in entries]:
        if signers.get(entry.log) != entry.public or not entry.register:
            continue
        if entry.log not in best or entry.seq > best[entry.log].seq:
            with contextlib.suppress(WorldError):  # a store that lies is one store less
                check_entry(entry)
                best[entry.log] = entry
    return best


def _asked_all(stores: Sequence[Store], wanted: Sequence[bytes]) -> dict[str, tuple[Entry, ...]]:
    awake = [store for store in stores if not store.doubted] or stores
    return answers(awake, lambda link: link.last(wanted), within_s=ANSWER_S, patience_s=STANDING_S)


def _value_of(entry: Entry, read: bytes) -> object:
    if manifest.is_withdrawal(entry, read):
        return None
    if manifest.split(entry.body)[0] == manifest.FOLDER:
        return read_listing(entry, read).rows
    return manifest.read_manifest(entry, read)[1]


def _append_all(stores: Stores, entries: Sequence[Entry]) -> None:
    reachable = stores.reachable()
    for first in range(0, len(entries), ENTRIES_AT_ONCE):
        logs.append(reachable, entries[first : first + ENTRIES_AT_ONCE])


# -- taking back ----------------------------------------------------------------------------------------------------------


def end(session: Session, given: Given) -> None:
    """Take back all codes of a ``Given``: written down first, so that it is not shown again; then withdrawn everywhere."""
    remember(session, [replace(given, ended=True)])
    withdraw(session.stores, given)


def withdraw(stores: Stores, given: Given) -> None:
    """Let registers say that there is nothing here any more, those of the files in a folder too."""
    shown = newest(stores, keys.read_of(given.write))
    secrets = {given.write: shown.seq}
    if isinstance(shown.value, tuple):
        for row in shown.value:
            if row.read:
                secrets[inside(given, row.path)] = 0
    for write, seq in list(secrets.items()):
        if not seq:
            with contextlib.suppress(WorldError):  # one that no store has any more needs no withdrawal
                secrets[write] = newest(stores, keys.read_of(write)).seq
    entries = [
        manifest.sign_withdrawal(write, seq + 1, (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)))
        for write, seq in secrets.items()
    ]
    _append_all(stores, entries)
