"""The decision log on disk, as it is read: by its node, and by people beside it or after it. Nothing is written here.

What is read is never believed: a leaf counts when the signed root vouches for it, and a payload when its leaf does.
The files are described in ``decision_files.py``, which writes them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from worldos.errors import CorruptFile, NotThere, PeerBroke
from worldos.kernel.records import LEAF_BYTES, PAYLOAD_BYTES_MAX, SALT_BYTES
from worldos.trust.merkle import HASH_BYTES, leaf_hash, root_of
from worldos.trust.note import NOTE_BYTES_MAX, read_checkpoint, read_note
from worldos.trust.tiles import WIDTH, bundle, hash_reader

MAGIC: Final = b"WOSD1\n"
HEAD: Final = struct.Struct("<IIc")
NUMBER: Final = struct.Struct("<Q")
OFFER, DECISION, ERASED = b"O", b"D", b"E"


class Segment(NamedTuple):
    """Where in a segment each decision and each offer is: offset of its body, and length."""

    decisions: dict[int, tuple[int, int]]
    offers: dict[bytes, tuple[int, int]]
    end: int


class DecisionShelf:
    """The files of one log; ``durable`` decisions of them are read."""

    def __init__(self, folder: Path, durable: int) -> None:
        self.folder = folder
        self.durable = durable
        self._scanned: tuple[int, Segment] | None = None

    def signed(self) -> tuple[int, bytes]:
        """Return size and root of the last checkpoint, unchecked; 0 where nothing was signed yet."""
        note = self.load("checkpoint")
        if not note:
            return 0, b""
        try:
            checkpoint = read_checkpoint(read_note(note).text)
        except PeerBroke as cause:
            raise CorruptFile(f"{self.folder / 'checkpoint'} is damaged") from cause
        return checkpoint.size, checkpoint.root

    def load(self, name: str) -> bytes:
        """Return a small file, empty where there is none."""
        try:
            with (self.folder / name).open("rb") as stream:
                return stream.read(NOTE_BYTES_MAX * 2)
        except FileNotFoundError:
            return b""

    def leaf(self, number: int) -> bytes:
        """Return a leaf."""
        return self._piece("leaves", number * LEAF_BYTES, LEAF_BYTES)

    def leaves(self, first: int, count: int) -> bytes:
        """Return leaves one after the other."""
        return self._piece("leaves", first * LEAF_BYTES, count * LEAF_BYTES)

    def salt(self, number: int) -> bytes:
        """Return the salt of a decision; all zero where it was erased."""
        return self._piece("salts", number * SALT_BYTES, SALT_BYTES)

    def salts(self, first: int, count: int) -> bytes:
        """Return salts one after the other."""
        return self._piece("salts", first * SALT_BYTES, count * SALT_BYTES)

    def payload(self, number: int) -> bytes:
        """Return what was decided; raise NotThere where it was erased or dropped."""
        _, segment = self.segment_of(number)
        if not any(self.salt(number)):
            raise NotThere(f"decision {number} was erased", hint="its proof is still there: wos audit verify")
        at, length = segment.decisions[number]
        return self._body(number, at, length)[NUMBER.size :]

    def offer(self, number: int, hashed: bytes) -> bytes:
        """Return an offer that a decision was made from."""
        _, segment = self.segment_of(number)
        if hashed not in segment.offers:
            raise CorruptFile(f"{self.folder} lacks an offer that decision {number} was made from")
        at, length = segment.offers[hashed]
        return self._body(number, at, length)[HASH_BYTES:]

    def root(self, size: int) -> bytes:
        """Return the root over the first decisions."""
        return root_of(hash_reader(self.read_tile, size), size)

    def read_tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first hashes of a tile (trust/tiles.py)."""
        if level:
            return self._piece(f"level{level}", index * WIDTH * HASH_BYTES, width * HASH_BYTES)
        data = self.leaves(index * WIDTH, width)
        return b"".join([leaf_hash(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)])

    def read_entries(self, index: int, width: int) -> bytes:
        """Return a bundle of leaves."""
        data = self.leaves(index * WIDTH, width)
        return bundle([data[at : at + LEAF_BYTES] for at in range(0, len(data), LEAF_BYTES)])

    def segment_path(self, first: int) -> Path:
        """Return the file that begins with this decision."""
        return self.folder / "segments" / f"{first:012d}"

    def firsts(self) -> list[int]:
        """Return the first decision of each segment that is kept."""
        return sorted(int(path.name) for path in (self.folder / "segments").iterdir() if path.name.isdecimal())

    def segment_of(self, number: int) -> tuple[int, Segment]:
        """Return the segment that has a decision; raise NotThere where none has."""
        if not 0 <= number < self.durable:
            raise NotThere(f"there is no decision {number}", hint="wos audit show lists the last ones")
        first = max((first for first in self.firsts() if first <= number), default=-1)
        if first < 0:
            raise NotThere(f"decision {number} is too old: its words were dropped, its proof is still there")
        if self._scanned is None or self._scanned[0] != first or number not in self._scanned[1].decisions:
            self._scanned = (first, scan(self.segment_path(first)))
        if number not in self._scanned[1].decisions:
            raise CorruptFile(f"{self.segment_path(first)} lacks decision {number}")
        return self._scanned

    def _body(self, number: int, at: int, length: int) -> bytes:
        first, _ = self.segment_of(number)
        with self.segment_path(first).open("rb") as stream:
            stream.seek(at)
            return stream.read(length)

    def _piece(self, name: str, at: int, size: int) -> bytes:
        try:
            with (self.folder / name).open("rb") as stream:
                data = os.pread(stream.fileno(), size, at)
        except FileNotFoundError:
            data = b""
        if len(data) != size:
            raise CorruptFile(f"{self.folder / name} is shorter than it was")
        return data


def open_shelf(folder: Path) -> DecisionShelf:
    """Open the log of a home for reading, up to its last checkpoint."""
    shelf = DecisionShelf(folder, 0)
    if not folder.is_dir():
        raise NotThere("this home has no decision log", hint="an agent keeps one: wos up")
    shelf.durable = shelf.signed()[0]
    return shelf


def scan(path: Path, *, torn: bool = False) -> Segment:
    """Return where everything in a segment is; a torn end is left out, damage raises CorruptFile, or ends it if ``torn``."""
    decisions: dict[int, tuple[int, int]] = {}
    offers: dict[bytes, tuple[int, int]] = {}
    end = len(MAGIC)
    for kind, at, body in read_segment(path, torn=torn):
        if kind == OFFER:
            offers[body[:HASH_BYTES]] = (at, len(body))
        else:
            decisions[NUMBER.unpack_from(body)[0]] = (at, len(body))
        end = at + len(body)
    return Segment(decisions, offers, end)


def read_segment(path: Path, *, torn: bool = False) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield each record's kind, where its body is, and the body."""
    data = path.read_bytes()
    if not data.startswith(MAGIC[: len(data)]):
        raise CorruptFile(f"{path} is no segment of a decision log")
    at = len(MAGIC)
    while at + HEAD.size <= len(data):
        length, crc, kind = HEAD.unpack_from(data, at)
        body = data[at + HEAD.size : at + HEAD.size + length]
        if len(body) < length:
            return
        least = HASH_BYTES if kind == OFFER else NUMBER.size
        if kind not in {OFFER, DECISION, ERASED} or not least <= length <= PAYLOAD_BYTES_MAX or zlib.crc32(body) != crc:
            if torn:  # what a power cut may leave at the end; what is missing then is found by its number
                return
            raise CorruptFile(f"{path} is damaged at byte {at}")
        yield kind, at + HEAD.size, body
        at += HEAD.size + length


def size_of(path: Path) -> int:
    """Return how large a file is; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
