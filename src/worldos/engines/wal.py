"""PostgreSQL's write-ahead log as files: which segment a position is in, which pages are written, and what is new since.

A position (LSN) is a number of bytes since the log began, written ``0/3032F00``. The log lies in segments of 16 MiB, named by
timeline and number, in pages of 8 KiB; each page begins with its own position, so what was not written yet can be told from what
was. ``pg_receivewal`` writes a segment under its name with ``.partial`` until it is whole. The functions below the line run on
the seat, where these files lie in the working folder. Sizes in bytes. Source: postgresql.org/docs, "WAL Internals";
src/include/access/xlog_internal.h (XLogPageHeaderData, XLogFileName).
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from worldos.errors import PeerBroke

PAGE_BYTES: Final = 8192
SEGMENT_BYTES: Final = 16 << 20
TIMELINE: Final = 1  # a database that goes on from its own log by crash recovery stays on the first
LOOK_BYTES: Final = 8 * PAGE_BYTES
PARTIAL: Final = ".partial"
_PAGE = struct.Struct("<HHIQ")  # magic, flags, timeline, its own position
_SEGMENTS_PER_ID: Final = (1 << 32) // SEGMENT_BYTES
_NAME = re.compile(r"[0-9A-F]{24}")
_LSN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")


def position_of(lsn: str) -> int:
    """Read a position as PostgreSQL writes it."""
    match = _LSN.fullmatch(lsn)
    if match is None:
        raise PeerBroke(f"{lsn[:40]!r} is no position in a log of PostgreSQL")
    return int(match[1], 16) << 32 | int(match[2], 16)


def segment_start(position: int) -> int:
    """Return where the segment begins that a position is in."""
    return position - position % SEGMENT_BYTES


def segment_name(position: int) -> str:
    """Name the segment that a position is in."""
    number = position // SEGMENT_BYTES
    return f"{TIMELINE:08X}{number // _SEGMENTS_PER_ID:08X}{number % _SEGMENTS_PER_ID:08X}"


def named_start(name: str) -> int:
    """Return where a segment of this name begins."""
    return (int(name[8:16], 16) * _SEGMENTS_PER_ID + int(name[16:24], 16)) * SEGMENT_BYTES


def written_bytes(data: bytes, position: int) -> int:
    """Return how many of the bytes from a position on, the beginning of a page, are pages that are written."""
    for offset in range(0, len(data), PAGE_BYTES):
        head = data[offset : offset + _PAGE.size]
        if len(head) < _PAGE.size or _PAGE.unpack(head)[3] != position + offset:
            return offset
    return len(data)


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What the log has from a position on, up to the end of its segment.

    ``whole``: nothing will be added to that. ``gone``: there is log beyond, and this part of it is not here any more.
    """

    data: bytes
    whole: bool = False
    gone: bool = False


# -- on the seat ------------------------------------------------------------------------------------------------------------


def news(position: int, most_bytes: int) -> News:
    """Read what is written from a position on, the beginning of a page; never beyond its segment."""
    name, offset = segment_name(position), position % SEGMENT_BYTES
    size = min(most_bytes, SEGMENT_BYTES - offset)
    for file, whole in ((name, True), (name + PARTIAL, False), (name, True)):  # it may be renamed in between
        try:
            with Path(file).open("rb") as opened:
                opened.seek(offset)
                data = opened.read(size) if whole else _written(opened, position, size)
        except FileNotFoundError:
            continue
        return News(data=data, whole=whole and offset + len(data) == SEGMENT_BYTES)
    return News(data=b"", gone=any(named_start(file.name) > position for file in _segments()))


def _written(opened: BinaryIO, position: int, size: int) -> bytes:
    """Read pages as long as they are written: most of a segment that is not whole is not."""
    data = bytearray()
    while len(data) < size and (block := opened.read(min(LOOK_BYTES, size - len(data)))):
        written = written_bytes(block, position + len(data))
        data += block[:written]
        if written < len(block):
            break
    return bytes(data)


def waiting_bytes(position: int) -> int:
    """Return how much of the log lies here beyond a position, at most; the last segment counts by its pages."""
    last = max([named_start(file.name) for file in _segments()], default=position)
    inside = news(last, SEGMENT_BYTES).data if last + SEGMENT_BYTES > position else b""
    return max(0, last + len(inside) - position)


def let_go(position: int) -> None:
    """Remove the whole segments before a position."""
    for file in _segments():
        if file.suffix != PARTIAL and named_start(file.name) + SEGMENT_BYTES <= position:
            file.unlink(missing_ok=True)


def _segments() -> list[Path]:
    return [file for file in Path().iterdir() if _NAME.fullmatch(file.name.removesuffix(PARTIAL))]
