"""What is not wanted any more: the bytes of dropped shares go back to the disk, and packs that are mostly dead are copied.

Emptying makes holes in packs where the system can (whole pages inside of a body), so that room comes back at once even on a disk
that is full. What is left, headers and small frames, comes back by compaction: what still counts of a pack is written again at
the end of the store with its old order, synced, written into the index, and only then is the pack removed. A drop is copied
for as long as the frame that it speaks of lies somewhere; so a walk through all packs never brings a dropped share back.
Source: the compaction threshold is Storj's (25 to 50 % alive).
"""

from __future__ import annotations

import threading

from worldos.depot.index import Index, State, mark_of
from worldos.depot.limits import COMPACT_ALIVE_PERCENT, GROUP_BYTES_MAX, TRASH_ROWS_MAX
from worldos.depot.packs import Found, Packs
from worldos.depot.records import Place, Row
from worldos.depot.writer import Taken, Ticket, Waiting, Writer
from worldos.store import pack as frames
from worldos.store.entry import decode_entry
from worldos.store.pack import HEADER_BYTES, CareMeta, Kind


class Trash:
    """Gives room back. ``freed_bytes`` counts what it gave since the store was opened."""

    writer: Writer

    def __init__(self, packs: Packs, index: Index) -> None:
        self._packs, self._index = packs, index
        self._lock = threading.Lock()
        self.freed_bytes = 0

    def empty(self, before_ns: int, wanted_bytes: int) -> int:
        """Give up what was dropped before this moment, the oldest first, until so much is free (0: all of it)."""
        freed = 0
        while rows := self._index.trash(before_ns, TRASH_ROWS_MAX):
            for share_id, row in rows:
                freed += self._give_up(share_id, row)
                if 0 < wanted_bytes <= freed:
                    break
            else:
                continue
            break
        self.freed_bytes += freed
        return freed

    def give_up(self, share_id: bytes) -> None:
        """Empty one share from the trash now."""
        row = self._index.share(share_id)
        if row is not None:
            self.freed_bytes += self._give_up(share_id, row)

    def _give_up(self, share_id: bytes, row: Row) -> int:
        if not self._index.purge(share_id, row):
            return 0  # restored meanwhile
        return self._packs.punch(row.pack, row.offset + HEADER_BYTES + row.meta_bytes, row.body_bytes)

    def compact(self) -> bool:
        """Copy what counts of the pack that is most dead, and remove it; return whether there is another one."""
        with self._lock:
            worst = self._worst()
            if not worst:
                return False
            self._compact(worst[0])
            return len(worst) > 1

    def _worst(self) -> list[int]:
        alive = self._index.alive
        parts = [(100 * alive.get(pack, 0) // max(1, self._packs.size(pack)), pack) for pack in self._packs.sealed()]
        return [pack for percent, pack in sorted(parts) if percent < COMPACT_ALIVE_PERCENT]

    def _compact(self, pack: int) -> None:
        items: list[Waiting] = []
        size = 0
        for found in self._packs.walk(pack):
            item = self._copy(pack, found)
            if item is None:
                continue
            items.append(item)
            size += item.size_bytes
            if size >= GROUP_BYTES_MAX // 2:
                self._write(items)
                items, size = [], 0
        self._write(items)
        if self._left(pack) or not self.writer.commit():
            return  # some frame could not be read on the walk: the pack stays, and a scrub will find it
        self._index.forget_pack(pack)
        self.freed_bytes += self._packs.disk_bytes(pack)
        self._packs.remove(pack)

    def _left(self, pack: int) -> bool:
        return bool(self._index.of_pack(pack, 0, 1))

    def _write(self, items: list[Waiting]) -> None:
        if not items:
            return
        ticket = Ticket(len(items))
        for item in items:
            item.ticket = ticket
        self.writer.submit(items)
        ticket.done.result()

    def _copy(self, pack: int, found: Found) -> Waiting | None:
        """Return the frame to be written again, or nothing if it does not count."""
        header = found.header
        old = Place(pack, header.offset, header.meta_bytes, header.body_bytes)
        body = bytes(found.body)
        taken: Taken | None
        match header.kind:
            case Kind.SHARE:
                row = self._index.share(header.id)
                if not found.good or row is None or not self._index.is_here(header.kind, header.id, old):
                    return None
                taken = self._move_share(header.id, row)
            case Kind.ENTRY:
                if not found.good or not self._index.is_here(header.kind, header.id, old):
                    return None
                taken = self._move_entry(body)
            case Kind.CARE | Kind.FORGET:
                if not found.good or not self._index.is_here(header.kind, header.id, old):
                    return None
                taken = self._move_care(header.id, frames.read_meta(found.meta, CareMeta).owner, body)
            case Kind.DROP | Kind.RESTORE | Kind.BAD:
                body = b"".join(self._index.still_said(frames.split_ids(body), header.order)) if found.good else b""
                if not body:
                    return None
                taken = None
        item = Waiting(header.kind, header.id, bytes(found.meta), (body,), Ticket(1), taken)
        item.order = header.order
        return item

    def _move_share(self, share_id: bytes, row: Row) -> Taken:
        def taken(place: Place, order: int) -> None:
            moved = row._replace(
                pack=place.pack, offset=place.offset, order=order, state=State.ALIVE, state_order=order, at_ns=0
            )
            self._index.take_share(share_id, moved)

        return taken

    def _move_entry(self, body: bytes) -> Taken:
        entry = decode_entry(body)

        def taken(place: Place, _: int) -> None:
            self._index.take_entry(
                entry.log, entry.seq, place, mark_of(entry), public=entry.public, register=entry.register
            )

        return taken

    def _move_care(self, locator: bytes, owner: str, verify: bytes) -> Taken:
        def taken(place: Place, order: int) -> None:
            self._index.take_care(locator, place, order, verify, owner)

        return taken
