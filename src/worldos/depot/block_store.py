"""What a node keeps for its stores: shares, logs and cares, durable before they are acknowledged.

Packs are the truth (``packs``), the index can be made again from them (``index``), one thread writes (``writer``). A share never
changes: the same bytes under a known id are done at once, other bytes are refused. What is dropped lies in the trash for
seven days, or less where room is wanted (``trash``); a share whose bytes went bad is set aside and not answered any more
(``scrub``), until it is put again.

Invariant: what was acknowledged is still there after any kill or power cut, and no byte is served that was not put.
Thread-safe; one process a folder. Sizes in bytes, moments in ns. Source: docs/decisions/0013-pack-store.md.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from worldos.depot.index import KINDS, State, mark_of
from worldos.depot.limits import TRASH_NS
from worldos.depot.packs import Packs
from worldos.depot.records import Cared, Head, Place, Row, Scrubbed, Usage
from worldos.depot.replay import catch_up, open_index
from worldos.depot.scrub import is_good, scrub
from worldos.depot.trash import Trash
from worldos.depot.writer import Ticket, Waiting, Writer
from worldos.errors import BadRequest, CorruptFile, DiskFull, NotAllowed, OverQuota, PeerBroke
from worldos.store import pack as frames
from worldos.store.entry import Entry, check_entry, decode_entry, encode_entry
from worldos.store.limits import PACK_BODY_BYTES_MAX, PACK_BYTES, PACK_IDS_MAX
from worldos.store.pack import HEADER_BYTES, ID_BYTES, KEY_BYTES, Buffer, CareMeta, EntryMeta, IdsMeta, Kind, ShareMeta

READ_ENTRIES_MAX: Final = 4096
_NO_ID: Final = bytes(ID_BYTES)
_NO_SUCH: Final = "no such share"


class BlockStore:
    """The depot of one folder. ``capacity_bytes``: what its packs may take of the disk, all in all."""

    def __init__(
        self,
        folder: Path,
        *,
        capacity_bytes: int,
        pack_bytes: int = PACK_BYTES,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder = folder
        self._capacity_bytes = capacity_bytes
        self._now_ns = now_ns
        self._packs = Packs(folder, new_key=secrets.token_bytes(KEY_BYTES), pack_bytes=pack_bytes)
        try:
            self._index = open_index(self._packs, folder)
        except BaseException:
            self._packs.close()
            raise
        self._coming: dict[bytes, tuple[bytes, Future[None]]] = {}
        self._lock = threading.Lock()
        self._trash = Trash(self._packs, self._index)
        self._writer = Writer(self._packs, self._index, free=self._free, recover=self._recover)
        self._trash.writer = self._writer
        self._disk_bytes = sum(self._packs.disk_bytes(number) for number in self._packs.numbers())

    def close(self) -> None:
        """Finish what was begun and let the folder go."""
        self._writer.close()
        self._writer.commit()
        self._index.close()
        self._packs.close()

    def __enter__(self) -> BlockStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recover(self) -> None:
        """The index could not be written: begin again from its last commit."""
        with self._index.lock:
            self._index.roll_back()
            catch_up(self._packs, self._index)

    # -- shares

    def put(self, share_id: bytes, data: Buffer, *, digests: bytes = b"", owner: str = "", kind: str = "share") -> None:
        """Keep a share; return when it is on the disk. NotAllowed for other bytes under a known id."""
        self._put([(share_id, data, digests)], owner, kind, help_write=True).result()

    def put_soon(
        self, share_id: bytes, data: Buffer, *, digests: bytes = b"", owner: str = "", kind: str = "share"
    ) -> Future[None]:
        """Begin to keep a share; the future is done when it is on the disk. ``data`` must not change before."""
        return self.put_many([(share_id, data, digests)], owner=owner, kind=kind)

    def put_many(
        self, shares: Sequence[tuple[bytes, Buffer, bytes]], *, owner: str = "", kind: str = "share"
    ) -> Future[None]:
        """Begin to keep many shares (id, data, digests); the future is done when all are on the disk."""
        return self._put(shares, owner, kind, help_write=False)

    def _put(
        self, shares: Sequence[tuple[bytes, Buffer, bytes]], owner: str, kind: str, *, help_write: bool
    ) -> Future[None]:
        if kind not in KINDS[:2]:
            raise BadRequest(f"a share is of kind share or cache, not {kind!r}")
        ticket = Ticket(len(shares))
        owner_number, kind_number = self._index.owner_number(owner), KINDS.index(kind)
        items: list[Waiting] = []
        meta_of: dict[int, bytes] = {}
        for share_id, data, digests in shares:
            view = memoryview(data).cast("B")
            if len(share_id) != ID_BYTES or len(view) + len(digests) > PACK_BODY_BYTES_MAX:
                raise BadRequest(f"a share has an id of {ID_BYTES} bytes and at most {PACK_BODY_BYTES_MAX} bytes")
            size = len(view)
            meta = meta_of.get(size) or meta_of.setdefault(size, frames.encode_meta(ShareMeta(owner, kind, size)))
            item = Waiting(Kind.SHARE, share_id, meta, (view, digests) if digests else (view,), ticket, None)
            item.row = size, owner_number, kind_number
            items.append(item)
        fresh = self._admit(items, ticket)
        if fresh:
            try:
                self._claim_room(sum(item.size_bytes for item in fresh))
                self._writer.submit(fresh, help_write=help_write)
            except BaseException:
                self._forget_coming(fresh)
                raise
            ticket.done.add_done_callback(lambda _: self._forget_coming(fresh))
        return ticket.done

    def _admit(self, items: list[Waiting], ticket: Ticket) -> list[Waiting]:
        """Return those that must be written; the others are here, or on their way."""
        fresh: list[Waiting] = []
        try:
            for item in items:
                if self._is_new(item, ticket):
                    fresh.append(item)  # noqa: PERF401 - those before an error must be known
        except BaseException:
            self._forget_coming(fresh)
            raise
        return fresh

    def _is_new(self, item: Waiting, ticket: Ticket) -> bool:
        while True:
            with self._lock:
                coming = self._coming.get(item.id)
                row = self._index.share(item.id) if coming is None else None
                if coming is None and (row is None or row.state in {State.BAD, State.PURGED}):
                    if row is not None:
                        item.taken, item.row = self._taker_of_share(item), None
                    self._coming[item.id] = item.trailer, ticket.done
                    return True
            mark = coming[0] if coming is not None else row.mark if row is not None else b""
            if mark != item.trailer:
                raise NotAllowed("other bytes are kept under this id: a share never changes")
            if coming is not None and coming[1] is not ticket.done:
                coming[1].add_done_callback(_follow(ticket))
                return False
            if row is not None and row.state == State.TRASH and not self.restore([item.id]):
                self._index.purge(item.id, row)  # its bytes are gone, so these are new
                continue
            ticket.one_done()
            return False

    def _taker_of_share(self, item: Waiting) -> Callable[[Place, int], None]:
        assert item.row is not None
        size, owner, kind = item.row
        share_id, mark = item.id, item.trailer

        def taken(place: Place, order: int) -> None:
            self._index.take_share(share_id, Row(*place, size, order, State.ALIVE, order, 0, owner, kind, mark))

        return taken

    def _forget_coming(self, items: list[Waiting]) -> None:
        with self._lock:
            for item in items:
                self._coming.pop(item.id, None)

    def _claim_room(self, size: int) -> None:
        def over() -> int:
            return self.disk_bytes + self._writer.queued_bytes + size - self._capacity_bytes

        if over() > 0:
            self._free(over())
        while over() > 0 and (cached := self._index.of_kind("cache", PACK_IDS_MAX)):  # it is elsewhere as well
            self.drop(cached)
        if (missing := over()) > 0:
            free = max(0, size - missing)
            raise OverQuota(f"the space lent here is used up: {size} bytes were asked for, and {free} are free")

    def get(self, share_id: bytes, offset: int = 0, length: int = -1, into: memoryview | None = None) -> memoryview:
        """Read a share, or ``length`` bytes of it (-1: to its end); BadRequest if it is not here or shorter."""
        for _ in range(3):
            row = self._index.share(share_id)
            if row is None or row.state != State.ALIVE:
                raise BadRequest(_NO_SUCH)
            count = row.size_bytes - offset if length < 0 else length
            if offset < 0 or count < 0 or offset + count > row.size_bytes:
                raise BadRequest(f"a share of {row.size_bytes} bytes has none from {offset} to {offset + count}")
            if into is not None and len(into) < count:
                raise BadRequest(f"{count} bytes do not fit into {len(into)}")
            try:
                return self._packs.read(row.pack, row.offset + HEADER_BYTES + row.meta_bytes + offset, count, into)
            except (CorruptFile, OSError):
                if self._index.share(share_id) == row:  # it was not moved just now: the disk has lost it
                    self._set_aside([share_id])
                    break
        raise BadRequest(_NO_SUCH)

    def digests(self, share_id: bytes) -> bytes:
        """Return the digests of the leaves that came with a share."""
        row = self._index.share(share_id)
        if row is None or row.state != State.ALIVE:
            raise BadRequest(_NO_SUCH)
        at = row.offset + HEADER_BYTES + row.meta_bytes + row.size_bytes
        try:
            return bytes(self._packs.read(row.pack, at, row.body_bytes - row.size_bytes))
        except (CorruptFile, OSError):
            if self._index.share(share_id) != row:
                return self.digests(share_id)
            self._set_aside([share_id])
            raise BadRequest(_NO_SUCH) from None

    def have(self, ids: Sequence[bytes]) -> list[int]:
        """Return the size of each share, -1 for those that are not here."""
        return self._index.sizes(ids)

    def drop(self, ids: Iterable[bytes], *, owner: str | None = None) -> int:
        """Throw shares away, those of ``owner`` alone if given; return how many were here. What is cached goes at once."""
        known = self._in_state(ids, State.ALIVE, owner)
        count = self._say(Kind.DROP, known)
        for share_id in known:
            row = self._index.share(share_id)
            if row is not None and row.kind == KINDS.index("cache"):
                self._trash.give_up(share_id)
        return count

    def restore(self, ids: Iterable[bytes], *, owner: str | None = None) -> int:
        """Take shares back from the trash; return how many were still in it."""
        return self._say(
            Kind.RESTORE,
            [share for share in self._in_state(ids, State.TRASH, owner) if is_good(self._packs, self._index, share)],
        )

    def check(self, ids: Iterable[bytes]) -> tuple[bytes, ...]:
        """Read shares whole, set aside those that are damaged, and return these."""
        bad = [
            share for share in self._in_state(ids, State.ALIVE, None) if not is_good(self._packs, self._index, share)
        ]
        self._set_aside(bad)
        return tuple(bad)

    def _in_state(self, ids: Iterable[bytes], state: State, owner: str | None) -> list[bytes]:
        number = None if owner is None else self._index.owners.get(owner, -1)
        found = []
        for share_id in dict.fromkeys(ids):
            row = self._index.share(share_id)
            if row is not None and row.state == state and number in {None, row.owner}:
                found.append(share_id)
        return found

    def _set_aside(self, ids: Sequence[bytes]) -> None:
        if not ids:
            return
        try:
            self._say(Kind.BAD, ids)
        except DiskFull:  # then it is known for as long as this process lives, and a scrub will find it again
            for share_id in ids:
                row = self._index.share(share_id)
                if row is not None:
                    self._index.take_state(Kind.BAD, [share_id], row.state_order + 1, self._now_ns())

    def _say(self, kind: Kind, ids: Sequence[bytes]) -> int:
        changed: list[int] = []
        groups = [ids[at : at + PACK_IDS_MAX] for at in range(0, len(ids), PACK_IDS_MAX)]
        ticket = Ticket(len(groups))
        at_ns = self._now_ns()
        meta = frames.encode_meta(IdsMeta(at_ns))

        def taker(group: Sequence[bytes]) -> Callable[[Place, int], None]:
            return lambda _, order: changed.append(self._index.take_state(kind, group, order, at_ns))

        self._writer.submit(
            [Waiting(kind, _NO_ID, meta, (b"".join(group),), ticket, taker(group)) for group in groups], help_write=True
        )
        ticket.done.result()
        return sum(changed)

    # -- logs

    def append(self, entry: Entry) -> bool:
        """Take in an entry; return when it is on the disk, and whether it was news."""
        return self.append_many([entry])[0]

    def append_many(self, entries: Sequence[Entry]) -> list[bool]:
        """Take in entries with one sync. BadSignature or NotAllowed for one of them keeps all of them out."""
        news = [False] * len(entries)
        writers: dict[bytes, tuple[bytes, bool]] = {}
        for entry in entries:
            check_entry(entry)
            known = self._index.head(entry.log)
            writer = (known[1], known[0].register) if known else writers.setdefault(entry.log, _writer_of(entry))
            if writer != _writer_of(entry):
                raise NotAllowed("this log belongs to another key")
        items: list[Waiting] = []
        ticket = Ticket(len(entries))

        def taker(at: int, entry: Entry, mark: bytes) -> Callable[[Place, int], None]:
            def taken(place: Place, _: int) -> None:
                news[at] = self._index.take_entry(
                    entry.log, entry.seq, place, mark, public=entry.public, register=entry.register
                )

            return taken

        for at, entry in enumerate(entries):
            mark = mark_of(entry)
            if self._is_old(entry, mark):
                ticket.one_done()
                continue
            meta = frames.encode_meta(EntryMeta(entry.seq))
            taken = taker(at, entry, mark)
            items.append(Waiting(Kind.ENTRY, entry.log, meta, (encode_entry(entry),), ticket, taken))
        if items:
            self._writer.submit(items, help_write=True)
        ticket.done.result()
        return news

    def _is_old(self, entry: Entry, mark: bytes) -> bool:
        known = self._index.head(entry.log)
        if known is None:
            return False
        if entry.register and entry.seq < known[0].seq:
            return True
        old = self._index.entry(entry.log, entry.seq)
        return old is not None and old[1] <= mark

    def read_log(self, log: bytes, from_seq: int = 0, max_bytes: int = 1 << 22) -> list[Entry]:
        """Return the entries of a log from ``from_seq`` on, in order: as many as fit, one at least if there is one."""
        read: list[Entry] = []
        size = 0
        for seq, place in self._index.entries(log, from_seq, READ_ENTRIES_MAX):
            size += place.body_bytes
            if read and size > max_bytes:
                break
            entry = self._entry(log, seq)
            if entry is not None:
                read.append(entry)
        return read

    def last(self, log: bytes) -> Entry | None:
        """Return the last entry of a log."""
        while (known := self._index.head(log)) is not None and known[0].seq:
            entry = self._entry(log, known[0].seq)
            if entry is not None:
                return entry
        return None

    def _entry(self, log: bytes, seq: int) -> Entry | None:
        """Read an entry; one that is damaged is forgotten, so that it is missed and comes again."""
        while (known := self._index.entry(log, seq)) is not None:
            try:
                found = self._packs.frame(known[0].pack, known[0].offset)
                if found.good and found.header.id == log:
                    return decode_entry(bytes(found.body))
            except (CorruptFile, PeerBroke, OSError):
                pass
            if self._index.entry(log, seq) == known:
                self._index.lose_entry(log, seq)
        return None

    def heads(self, after: bytes = b"", limit: int = 4096) -> list[Head]:
        """Return logs and how far they go, in the order of their ids."""
        return self._index.heads(after, limit)

    # -- cares

    def care(self, locator: bytes, verify_secret: bytes, owner: str) -> None:
        """Look after this locator from now on."""
        known = self._index.care(locator)
        if known is None or known.verify != verify_secret or known.owner != owner:
            self._say_care(Kind.CARE, locator, verify_secret, owner)

    def forget_care(self, locator: bytes) -> None:
        """Look after it no more."""
        if self._index.care(locator) is not None:
            self._say_care(Kind.FORGET, locator, b"", "")

    def cares(self, after: bytes = b"", limit: int = 4096) -> list[Cared]:
        """Return what is looked after, in the order of the locators."""
        return self._index.cares(after, limit)

    def _say_care(self, kind: Kind, locator: bytes, verify: bytes, owner: str) -> None:
        if len(locator) != ID_BYTES:
            raise BadRequest(f"a locator has {ID_BYTES} bytes")
        ticket = Ticket(1)

        def taken(place: Place, order: int) -> None:
            self._index.take_care(locator, place, order, verify, owner)

        meta = frames.encode_meta(CareMeta(owner))
        self._writer.submit([Waiting(kind, locator, meta, (verify,), ticket, taken)], help_write=True)
        ticket.done.result()

    # -- room

    @property
    def disk_bytes(self) -> int:
        """Return what the packs take of the disk."""
        return self._disk_bytes + self._writer.written_bytes - self._trash.freed_bytes

    def set_capacity(self, capacity_bytes: int) -> None:
        """Lend more, or less; what is here stays."""
        self._capacity_bytes = capacity_bytes

    def used_by(self, owner: str) -> int:
        """Return how many bytes of shares an account has here."""
        return self._index.used_by(owner)

    def usage(self) -> Usage:
        """Return what is kept here."""
        disk = os.statvfs(self.folder)
        disk_bytes = self.disk_bytes
        return Usage(
            capacity_bytes=self._capacity_bytes,
            disk_bytes=disk_bytes,
            free_bytes=max(0, min(self._capacity_bytes - disk_bytes, disk.f_bavail * disk.f_frsize)),
            trash_bytes=self._index.trash_bytes(),
            damaged=self._index.damaged(),
            owned=self._index.all_owned(),
        )

    def _free(self, size: int) -> int:
        return self._trash.empty(frames.ORDER_MAX, size)  # however the clock has jumped

    def tidy(self) -> bool:
        """Empty what is older than seven days from the trash, and compact one pack; return whether more is to do."""
        self._trash.empty(self._now_ns() - TRASH_NS, 0)
        return self._trash.compact()

    def scrub(self, after: bytes = b"", budget_bytes: int = 1 << 28) -> Scrubbed:
        """Read on from ``after``, about ``budget_bytes``, checking every byte; damaged shares are set aside."""
        found = scrub(self._packs, self._index, after, budget_bytes)
        bad = self.check(share_id for share_id, kind in found.bad if kind == Kind.SHARE)
        return Scrubbed(checked=found.checked, checked_bytes=found.checked_bytes, bad=bad, next=found.next)


def _writer_of(entry: Entry) -> tuple[bytes, bool]:
    return entry.public, entry.register


def _follow(ticket: Ticket) -> Callable[[Future[None]], None]:
    def follow(other: Future[None]) -> None:
        error = other.exception()
        if error is None:
            ticket.one_done()
        else:
            ticket.fail(error if isinstance(error, Exception) else RuntimeError(str(error)))

    return follow
