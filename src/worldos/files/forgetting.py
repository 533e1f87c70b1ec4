"""Forgetting: the room of files that were removed is given back, once nobody can have them back.

Now and then each device tells what it has seen of the directory, if it has not (history ends only when all active devices know).
What its own directory then forgets (``store.retention``: 30 days, and known to all) has its shares dropped at all stores and
its manifest withdrawn, so that no carer makes them anew. Segments may be shared: by packs, by files given away under another
secret. So every manifest that still counts is read first and its segments marked; only what nothing marks goes, and if one
manifest cannot be read, nothing does. Stores keep what is dropped for a week more.
Invariant: a share goes only if no file of the directory or its history, and nothing that is given away, needs it. All stores
of the account are reached, or it is put off: one that sleeps now would keep its shares for ever.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from worldos.depot.link import StoreLink
from worldos.errors import DiskFull, NotAllowed, Unreachable, WorldError
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
from worldos.store.manifest import FILE, open_map, share_ids, sign_withdrawal, split
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
    catalog = Catalog(home.path / "files", roots.directory_keys, here.key, stores, lambda: dict.fromkeys(here.ever, ""))
    try:
        catalog.refresh(thorough=True)
        catalog.acknowledge()
        catalog.forget(now_ns, here.active, partial(_let_go, stores, roots, here))
    finally:
        catalog.close()


def _let_go(stores: Stores, roots: Roots, here: Belonging, directory: Directory, gone: Sequence[FileRef]) -> None:
    """Drop the shares of files of which nothing is left."""
    writes = sorted({ref.write for ref in gone if ref.write})
    if not writes:
        return
    reachable = _all_of_ours(stores, here.account)
    manifests = _manifests(reachable, [keys.verify_of(keys.read_of(write)) for write in writes])
    if not manifests:
        return  # they were let go by another device
    given = [
        each.write
        for each in known_given(reachable, roots.directory_keys, here.ever)
        if each.kind == "file" and not each.ended
    ]
    marks = _marked(reachable, directory.kept(), given)
    for write in writes:
        verify = keys.verify_of(keys.read_of(write))
        if verify in manifests:
            _drop(reachable, write, verify, manifests[verify], marks)


def _drop(stores: Sequence[Store], write: bytes, verify: bytes, entry: Entry, marks: set[Mark]) -> None:
    segments = open_map(entry.body, verify).segments
    free = [segment for segment in segments if (segment.secret or verify, segment.id) not in marks]
    ids = [share for segment in free for share in share_ids(segment, verify)]
    for first in range(0, len(ids), _IDS_AT_ONCE):
        _at_all(stores, partial(_dropped, ids=ids[first : first + _IDS_AT_ONCE]))
    nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
    withdrawal = sign_withdrawal(write, entry.seq + 1, nonces)
    _at_all(stores, lambda link: link.append([withdrawal]))
    _at_all(stores, lambda link: link.forget(withdrawal.log))


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
    if withdrawn:
        return found
    return {verify: entry for verify, entry in found.items() if split(entry.body)[0] == FILE}


def _all_of_ours(stores: Stores, account: str) -> list[Store]:
    """Return all stores that can be reached, if all of this account's can be."""
    reachable = [store for store in stores.reachable() if not store.doubted]
    there = {store.at.node for store in reachable}
    missing = [store.at.name for store in stores.known() if store.at.account == account and store.at.node not in there]
    if missing:
        raise Unreachable(f"{', '.join(missing)} cannot be reached now")
    return reachable


def _at_all(stores: Sequence[Store], question: Callable[[StoreLink], Future[Any]]) -> None:
    """Put a question to each store; raise Unreachable where one does not answer."""
    for future in [store.ask(question) for store in stores]:
        try:
            with contextlib.suppress(NotAllowed):  # a store of others looks after its own
                future.result(ANSWER_S)
        except TimeoutError as cause:
            raise Unreachable("a store does not answer: the rest is let go later") from cause


def _dropped(link: StoreLink, ids: Sequence[bytes]) -> Future[int]:
    return link.drop(ids)
