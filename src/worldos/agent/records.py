"""Records: the bytes of a write-ahead log, and how much of them can be believed after anything that a disk may do.

A segment is a file of records on 32-byte borders: ``length u32 | body crc32 u32 | round u64 | life u64 | spare u32 | head
crc32 u32 | body``, zeros up to the border, zeros after the last record (room is zeroed ahead of need). Rounds count up by one
over all lives; a round is written only when the one before it is on the disk. So only the last round can be *torn*, and a
torn one lacks its end or has a sector that is still all zeros, since a disk writes a sector whole or not at all; a head lies
in one sector. Everything else that does not fit was once whole and is no more: that is *damage*, which is named.
Whether a record is whole is all that is judged here; what it means is ``kernel/stored.py``.
Source: etcd, wal/decoder.go (isTornEntry); Alagappan et al., Protocol-Aware Recovery for Consensus-Based Storage, FAST 2018.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

HEAD = struct.Struct("<IIQQII")
BORDER_BYTES = HEAD.size
SECTOR_BYTES = 512
RECORD_BYTES_MAX = 256 * 1024 * 1024  # a body; a head that says more was never written

_NO_HEAD = bytes(HEAD.size)
_NO_SECTOR = bytes(SECTOR_BYTES)


class Record(NamedTuple):
    """A whole record: which round of which life, and what was written."""

    round: int
    life: int
    body: bytes


class Scan(NamedTuple):
    """What a segment holds. ``torn``: it ends in half a record; ``damage``: empty, or what is wrong and where."""

    records: list[Record]
    torn: bool
    damage: str


def frame(round_number: int, life: int, body: bytes) -> bytes:
    """Return the bytes of a record, up to its border."""
    assert len(body) <= RECORD_BYTES_MAX, f"a round of {len(body)} bytes"
    head = HEAD.pack(len(body), zlib.crc32(body), round_number, life, 0, 0)[:-4]
    return b"".join((head, zlib.crc32(head).to_bytes(4, "little"), body, bytes(-len(body) % BORDER_BYTES)))


def scan(data: bytes) -> Scan:
    """Read a segment."""
    records: list[Record] = []
    at = 0
    while at + HEAD.size <= len(data):
        found = _record_at(data, at)
        if found is None:
            break
        if records and found.round != records[-1].round + 1:
            return Scan(records, torn=False, damage=f"round {records[-1].round + 1} is missing at byte {at}")
        records.append(found)
        at = _end_of(at, len(found.body))
    if not data[at:].strip(b"\0"):
        return Scan(records, torn=False, damage="")
    return Scan(records, *_judge(data, at, records[-1].round if records else 0))


def _end_of(at: int, length: int) -> int:
    end = at + HEAD.size + length
    return end + -end % BORDER_BYTES


def _head_at(data: bytes, at: int) -> tuple[int, int, int, int] | None:
    """Return length, checksum, round and life, if a head stands here."""
    head = data[at : at + HEAD.size]
    if len(head) < HEAD.size or head == _NO_HEAD:
        return None
    length, crc, round_number, life, _, head_crc = HEAD.unpack(head)
    if zlib.crc32(head[:-4]) != head_crc or length > RECORD_BYTES_MAX:
        return None
    return length, crc, round_number, life


def _record_at(data: bytes, at: int) -> Record | None:
    head = _head_at(data, at)
    if head is None:
        return None
    length, crc, round_number, life = head
    body = data[at + HEAD.size : at + HEAD.size + length]
    if len(body) < length or zlib.crc32(body) != crc:
        return None
    return Record(round_number, life, body)


def _judge(data: bytes, at: int, known_round: int) -> tuple[bool, str]:
    """Say what the bytes from ``at`` on are, which are no record: a torn one, or damage."""
    for later in range(at + BORDER_BYTES, len(data) - HEAD.size + 1, BORDER_BYTES):
        found = _head_at(data, later)
        if found is not None and found[2] > known_round and _record_at(data, later) is not None:
            return False, f"bytes {at} to {later} are no record, and a good one follows"
    head = _head_at(data, at)
    if head is None:
        half = len(data) - at < HEAD.size or data[at : at + HEAD.size] == _NO_HEAD
        return (True, "") if half else (False, f"the head at byte {at} is damaged")
    length, _, round_number, _ = head
    end = at + HEAD.size + length
    first = at - at % SECTOR_BYTES
    half = end > len(data) or any(
        data[sector : sector + SECTOR_BYTES] == _NO_SECTOR[: len(data) - sector]
        for sector in range(first, end, SECTOR_BYTES)
    )
    return (True, "") if half else (False, f"round {round_number} at byte {at} is damaged")
