"""Reading everything again, in the order in which it lies, to find what the disk has spoilt.

A scrub goes over what counts, as the index has it, not over what it happens to find: a header that went bad is found as well.
Its cursor is ``pack (4) || offset (8)``, big-endian; an empty one is the beginning, and the end.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from worldos.depot.index import Index, State, frame_bytes
from worldos.depot.limits import SCRUB_ROWS_MAX
from worldos.depot.packs import Packs, Window
from worldos.depot.records import Place
from worldos.errors import BadRequest, CorruptFile
from worldos.store.pack import Kind

_CURSOR: Final = struct.Struct(">IQ")


class Seen(NamedTuple):
    """What was read, and what of it did not fit its trailer."""

    checked: int
    checked_bytes: int
    bad: list[tuple[bytes, Kind]]
    next: bytes


def scrub(packs: Packs, index: Index, after: bytes, budget_bytes: int) -> Seen:
    """Check frames from a cursor on until the budget is spent."""
    if len(after) not in {0, _CURSOR.size}:
        raise BadRequest("this is no place where a scrub stopped")
    pack, offset = _CURSOR.unpack(after) if after else (0, 0)
    bad: list[tuple[bytes, Kind]] = []
    checked = checked_bytes = 0
    for number in packs.numbers():
        if number < pack:
            continue
        at = offset if number == pack else 0
        try:
            window = packs.window(number)
        except CorruptFile:
            continue  # it was compacted just now
        while rows := index.of_pack(number, at, SCRUB_ROWS_MAX):
            for frame_id, place, kind in rows:
                if checked_bytes >= budget_bytes:
                    return Seen(checked, checked_bytes, bad, _CURSOR.pack(number, place.offset))
                if not _fits(packs, window, frame_id, place) and index.is_here(kind, frame_id, place):
                    bad.append((frame_id, kind))
                checked += 1
                checked_bytes += frame_bytes(place.meta_bytes, place.body_bytes)
            at = rows[-1][1].offset + 1
    return Seen(checked, checked_bytes, bad, b"")


def _fits(packs: Packs, window: Window, frame_id: bytes, place: Place) -> bool:
    try:
        found = packs.frame(place.pack, place.offset, window)
    except (CorruptFile, OSError):
        return False
    return found.good and found.header.id == frame_id


def is_good(packs: Packs, index: Index, share_id: bytes) -> bool:
    """Whether the frame of a share that is alive or in the trash is whole, wherever it is moved meanwhile."""
    while (row := index.share(share_id)) is not None and row.state in {State.ALIVE, State.TRASH}:
        try:
            found = packs.frame(row.pack, row.offset)
        except (CorruptFile, OSError):
            found = None
        if found is not None and found.good and found.header.id == share_id:
            return True
        if index.share(share_id) == row:
            return False
    return True
