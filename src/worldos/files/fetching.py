"""Fetching: the bytes of one segment from whichever k of its shares come first.

Who has a share is what stores answer to ``Have``. The quickest are asked for the shares they hold, data shares first, since
those need no decoding; who has not answered when it should have is passed over and another share is asked for. Nothing that is
doubted is waited for. Bytes are read in place: each share has its own part of the segment's buffer, and a part is only used for
something else once no link can write into it any more.
Whether the bytes are right is seen when they are opened (each piece is sealed); then ``Fetch.suspects`` finds, by the
leaves under the signed roots, which store gave wrong ones.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from math import inf

from worldos.depot.link import Fetched, StoreLink
from worldos.errors import Damaged, Unreachable, WorldError
from worldos.files.limits import ANSWER_S, FEW_SHARES_S, LATE_S
from worldos.files.stores import Store, answers
from worldos.store.erasure import Code, Codec, decode, share_bytes
from worldos.store.leaves import bad_leaves, check_digests
from worldos.store.manifest import Segment, share_ids

IDS_AT_ONCE = 4096
_LATE = inf

_Ranked = tuple[tuple[bool, int, float, int], int, Store]  # the order in which to ask, the share, the store

Holders = dict[int, list[Store]]
"""For each share of a segment the stores that have it, the one to ask first at the front."""


def holders_of(
    stores: Sequence[Store], segments: Sequence[Segment], verify: bytes, *, patience_s: float = 0.0
) -> list[Holders]:
    """Ask all stores which shares of these segments they have.

    Late ones are passed over once enough is known to read all of it; ``patience_s``: not before that time, to see how it stands.
    """
    found: list[Holders] = [{} for _ in segments]
    places = [(number, index) for number, segment in enumerate(segments) for index in range(segment.n)]
    ids = [share for segment in segments for share in share_ids(segment, verify)]
    sizes = [share_bytes(segment.size_bytes, segment.k) for segment in segments]
    by_node = {store.at.node: store for store in stores}
    for first in range(0, len(ids), IDS_AT_ONCE):
        asked = ids[first : first + IDS_AT_ONCE]
        those = places[first : first + IDS_AT_ONCE]
        told = answers(
            stores,
            lambda link, asked=asked: link.have(asked),  # type: ignore[misc]
            within_s=LATE_S,
            will_do=lambda told, those=those: _readable(told, those, segments),  # type: ignore[misc]
            patience_s=patience_s,
        )
        for node, store in by_node.items():
            for (number, index), size in zip(those, told.get(node, ()), strict=False):
                if size == sizes[number]:
                    found[number].setdefault(index, []).append(store)
    return found


def _readable(told: dict[str, tuple[int, ...]], places: Sequence[tuple[int, int]], segments: Sequence[Segment]) -> bool:
    """Whether k shares of each of the segments are known to be somewhere (of one that the question cut, as far as it goes)."""
    here = {place for sizes in told.values() for place, size in zip(places, sizes, strict=False) if size >= 0}
    asked, known = Counter(number for number, _ in places), Counter(number for number, _ in here)
    return all(known[number] >= min(segments[number].k, asked[number]) for number in asked)


@dataclass
class _Asked:
    """One share that was asked for, and when it is late."""

    index: int
    store: Store
    due_s: float


class Fetch:
    """One segment being fetched into ``buffer``, which has room for its k data shares side by side."""

    def __init__(
        self,
        segment: Segment,
        verify: bytes,
        holders: Holders,
        codec: Codec,
        buffer: memoryview,
        *,
        ids: Sequence[bytes] = (),
    ) -> None:
        """``ids``: under which names the shares lie, where those are not their own (files/memory.py)."""
        self.segment = segment
        self._code = Code(k=segment.k, n=segment.n)
        self._size = share_bytes(segment.size_bytes, segment.k)
        self._ids = ids or share_ids(segment, verify)
        self._codec = codec
        self._buffer = buffer
        self._holders = {index: list(stores) for index, stores in holders.items()}
        self._got: dict[int, tuple[Store, memoryview]] = {}

    def whole(self) -> memoryview:
        """Fetch all of it; return its bytes. Raise Unreachable where too few shares can be had now."""
        self._gather(0, self._size, range(self._code.k))
        missing = [index for index in range(self._code.k) if index not in self._got]
        if missing:
            have = {index: data for index, (_, data) in self._got.items()}
            decode(self._codec, self._code, have, missing, [self._slot(index) for index in missing])
        return self._buffer[: self.segment.size_bytes]

    def part(self, index: int, offset: int, length: int) -> memoryview:
        """Fetch some bytes of one data share, from it or, if it does not come, out of any k others."""
        self._got = {}
        self._gather(offset, length, (index,))
        if index in self._got:
            return self._got[index][1]
        out = memoryview(bytearray(length))
        have = {other: data for other, (_, data) in self._got.items()}
        decode(self._codec, self._code, have, (index,), (out,))
        return out

    def suspects(self) -> list[tuple[int, Store]]:
        """After ``whole`` gave what does not open: which of the shares are not what was written, and who gave them."""
        bad = []
        for index, (store, data) in self._got.items():
            try:
                digests = store.ask(lambda link, index=index: link.get_share(self._ids[index], 0, 1, digests=True))  # type: ignore[misc]
                listed = digests.result(ANSWER_S).digests
                check_digests(listed, self._size, self.segment.roots[index])
                if bad_leaves(listed, data):
                    bad.append((index, store))
            except (WorldError, TimeoutError):
                bad.append((index, store))
        return bad

    @property
    def holders(self) -> Holders:
        """Return whom to ask, without those that gave wrong bytes."""
        return self._holders

    def without(self, bad: Iterable[tuple[int, Store]]) -> None:
        """Do not ask these stores for these shares again."""
        for index, store in bad:
            self._holders[index] = [each for each in self._holders.get(index, ()) if each is not store]
        self._got = {}

    # -- asking until there is enough ----------------------------------------------------------------------------------------

    def _gather(self, offset: int, length: int, wanted: Sequence[int]) -> None:
        """Ask for the shares ``wanted``; when one does not come, for others, until all of these or any k have come."""
        order = self._order(wanted)
        open_: dict[Future[Fetched], _Asked] = {}
        give_up_s = time.monotonic() + ANSWER_S
        self._ask(order, len(wanted), offset, length, open_)
        all_asked = len(wanted) >= self._code.k  # else k others are needed as soon as one of these is lost
        try:
            while not self._enough(wanted):
                lost = self._await(open_, length, give_up_s)
                if self._enough(wanted):
                    break
                if lost or not open_:
                    count = lost if all_asked and open_ else self._code.k - len(self._got)
                    all_asked = True
                    self._ask(order, max(1, count), offset, length, open_)
                if time.monotonic() > give_up_s or (not open_ and self._known() < self._code.k):
                    raise self._too_few()
                if not open_:  # links that broke are opened again after a moment: whoever had a share has it still
                    time.sleep(FEW_SHARES_S)
                    order = self._order(wanted)
        finally:
            _let_go(open_)

    def _enough(self, wanted: Sequence[int]) -> bool:
        return len(self._got) >= self._code.k or set(wanted) <= self._got.keys()

    def _ask(
        self,
        order: list[tuple[int, Store]],
        count: int,
        offset: int,
        length: int,
        open_: dict[Future[Fetched], _Asked],
    ) -> None:
        """Ask the next of those that are left, each into its share's own place, if no other link may write there."""
        whole = length == self._size
        while order and count:
            index, store = order.pop(0)
            if index in self._got:
                continue
            busy = any(asked.index == index for asked in open_.values())
            into = self._slot(index) if whole and index < self._code.k and not busy else None
            question = _question(self._ids[index], offset, -1 if whole else length, into)
            open_[store.ask(question, bulk=True)] = _Asked(index, store, time.monotonic() + store.bulk_hedge_s)
            count -= 1

    def _await(self, open_: dict[Future[Fetched], _Asked], length: int, give_up_s: float) -> int:
        """Wait until something comes or is late; return how many of those asked are not to be counted on any more."""
        due_s = min((asked.due_s for asked in open_.values()), default=0.0)
        done, _ = wait(open_, max(0.0, min(due_s, give_up_s) - time.monotonic()), FIRST_COMPLETED)
        lost = 0
        for future in done:
            asked = open_.pop(future)
            good = not future.cancelled() and future.exception() is None and len(future.result().data) == length
            if good:
                self._got.setdefault(asked.index, (asked.store, future.result().data))
                asked.store.fetched_bytes += length
            lost += not good and asked.due_s != _LATE
        now_s = time.monotonic()
        for asked in open_.values():
            if asked.due_s <= now_s:
                asked.store.doubt()
                asked.due_s = _LATE  # it may still come
                lost += 1
        return lost

    def _order(self, wanted: Sequence[int]) -> list[tuple[int, Store]]:
        """Say whom to ask, in turn: each wanted share at its best store, then the others, then what else there is."""
        first: list[_Ranked] = []
        second: list[_Ranked] = []
        third: list[_Ranked] = []
        for index, stores in self._holders.items():
            ranked = sorted(stores, key=lambda store: (store.doubted, store.bulk_delay_s, store.at.node))
            if not ranked:
                continue
            best = ranked[0]
            key = (best.doubted, 0 if index in wanted else 1, best.bulk_delay_s, index)
            (first if index in wanted and not best.doubted else second).append((key, index, best))
            third += [((store.doubted, 1, store.bulk_delay_s, index), index, store) for store in ranked[1:]]
        for each in (first, second, third):
            each.sort(key=lambda item: item[0])
        return [(index, store) for _, index, store in (*first, *second, *third)]

    def _slot(self, index: int) -> memoryview:
        return self._buffer[index * self._size : (index + 1) * self._size]

    def _known(self) -> int:
        """Return how many shares somebody is known to have."""
        return sum(1 for stores in self._holders.values() if stores)

    def _too_few(self) -> WorldError:
        known = self._known()
        text = f"{known} of the {self._code.k} shares that are needed can be had now"
        if known >= self._code.k:
            return Unreachable(f"the stores of this file do not answer: {text}", hint="try again: wos storage status")
        return Unreachable(f"too few of this file's stores are there: {text}", hint="start the other devices")


def _question(
    share: bytes, offset: int, length: int, into: memoryview | None
) -> Callable[[StoreLink], Future[Fetched]]:
    return lambda link: link.get_share(share, offset, length, into=into)


def _let_go(open_: dict[Future[Fetched], _Asked]) -> None:
    """See that no link writes into the buffer any more."""
    for future, asked in open_.items():
        if future.cancel() or future.done():
            continue
        wait((future,), FEW_SHARES_S)
        if not future.done():
            asked.store.hang_up()


def damaged() -> Damaged:
    """Return what to say when no k of the shares give what was written."""
    return Damaged("no store has this part of the file as it was written", hint="see: wos storage status; wos repair")
