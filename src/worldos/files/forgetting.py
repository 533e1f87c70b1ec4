"""Forgetting: the room of files that were removed is given back, once nobody can have them back.

Now and then each device tells what it has seen of the directory, if it has not: history ends only when all active devices know.
What its own directory then forgets (``store.retention``: 30 days, and known to all) has its shares dropped at all stores that
can be reached, and its manifest withdrawn, so that no carer makes them anew. A device that was asleep then does the same for
its own store when it forgets: which segments a removed file has is written down in its home (``leaving``) while the manifest
still says so. Segments may be shared: by packs, by files given away under another secret. So every manifest that still counts
is read first and its segments marked; only what nothing marks goes, and if one of these manifests cannot be read, nothing
does. Stores keep what is dropped for a week more.
Invariant: a share goes only if no file of the directory or its history, and nothing that is given away, needs it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from worldos.agent.home import write_durably
from worldos.depot.link import StoreLink
from worldos.errors import DiskFull, Unreachable, WorldError
from worldos.files import logs
from worldos.files.catalog import Catalog
from worldos.files.limits import ANSWER_S, FORGET_EVERY_S, FORGET_FIRST_S, MANIFESTS_AT_ONCE
from worldos.files.roots import Belonging, Roots, belonging_of, own_roots
from worldos.files.sharing import known_given
from worldos.files.stores import Store, Stores
from worldos.home import Home
from worldos.store import keys
from worldos.store.directory import Directory
from worldos.store.entry import NONCE_BYTES, Entry
from worldos.store.manifest import FILE, Segment, open_map, share_ids, sign_withdrawal, split
from worldos.store.ops import FileRef

_SECOND_NS = 1_000_000_000
_IDS_AT_ONCE = 4096

Mark = tuple[bytes, bytes]
"""What names a segment's shares: the secret that their ids come of, and the segment's id."""


class ForgettingLoop:
    """The keeper's part."""

    def __init__(self, home: Home, stores: Stores) -> None:
        self._home = home
        self._stores = stores
        self._begun = False

    def step(self, now_ns: int) -> int:
        """Forget what is due, if all that takes is there."""
        if not self._begun:
            self._begun = True
            return now_ns + round(FORGET_FIRST_S * _SECOND_NS)
        with contextlib.suppress(Unreachable, DiskFull):  # it comes again
            forget_now(self._home, self._stores, now_ns)
        return now_ns + round(FORGET_EVERY_S * _SECOND_NS)


def forget_now(home: Home, stores: Stores, now_ns: int) -> None:
    """Acknowledge, forget, and give the room back; raise Unreachable where it must be put off."""
    roots, here = own_roots(home), belonging_of(home)
    if roots is None:
        return
    leaving = _Leaving(home.path / "files" / "leaving")
    catalog = Catalog(home.path / "files", roots.directory_keys, here.key, stores, lambda: dict.fromkeys(here.ever, ""))
    try:
        catalog.refresh(thorough=True)
        catalog.acknowledge()
        with catalog.look() as directory:
            leaving.follow(stores.reachable(), directory.gone())
        catalog.forget(now_ns, here.active, partial(_let_go, stores, roots, here, leaving))
    finally:
        catalog.close()


class _Leaving:
    """The segments of files that are only in the history, by verify secret, as their manifests said when they were removed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self.segments = _read_leaving(file.read_bytes())
        except (OSError, msgspec.DecodeError, RecursionError):
            self.segments = {}  # none yet, or not whole: it is asked for again

    def follow(self, stores: Sequence[Store], gone: Iterable[FileRef]) -> None:
        """Write down what was removed since, and strike out what came back or is forgotten."""
        before = dict(self.segments)
        wanted = {keys.verify_of(keys.read_of(ref.write)) for ref in gone if ref.write}
        self.segments = {verify: segments for verify, segments in before.items() if verify in wanted}
        fresh = sorted(wanted - before.keys())
        for first in range(0, len(fresh), MANIFESTS_AT_ONCE):
            for verify, entry in _manifests(stores, fresh[first : first + MANIFESTS_AT_ONCE]).items():
                with contextlib.suppress(WorldError):  # of a newer World OS: who knows it lets it go
                    self.segments[verify] = open_map(entry.body, verify).segments
        if self.segments != before:
            write_durably(self._file, msgspec.msgpack.encode(self.segments))


_read_leaving = msgspec.msgpack.Decoder(dict[bytes, tuple[Segment, ...]]).decode


def _let_go(
    stores: Stores, roots: Roots, here: Belonging, leaving: _Leaving, directory: Directory, gone: Sequence[FileRef]
) -> None:
    """Drop the shares of files of which nothing is left."""
    writes = {keys.verify_of(keys.read_of(ref.write)): ref.write for ref in gone if ref.write}
    if not writes:
        return
    reachable = stores.reachable()
    given = [
        each.write
        for each in known_given(reachable, roots.directory_keys, here.ever)
        if each.kind == "file" and not each.ended
    ]
    marks = _marked(reachable, directory.kept(), given)
    manifests = _manifests(reachable, sorted(writes))
    for verify, write in sorted(writes.items()):
        entry = manifests.get(verify)
        segments = open_map(entry.body, verify).segments if entry is not None else leaving.segments.get(verify, ())
        free = [segment for segment in segments if (segment.secret or verify, segment.id) not in marks]
        ids = [share for segment in free for share in share_ids(segment, verify)]
        for first in range(0, len(ids), _IDS_AT_ONCE):
            _at_all(reachable, partial(_dropped, ids=ids[first : first + _IDS_AT_ONCE]))
        if entry is not None:
            nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
            withdrawal = sign_withdrawal(write, entry.seq + 1, nonces)
            _at_all(reachable, partial(_withdrawn, entry=withdrawal))
        _at_all(reachable, partial(_uncared, locator=keys.locator_of(verify)))


def _marked(stores: Sequence[Store], kept: Iterable[FileRef], given: Iterable[bytes]) -> set[Mark]:
    """Return all segments that something still needs; raise Unreachable if that cannot be known."""
    ours = {keys.verify_of(keys.read_of(ref.write)) for ref in kept if ref.write}
    others = {keys.verify_of(ref.read) for ref in kept if not ref.write}
    shown = {keys.verify_of(keys.read_of(write)) for write in given}
    wanted = sorted(ours | others | shown)
    found: dict[bytes, Entry] = {}
    for first in range(0, len(wanted), MANIFESTS_AT_ONCE):
        found |= _manifests(stores, wanted[first : first + MANIFESTS_AT_ONCE], withdrawn=True)
    if ours - found.keys():
        raise Unreachable("not all manifests can be read now: nothing is let go")
    marks: set[Mark] = set()
    for verify, entry in found.items():
        try:
            segments = open_map(entry.body, verify).segments
        except WorldError as cause:
            if verify in ours:
                raise Unreachable("not all manifests can be read here: nothing is let go") from cause
            continue
        marks |= {(segment.secret or verify, segment.id) for segment in segments}
    return marks


def _manifests(stores: Sequence[Store], verifies: Sequence[bytes], *, withdrawn: bool = False) -> dict[bytes, Entry]:
    """Return the newest manifest of each verify secret that has one; without ``withdrawn``, of those that still count."""
    by_log = {keys.locator_of(verify): verify for verify in verifies}
    found = {by_log[log]: entry for log, entry in logs.last(stores, list(by_log), thorough=True).items()}
    return found if withdrawn else {verify: entry for verify, entry in found.items() if split(entry.body)[0] == FILE}


def _at_all(stores: Sequence[Store], question: Callable[[StoreLink], Future[Any]]) -> None:
    """Put a question to each store. One that does not answer is asked by its own device; ours must, or it comes again."""
    for store, future in [(store, store.ask(question)) for store in stores]:
        try:
            future.result(ANSWER_S)
        except (WorldError, TimeoutError) as cause:
            if store.at.here:
                raise Unreachable("this machine's store does not answer: the rest is let go later") from cause


def _dropped(link: StoreLink, ids: Sequence[bytes]) -> Future[int]:
    return link.drop(ids)


def _withdrawn(link: StoreLink, entry: Entry) -> Future[int]:
    return link.append([entry])


def _uncared(link: StoreLink, locator: bytes) -> Future[None]:
    return link.forget(locator)
