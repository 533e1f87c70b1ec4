"""Opening a depot: what the index does not know yet is taken from the packs, and the last pack goes on where it ended.

A frame at the very end whose trailer does not fit was never acknowledged, and is cut off; one that lies before good frames was
damaged later, or never acknowledged either: it is set aside, which is as if it were not there, until it is made good.
An index that cannot be read, or speaks of packs that are gone, is made again from all packs.
"""

from __future__ import annotations

from pathlib import Path

from worldos.depot.index import KINDS, NOWHERE, Index, State, mark_of
from worldos.depot.packs import Found, Packs
from worldos.depot.records import Place, Row
from worldos.depot.scrub import is_good
from worldos.errors import CorruptFile, DiskFull
from worldos.store import pack as frames
from worldos.store.entry import decode_entry
from worldos.store.pack import HEADER_BYTES, CareMeta, IdsMeta, Kind


def open_index(packs: Packs, folder: Path) -> Index:
    """Open the index, make it tell what the packs hold, and go on in the last pack."""
    file = folder / "index"
    index = _read_index(packs, file)
    ends = catch_up(packs, index)
    there = set(packs.numbers())
    gone = [number for number in index.alive if number not in there]
    if any(index.alive[number] for number in gone):  # a pack was taken away, not compacted
        index.close()
        index = _new_index(file)
        ends = catch_up(packs, index)
        gone = []
    for number in gone:
        index.forget_pack(number)
    _resume(packs, folder, ends)
    if packs.active >= 0:
        index.set_indexed(packs.active, packs.end, 0)
    return index


def catch_up(packs: Packs, index: Index) -> dict[int, int]:
    """Take what the index does not know yet from the packs; return where each pack that was walked ends."""
    first, from_offset = index.indexed
    numbers = packs.numbers()
    if numbers and first > numbers[-1]:  # the pack that was the last is gone: the one before it may have gone on
        first, from_offset = numbers[-1], 0
    numbers = [number for number in numbers if number >= first]
    ends: dict[int, int] = {}
    order = index.order
    for number in numbers:
        ends[number] = start = max(HEADER_BYTES, from_offset if number == first else 0)
        torn: list[tuple[Place, Found]] = []
        for found in packs.walk(number, start):
            header = found.header
            order = max(order, header.order)
            place = Place(number, header.offset, header.meta_bytes, header.body_bytes)
            if not found.good:
                torn.append((place, found._replace(meta=memoryview(bytes(found.meta)), body=memoryview(b""))))
                continue
            for bad_place, bad in torn:
                _take(packs, index, bad_place, bad)
            torn.clear()
            _take(packs, index, place, found)
            ends[number] = header.end
        if number != numbers[-1]:  # at the end of the last one they were never acknowledged
            for bad_place, bad in torn:
                _take(packs, index, bad_place, bad)
                ends[number] = bad.header.end
    if numbers:
        index.forget_pack(NOWHERE)
        index.set_indexed(numbers[-1], ends[numbers[-1]], order)
    return ends


def _read_index(packs: Packs, file: Path) -> Index:
    try:
        index = Index(file)
    except CorruptFile:
        return _new_index(file)
    pack, end = index.indexed
    if pack not in packs.numbers() or packs.size(pack) >= end:
        return index
    index.close()  # packs of an older day were put here
    return _new_index(file)


def _new_index(file: Path) -> Index:
    for part in ("", "-wal", "-shm"):
        file.with_name(file.name + part).unlink(missing_ok=True)
    try:
        return Index(file)
    except CorruptFile:
        return Index(None)  # the disk is full or read-only: the packs can still be answered from


def _resume(packs: Packs, folder: Path, ends: dict[int, int]) -> None:
    """Go on in the last pack; one that was cut while it was made goes, and the one before it goes on."""
    numbers = packs.numbers()
    try:
        while numbers and not _was_made(packs, numbers[-1]):
            if ends.get(numbers[-1], HEADER_BYTES) > HEADER_BYTES:
                return  # its opening went bad later: the next frame makes a new one
            packs.remove(numbers.pop())
        if not numbers:
            return
        for number in numbers[:-1]:
            if number in ends:
                packs.cut(number, ends[number])
        last = numbers[-1]
        end = ends.get(last) or max([HEADER_BYTES, *(found.header.end for found in packs.walk(last))])
        packs.resume(last, end)
    except OSError as cause:
        raise DiskFull(f"the depot {folder} cannot be written") from cause


def _was_made(packs: Packs, number: int) -> bool:
    try:
        frames.read_opening(packs.read(number, 0, HEADER_BYTES))
    except CorruptFile:
        return False
    return True


def _take(packs: Packs, index: Index, place: Place, found: Found) -> None:
    """Tell the index of a frame that was met on a walk."""
    header = found.header
    try:
        match header.kind:
            case Kind.SHARE:
                meta = frames.read_share_meta(found.meta, header)
                state = State.ALIVE if found.good else State.BAD
                mark = frames.trailer_of(header.id, found.body) if found.good else b""
                owner, kind = index.owner_number(meta.owner), KINDS.index(meta.kind)
                order = header.order
                row = Row(*place, meta.size_bytes, order, state, order, 0, owner, kind, mark)
                index.take_share(header.id, row)
            case Kind.ENTRY if found.good:
                entry = decode_entry(bytes(found.body))
                index.take_entry(
                    header.id, entry.seq, place, mark_of(entry), public=entry.public, register=entry.register
                )
            case Kind.DROP | Kind.RESTORE | Kind.BAD if found.good:
                at_ns = frames.read_meta(found.meta, IdsMeta).at_ns
                ids = frames.split_ids(found.body)
                if header.kind == Kind.RESTORE:  # it may have come too late: its bytes were given up
                    for share_id in ids:
                        _purge_if_empty(packs, index, share_id)
                index.take_state(header.kind, ids, header.order, at_ns)
            case Kind.CARE | Kind.FORGET if found.good:
                owner_name = frames.read_meta(found.meta, CareMeta).owner
                index.take_care(header.id, place, header.order, bytes(found.body), owner_name)
            case _:
                pass
    except (CorruptFile, ValueError):
        return  # a frame of ours that cannot be read is as one that is not there


def _purge_if_empty(packs: Packs, index: Index, share_id: bytes) -> None:
    row = index.share(share_id)
    if row is not None and row.state == State.TRASH and row.pack != NOWHERE and not is_good(packs, index, share_id):
        index.purge(share_id, row)
