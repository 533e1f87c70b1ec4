"""Receiving: what others wrote into what was given away to them, and the keeper's loop over all that was.

With a code to write somebody puts another manifest into the register of a file: its bytes are copied in, as the newest version
of the owner's own, under keys that the writer does not have. What is dropped into a folder is copied in under a free name, or
in the place of what has the name if whoever dropped it proves that it may. Invariant: what is copied is what was said, to
the digest; what cannot be had now is tried again; garbage is passed over once. Moments in ns of this machine's clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from worldos.errors import BadRequest, OverQuota, WorldError
from worldos.files.limits import ANSWER_S, GIVEN_EVERY_S, GIVEN_IDLE_S, STANDING_S
from worldos.files.sharing import end, known_given, mark, newest, reaching_far, remember, show
from worldos.files.stores import Stores, answers
from worldos.home import Home
from worldos.store import keys
from worldos.store.directory import Directory
from worldos.store.drop import OPENING_SEQ, Drop, may_replace, open_drop
from worldos.store.entry import Entry, check_entry
from worldos.store.given import Given
from worldos.store.manifest import Contents
from worldos.store.ops import FileRef, Op

if TYPE_CHECKING:
    from worldos.files.files import Files

SENT = "sent"  # where what was sent by somebody's code stays until it is removed
_SECOND_NS = 1_000_000_000
_DROP_LOG_BYTES = 4 << 20


def take_in(files: Files, given: Given) -> bool:
    """Take in what somebody wrote with a code to write: it becomes the newest version of the owner's file."""
    if not given.writes or given.kind != "file":
        return False
    read = keys.read_of(given.write)
    shown = newest(files.session.stores, read)
    if not isinstance(shown.value, Contents) or shown.value.digest in _digests(files, given.path):
        return False
    with reaching_far(files) as far:
        opened = far.session.shelf.manifest(read, thorough=True)
        ref = FileRef(read=read, size_bytes=opened.contents.size_bytes, inline=opened.contents.inline)
        _copy_in(files, far, ref, given.path, opened.contents.digest, opened.contents.modified_ns)
    return True


def take_drops(files: Files, given: Given) -> int:
    """Copy in what was dropped into a folder; return how many files that were. One that cannot be had stays for later."""
    if not given.drops or given.kind != "folder":
        return 0
    append = keys.append_of(given.write)
    log, public = keys.drop_log(append), keys.drop_signer(append).public
    fresh = [entry for entry in _dropped(files.session.stores, log) if entry.public == public]
    taken = set(given.taken)
    for entry in fresh:
        if entry.seq in taken or entry.seq == OPENING_SEQ:
            continue
        try:
            drop = open_drop(entry, given.write)
        except WorldError:
            taken.add(entry.seq)  # garbage stays garbage
            continue
        with contextlib.suppress(WorldError):
            _take_drop(files, given, drop, replaces=may_replace(drop, given.write, entry.seq))
            taken.add(entry.seq)
    new = taken - set(given.taken)
    if new:
        remember(files.session, [replace(given, taken=tuple(sorted(taken)))])
    return len(new)


def _dropped(stores: Stores, log: bytes) -> list[Entry]:
    told = answers(
        stores.reachable(),
        lambda link: link.read_log(log, 1, _DROP_LOG_BYTES),
        within_s=ANSWER_S,
        patience_s=STANDING_S,
    )
    found: dict[int, Entry] = {}
    for entry in [entry for entries in told.values() for entry in entries]:
        if entry.log == log and entry.seq not in found:
            with contextlib.suppress(WorldError):  # a store that lies is one store less
                check_entry(entry)
                found[entry.seq] = entry
    return [entry for _, entry in sorted(found.items())]


def _take_drop(files: Files, given: Given, drop: Drop, *, replaces: bool) -> None:
    path = f"{given.path}/{drop.name}"
    if not replaces:
        path = free_name(files, path)
    with reaching_far(files) as far:
        if drop.read:
            opened = far.session.shelf.manifest(drop.read, thorough=True)
            if opened.contents.size_bytes != drop.size_bytes or opened.contents.digest != drop.digest:
                raise BadRequest(f"{drop.name} is not what was dropped")
        ref = FileRef(read=drop.read, size_bytes=drop.size_bytes, inline=drop.inline)
        _copy_in(files, far, ref, path, drop.digest, 0)


def free_name(files: Files, path: str) -> str:
    """Return a name that nothing has yet, like this one."""
    stem, dot, ending = path.rpartition(".")
    if not dot or "/" in ending:
        stem, dot, ending = path, "", ""
    for number in range(1, 1000):
        name = path if number == 1 else f"{stem} ({number}){dot}{ending}"
        if not files.exists(name):
            return name
    raise OverQuota(f"there are a thousand files called {path} already")


def _copy_in(files: Files, far: Files, ref: FileRef, path: str, digest: bytes, modified_ns: int) -> None:
    """Make somebody else's file, read from ``far``, one of our own: under our own keys, on our own devices."""
    upload = files.session.uploads.begin(expected_bytes=ref.size_bytes)
    try:
        for part in far.parts(ref):
            upload.write(part)
        own = upload.finish(modified_ns=modified_ns or time.time_ns(), mode=0o644)
    finally:
        upload.abandon()
    if own.digest != digest:
        raise BadRequest(f"{path} is not what it was said to be")

    def make(directory: Directory) -> Sequence[Op]:
        return directory.put(path, own)

    files.session.catalog.change(make, path)


def _digests(files: Files, path: str) -> set[bytes]:
    """Return what was ever known to be in a file, as far as its history goes."""
    with files.session.catalog.look(at_once=True) as directory:
        return {past.file.digest for past in directory.history(path)}


# -- the keeper's part ----------------------------------------------------------------------------------------------------


class SharingLoop:
    """Looks after what was given away; files are opened only where there is something."""

    def __init__(self, home: Home, stores: Stores, open_files: Callable[[], Files] | None = None) -> None:
        self._home = home
        self._stores = stores
        self._open_files = open_files or (lambda: _files_of(home))
        self._files: Files | None = None

    def step(self, now_ns: int) -> int:
        """Look once; return when to look again."""
        from worldos.files.roots import belonging_of, own_roots  # noqa: PLC0415 - as in _active

        roots = own_roots(self._home)
        if roots is None:
            return now_ns + GIVEN_IDLE_S * _SECOND_NS
        active = belonging_of(self._home).active
        known = known_given(self._stores.reachable(), roots.directory_keys, active)
        mark(self._home, known)
        if not any(not given.ended for given in known):
            self.close()
            return now_ns + GIVEN_IDLE_S * _SECOND_NS
        if self._files is None:
            self._files = self._open_files()
        look_after(self._files, known, now_ns)
        return now_ns + GIVEN_EVERY_S * _SECOND_NS

    def close(self) -> None:
        """Let go of what was opened."""
        files, self._files = self._files, None
        if files is not None:
            files.close()


def look_after(files: Files, known: Sequence[Given], now_ns: int) -> None:
    """End what is over, take in what others wrote, show what changed."""
    files.refresh()
    for given in known:
        if given.ended:
            continue
        if given.over(now_ns) or (given.path.startswith(SENT + "/") and not files.exists(given.path)):
            end(files.session, given)
            continue
        with contextlib.suppress(WorldError):  # one that cannot be done now does not hold up the others
            take_in(files, given)
            take_drops(files, given)
            show(files, given)


def _files_of(home: Home) -> Files:
    from worldos.files.files import Files  # noqa: PLC0415 - files know of sharing

    return Files.open(home)
