"""Logs on every depot of the site: what is written on one device is on all that are on within two seconds.

Two ways. *Push*: what a program of this machine appends to its own depot goes to all the others at once, in batches, from the
oldest on. *Pull*: whoever was away, or missed something, compares the heads of all logs with each of the others, page after
page, and fetches what it has not, or has otherwise: equal digests are equal entries. Cares (what is looked after) travel the same
way, so that every device of the account can repair. A site of fewer than four devices also leaves its logs with the foreign
stores that it leases, so that losing the home is not losing the names.

Each entry is checked by the depot that takes it in; one that is refused keeps nothing else out. Invariant: what is pending is
bounded, and what does not fit is brought by the next pull.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Final

from worldos.depot.block_store import BlockStore
from worldos.depot.limits import LIST_LIMIT_MAX
from worldos.depot.records import Head
from worldos.depot.wire import Cared, LogHead
from worldos.errors import WorldError
from worldos.files.limits import ANSWER_S
from worldos.files.stores import Store
from worldos.store.entry import Entry

SECOND: Final = 1_000_000_000
PENDING_BYTES_MAX: Final = 32 << 20
BATCH_BYTES_MAX: Final = 4 << 20
BATCH_ENTRIES_MAX: Final = 1024
IDLE_S: Final = 1.0  # how long a step waits for news
PULL_ANSWER_S: Final = 3.0  # who takes longer for a page is asked another time
GIVE_EVERY_S: Final = 5.0
PULL_EVERY_S: Final = 60.0  # all logs are compared with each of the others so often, for each page of heads
DEVICES_MIN: Final = 4  # below so many the logs also lie at foreign stores
LASTS_AT_ONCE: Final = 16
FOREIGN_LOGS_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Peers:
    """The other stores that can be reached now: those of the account, and those that it leases."""

    own: tuple[Store, ...] = ()
    foreign: tuple[Store, ...] = ()


class _Pull:
    """How far one other depot has been read."""

    def __init__(self) -> None:
        self.after = b""
        self.cares_after = b""
        self.due_s = 0.0
        self.link: object = None  # the link of the last page: another one is another life of that store


class Syncing:
    """The loop. ``heard`` takes what local programs append; ``step`` brings it to the others, and theirs here."""

    def __init__(
        self, store: BlockStore, peers: Callable[[], Peers], found: Callable[[Cared], None] = lambda _: None
    ) -> None:
        """``found`` is told of what others look after and this device does from now on."""
        self._store = store
        self._peers = peers
        self._found = found
        self._pending: deque[Entry] = deque()
        self._pending_bytes = 0
        self._news = threading.Condition()
        self._pulls: dict[str, _Pull] = {}
        self._given: dict[str, dict[bytes, bytes]] = {}  # foreign store -> log -> digest of what it was given
        self._give_due_s = 0.0
        self.refused = 0  # entries of others that this depot does not take

    def heard(self, entries: Iterable[Entry]) -> None:
        """Take in what was appended here by a program of this machine. Never blocks."""
        with self._news:
            for entry in entries:
                if self._pending_bytes + len(entry.body) > PENDING_BYTES_MAX:
                    break
                self._pending.append(entry)
                self._pending_bytes += len(entry.body)
            self._news.notify()

    def step(self, now_ns: int) -> int:
        """Push what there is, or wait a little for it; then one page of a pull."""
        with self._news:
            if not self._pending:
                self._news.wait(IDLE_S)
        peers = self._peers()
        self.push(peers)
        for store in peers.own:
            self._pull_page(store)
        self._give_away(peers)
        return now_ns

    # -- push ------------------------------------------------------------------------------------------------------------

    def push(self, peers: Peers) -> None:
        """Send all that is pending to every other depot of the account; who does not answer pulls it later."""
        while batch := self._batch():
            futures = {store.ask(lambda link, batch=batch: link.append(batch)): store for store in peers.own}  # type: ignore[misc]
            if not futures:
                return
            _, late = wait(futures, ANSWER_S)
            for future in late:
                futures[future].doubt()

    def _batch(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        with self._news:
            while self._pending and size < BATCH_BYTES_MAX and len(batch) < BATCH_ENTRIES_MAX:
                entry = self._pending.popleft()
                size += len(entry.body)
                batch.append(entry)
            self._pending_bytes -= size
        return batch

    # -- pull ------------------------------------------------------------------------------------------------------------

    def _pull_page(self, store: Store) -> None:
        """Compare one page of heads and of cares with another depot, if it is time to."""
        pull = self._pulls.setdefault(store.at.node, _Pull())
        try:
            link = store.link()
            if link is not pull.link:
                pull.link, pull.after, pull.cares_after, pull.due_s = link, b"", b"", 0.0
            if store.doubted or time.monotonic() < pull.due_s:
                return
            heads = store.ask(lambda link: link.heads(pull.after, LIST_LIMIT_MAX)).result(PULL_ANSWER_S)
            self._fetch(store, heads, pull.after)
            cares = store.ask(lambda link: link.cares(pull.cares_after, LIST_LIMIT_MAX)).result(PULL_ANSWER_S)
        except TimeoutError:
            store.doubt()
            return
        except WorldError:
            return
        known = {care.locator for care in self._store.cares(pull.cares_after, LIST_LIMIT_MAX)}
        for care in cares:
            if care.locator not in known:
                self._store.care(care.locator, care.verify, care.owner)
                self._found(care)
        pull.after = heads[-1].log if len(heads) == LIST_LIMIT_MAX else b""
        pull.cares_after = cares[-1].locator if len(cares) == LIST_LIMIT_MAX else b""
        if not pull.after and not pull.cares_after:
            pull.due_s = time.monotonic() + PULL_EVERY_S

    def _fetch(self, store: Store, heads: Sequence[LogHead], after: bytes) -> None:
        """Fetch from one store what it has more, or otherwise, of these logs."""
        mine = self._mine(after, heads[-1].log) if heads else {}
        registers: list[bytes] = []
        for head in heads:
            here = mine.get(head.log)
            if here is not None and here.digest == head.digest:
                continue
            if head.register:
                if here is None or here.seq <= head.seq:
                    registers.append(head.log)
            else:
                self._fetch_log(store, head, here)
        for first in range(0, len(registers), LASTS_AT_ONCE):
            wanted = registers[first : first + LASTS_AT_ONCE]
            self._take(store.ask(lambda link, wanted=wanted: link.last(wanted)).result(PULL_ANSWER_S))  # type: ignore[misc]

    def _fetch_log(self, store: Store, head: LogHead, here: Head | None) -> None:
        seq = 1 if here is None or here.whole >= head.whole else here.whole + 1
        while seq <= head.seq:
            entries = store.ask(lambda link, seq=seq: link.read_log(head.log, seq)).result(PULL_ANSWER_S)  # type: ignore[misc]
            if not entries:
                return
            self._take(entries)
            seq = entries[-1].seq + 1

    def _mine(self, after: bytes, last: bytes) -> dict[bytes, Head]:
        found: dict[bytes, Head] = {}
        while page := self._store.heads(after, LIST_LIMIT_MAX):
            found.update((head.log, head) for head in page)
            after = page[-1].log
            if after >= last or len(page) < LIST_LIMIT_MAX:
                break
        return found

    def _take(self, entries: Sequence[Entry]) -> None:
        try:
            self._store.append_many(entries)
        except WorldError:
            for entry in entries:
                try:
                    self._store.append_many([entry])
                except WorldError:
                    self.refused += 1

    # -- foreign stores ----------------------------------------------------------------------------------------------------

    def _give_away(self, peers: Peers) -> None:
        """Leave the logs with leased stores of others while the site is small: some each time, what changed first seen first."""
        lacking = DEVICES_MIN - 1 - len(peers.own)
        if lacking <= 0 or not peers.foreign or time.monotonic() < self._give_due_s:
            return
        self._give_due_s = time.monotonic() + GIVE_EVERY_S
        for store in peers.foreign[:lacking]:
            given = self._given.setdefault(store.at.node, {})
            changed = [head for head in self._all_heads() if given.get(head.log) != head.digest]
            for head in changed[:FOREIGN_LOGS_AT_ONCE]:
                entries = self._store.read_log(head.log) if not head.register else []
                last = self._store.last(head.log) if head.register else None
                batch = [last] if last is not None else entries
                try:
                    store.ask(lambda link, batch=batch: link.append(batch)).result(ANSWER_S)  # type: ignore[misc]
                except (WorldError, TimeoutError):
                    break
                given[head.log] = head.digest

    def _all_heads(self) -> list[Head]:
        found: list[Head] = []
        after = b""
        while page := self._store.heads(after, LIST_LIMIT_MAX):
            found += page
            after = page[-1].log
            if len(page) < LIST_LIMIT_MAX:
                break
        return found
