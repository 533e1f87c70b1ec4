"""Mending: shares of a segment made again out of others, by somebody who cannot read any of it.

k shares are fetched, the quickest store of each first, and every byte is checked against the roots that the manifest names; a
store that gave what was not written is reported and its share fetched elsewhere. What is made is checked against its root as
well before it leaves. Where fewer than k shares are there, they are gathered in a folder until the others were met.
Sizes in bytes. Invariant: nothing is put anywhere that the manifest's root does not prove.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final

from worldos.depot.link import Fetched, StoreLink
from worldos.errors import Damaged, DiskFull, OverQuota, Unreachable, WorldError
from worldos.files.stores import Store
from worldos.store.audit import Verdict
from worldos.store.erasure import Code, Codec, decode, share_bytes
from worldos.store.health import Repair
from worldos.store.leaves import bad_leaves, check_digests, leaf_digests, root_of
from worldos.store.manifest import Segment

FETCH_S: Final = 20.0
PUT_S: Final = 30.0
GATHERED_BYTES_MAX: Final = 1 << 30
GATHERED_S_MAX: Final = 14 * 24 * 3600

Report = Callable[[str, bytes, Verdict], None]  # of which node, on which share


class Gathered:
    """Shares fetched for repairs that wait for more of them: files in a folder, bounded in bytes and age."""

    def __init__(self, folder: Path, *, bytes_max: int = GATHERED_BYTES_MAX) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._bytes_max = bytes_max

    def put(self, share: bytes, data: bytes | bytearray | memoryview) -> bool:
        """Keep a share, if there is room; tell whether it is kept. Not durable: it can be fetched again."""
        self._make_room()
        if sum(file.stat().st_size for file in self._folder.iterdir()) + len(data) > self._bytes_max:
            return False
        fresh = self._folder / f".{share.hex()}"
        try:
            fresh.write_bytes(data)
            fresh.rename(self._folder / share.hex())
        except OSError:
            fresh.unlink(missing_ok=True)
            return False
        return True

    def get(self, share: bytes) -> bytes | None:
        """Return a share that is kept here."""
        try:
            return (self._folder / share.hex()).read_bytes()
        except OSError:
            return None

    def which(self, shares: Sequence[bytes]) -> frozenset[int]:
        """Return the places in ``shares`` of those that are kept here."""
        return frozenset(index for index, share in enumerate(shares) if (self._folder / share.hex()).exists())

    def drop(self, shares: Iterable[bytes]) -> None:
        """Let these go."""
        for share in shares:
            (self._folder / share.hex()).unlink(missing_ok=True)

    def _make_room(self) -> None:
        for file in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > GATHERED_S_MAX:
                    file.unlink()


class Mender:
    """Carries out repairs. ``report`` is told what each answer of a store was worth."""

    def __init__(self, codec: Codec, gathered: Gathered, owner: str, report: Report) -> None:
        self._codec = codec
        self._gathered = gathered
        self._owner = owner
        self._report = report

    def mend(
        self, segment: Segment, ids: Sequence[bytes], repair: Repair, stores: Mapping[str, Store]
    ) -> dict[int, str]:
        """Make what the repair names; return which share is now durable where. Raise Unreachable if too few can be had."""
        code = Code(k=segment.k, n=segment.n)
        have = self._fetch(segment, ids, repair, stores)
        if not repair.indices:
            for index, data in have.items():
                self._gathered.put(ids[index], data)
            return {}
        if len(have) < code.k:
            raise Unreachable(f"{len(have)} of the {code.k} shares that are needed can be had now")
        size = share_bytes(segment.size_bytes, segment.k)
        made: dict[int, memoryview] = {}
        wanted = [index for index in repair.indices if index not in have]
        if wanted:
            out = [memoryview(bytearray(size)) for _ in wanted]
            decode(self._codec, code, have, wanted, out)
            made.update(zip(wanted, out, strict=True))
        made.update({index: have[index] for index in repair.indices if index in have})
        placed = self._put(segment, ids, made, repair.targets, stores)
        if len(placed) == len(repair.indices):
            self._gathered.drop(ids)
        return placed

    def _fetch(
        self, segment: Segment, ids: Sequence[bytes], repair: Repair, stores: Mapping[str, Store]
    ) -> dict[int, memoryview]:
        """Fetch k shares, or all there are to gather, each whole and right."""
        have: dict[int, memoryview] = {}
        for index, share in enumerate(ids):
            kept = self._gathered.get(share) if repair.indices else None
            if kept is not None and self._is_right(segment, index, memoryview(kept)):
                have[index] = memoryview(kept)
        left = [
            (index, [stores[node] for node in nodes if node in stores])
            for index, nodes in repair.sources
            if index not in have
        ]
        for _, holders in left:
            holders.sort(key=lambda store: (store.doubted, store.bulk_delay_s, store.at.node))
        enough = segment.k if repair.indices else segment.n
        while left and len(have) < enough:
            round_ = left[: enough - len(have)]
            left = left[len(round_) :]
            asked = {
                holders[0].ask(_whole(ids[index]), bulk=True): (index, holders) for index, holders in round_ if holders
            }
            done, late = wait(asked, FETCH_S)
            for future in late:
                asked[future][1][0].doubt()
                future.cancel()
            for future in done:
                index, holders = asked[future]
                data = self._checked(segment, index, ids[index], holders[0], future)
                if data is not None:
                    have[index] = data
                elif len(holders) > 1:
                    left.append((index, holders[1:]))
        return have

    def _checked(
        self, segment: Segment, index: int, share: bytes, store: Store, future: Future[Fetched]
    ) -> memoryview | None:
        """Return the bytes that a store gave if they are those that were written; report it otherwise."""
        error = future.exception()
        if isinstance(error, WorldError):
            if not isinstance(error, Unreachable):
                self._report(store.at.node, share, Verdict.MISSING)
            return None
        got = future.result()
        size = share_bytes(segment.size_bytes, segment.k)
        try:
            check_digests(got.digests, size, segment.roots[index])
            if len(got.data) != size or bad_leaves(got.digests, got.data):
                raise Damaged("a share is not what was written")
        except Damaged:
            self._report(store.at.node, share, Verdict.WRONG)
            return None
        return got.data

    def _is_right(self, segment: Segment, index: int, data: memoryview) -> bool:
        size = share_bytes(segment.size_bytes, segment.k)
        return len(data) == size and root_of(leaf_digests(data), size) == segment.roots[index]

    def _put(
        self,
        segment: Segment,
        ids: Sequence[bytes],
        made: Mapping[int, memoryview],
        targets: Sequence[str],
        stores: Mapping[str, Store],
    ) -> dict[int, str]:
        """Put each share on a device of its own; where one has no room, on the next."""
        placed: dict[int, str] = {}
        left = [stores[node] for node in targets if node in stores]
        todo = sorted(made)
        while todo and left:
            asked: dict[Future[None], tuple[int, Store]] = {}
            for index in todo[: len(left)]:
                data = made[index]
                digests = leaf_digests(data)
                if root_of(digests, len(data)) != segment.roots[index]:
                    raise Damaged("what was made of this segment's shares is not what its manifest names")
                store = left.pop(0)
                asked[store.ask(_keep(ids[index], data, self._owner, digests), bulk=True)] = (index, store)
            done, late = wait(asked, PUT_S)
            for future in late:
                asked[future][1].hang_up()
            for future in done:
                index, store = asked[future]
                error = future.exception()
                if error is None:
                    placed[index] = store.at.node
                elif isinstance(error, DiskFull | OverQuota):
                    store.refused_room = True
            todo = [index for index in todo if index not in placed]
        return placed


def _whole(share: bytes) -> Callable[[StoreLink], Future[Fetched]]:
    return lambda link: link.get_share(share, digests=True)


def _keep(share: bytes, data: memoryview, owner: str, digests: bytes) -> Callable[[StoreLink], Future[None]]:
    return lambda link: link.put_share(share, data, owner=owner, digests=digests)
