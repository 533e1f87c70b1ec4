r"""The decision log on disk: files that only grow, of which nothing is ever changed but what is erased.

In ``decisions/`` of the home: ``leaves`` (48 bytes a decision) is the log itself, and all tiles and proofs come from it;
``level1``, ``level2``... are the roots of its full tiles, which could be reckoned again. ``salts`` (16 bytes a decision) and
``segments/NUMBER`` hold what the leaves commit to: to erase a decision is to overwrite its salt and its payload, and its leaf
stays. A segment is ``WOSD1\n`` and records ``length u32 | crc32 u32 | kind u8 | body``: O a blind offer after its hash, D a
decision after its number, E an erased one. The oldest segments are dropped when they are many: the proof stays, the words go.
``checkpoint`` is the last signed note: what it says was on disk before it was signed.

Opening makes good what a power cut left: what was written after the last checkpoint and is not whole in every file is cut off.
Less than the checkpoint says, or another tree, is damage or a lie, and refused.
Source: docs/reference/formats/decision.md; c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from worldos.agent.decision_shelf import (
    DECISION,
    ERASED,
    HEAD,
    MAGIC,
    NUMBER,
    OFFER,
    DecisionShelf,
    scan,
    size_of,
)
from worldos.agent.home import make_folder
from worldos.errors import CorruptFile, DiskFull
from worldos.kernel.records import LEAF_BYTES, SALT_BYTES
from worldos.trust.merkle import HASH_BYTES, leaf_hash
from worldos.trust.tiles import HEIGHT, WIDTH, Tower, tile_root

SEGMENT_BYTES: Final = 16 * 1024 * 1024
SEGMENTS_MAX: Final = 32  # half a gigabyte of what was decided; the leaves of all of it stay
LEVELS: Final = 7


class Batch(NamedTuple):
    """What is to be appended to each file, by name; segments first, the leaves last."""

    segments: list[tuple[int, bytes]]
    salts: bytes
    leaves: bytes
    levels: list[tuple[int, int, bytes]]  # level, how many hashes there were, those to add
    size: int


class DecisionFiles(DecisionShelf):
    """The files of one log. ``append`` and ``batch`` belong to the event loop, ``write`` may run in a thread."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        make_folder(folder / "segments")
        super().__init__(folder, 0)
        self._segment = -1
        self._segment_bytes = 0
        self._known: set[bytes] = set()  # offers that this segment has
        self._segments: list[tuple[int, bytearray]] = []
        self._salts = bytearray()
        self._leaves = bytearray()
        self._full: list[tuple[int, int, bytes]] = []
        self._levels = [0] * (LEVELS + 1)
        self.tower = Tower(self._filled)
        try:
            self._recover()
        except OSError as cause:
            raise DiskFull(f"{folder} cannot be read or written") from cause

    @property
    def size(self) -> int:
        """Return how many decisions there are, written or not."""
        return self.tower.size

    # -- writing ----------------------------------------------------------------------------------------------------

    def has_offer(self, hashed: bytes) -> bool:
        """Tell whether this segment has an offer already."""
        return hashed in self._known

    def turn(self) -> None:
        """Begin a new segment if this one is full; call before the offers of a decision are looked up."""
        if self._segment < 0 or self._segment_bytes >= SEGMENT_BYTES:
            self._segment, self._segment_bytes = self.tower.size, len(MAGIC)
            self._known = set()
            self._segments.append((self._segment, bytearray(MAGIC)))

    def append(self, leaf: bytes, salt: bytes, payload: bytes, offers: dict[bytes, bytes]) -> int:
        """Add a decision, and the offers that this segment does not have; return its number. ``batch`` makes it durable."""
        number = self.tower.size
        if not self._segments:
            self._segments.append((self._segment, bytearray()))
        out = self._segments[-1][1]
        before = len(out)
        for hashed, data in offers.items():
            self._known.add(hashed)
            _put(out, OFFER, hashed + data)
        _put(out, DECISION, NUMBER.pack(number) + payload)
        self._segment_bytes += len(out) - before
        self._salts += salt
        self._leaves += leaf
        self.tower.append(leaf_hash(leaf))
        return number

    def batch(self) -> Batch | None:
        """Take what was appended since the last time; None when nothing was."""
        if not self._leaves:
            return None
        levels = []
        for level in range(1, LEVELS + 1):
            count = self.tower.size >> HEIGHT * level
            had = self._levels[level]
            if count > had:
                levels.append((level, had, self._hashes(level, had, count)))
                self._levels[level] = count
        self._full.clear()
        batch = Batch(
            [(first, bytes(data)) for first, data in self._segments],
            bytes(self._salts),
            bytes(self._leaves),
            levels,
            self.tower.size,
        )
        self._segments, self._salts, self._leaves = [], bytearray(), bytearray()
        return batch

    def write(self, batch: Batch) -> None:
        """Append a batch to the files, durably: what the leaves commit to before the leaves. Raise DiskFull."""
        try:
            for first, data in batch.segments:
                _append(self.segment_path(first), data)
            _append(self.folder / "salts", batch.salts)
            _append(self.folder / "leaves", batch.leaves)
            for level, had, data in batch.levels:
                _append(self.folder / f"level{level}", data, at=had * HASH_BYTES)
            self._drop_oldest()
        except OSError as cause:
            raise DiskFull(f"{self.folder} cannot be written") from cause
        self.durable = batch.size

    def save(self, name: str, data: bytes) -> None:
        """Put a small file in the place of another, durably."""
        path = self.folder / name
        try:
            fresh = path.with_name(f".{name}.new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(path)
            _sync_folder(self.folder)
        except OSError as cause:
            raise DiskFull(f"{path} cannot be written") from cause

    def erase(self, number: int) -> None:
        """Overwrite what was decided, and the salt that its leaf was made with; the leaf stays."""
        first, segment = self.segment_of(number)
        at, length = segment.decisions[number]
        body = NUMBER.pack(number) + bytes(length - NUMBER.size)
        try:
            with (self.folder / "salts").open("r+b") as salts:
                salts.seek(number * SALT_BYTES)
                salts.write(bytes(SALT_BYTES))
                salts.flush()
                os.fsync(salts.fileno())
            with self.segment_path(first).open("r+b") as stream:
                stream.seek(at - HEAD.size)
                stream.write(HEAD.pack(length, zlib.crc32(body), ERASED) + body)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as cause:
            raise DiskFull(f"{self.folder} cannot be written") from cause
        self._scanned = None

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _filled(self, level: int, index: int, hashes: bytes) -> None:
        if level:
            self._full.append((level, index, hashes))

    def _hashes(self, level: int, had: int, count: int) -> bytes:
        """Return the hashes of a level from ``had`` to ``count``: of tiles that are full now, then of the unfinished one."""
        row = b"".join(hashes for at, _, hashes in self._full if at == level)
        row += bytes(self.tower.rows[level]) if level < len(self.tower.rows) else b""
        return row[len(row) - (count - had) * HASH_BYTES :]

    def _drop_oldest(self) -> None:
        firsts = self.firsts()
        for first in firsts[: max(0, len(firsts) - SEGMENTS_MAX)]:
            self.segment_path(first).unlink(missing_ok=True)

    def _recover(self) -> None:
        """Find how far all files go together, cut off the rest, and take up the tree from there."""
        signed, root = self.signed()
        size = min(size_of(self.folder / "leaves") // LEAF_BYTES, size_of(self.folder / "salts") // SALT_BYTES)
        size = self._open_segment(size)
        if size < signed:
            raise CorruptFile(f"{self.folder} lost {signed - size} of {signed} decisions")
        _cut(self.folder / "leaves", size * LEAF_BYTES)
        _cut(self.folder / "salts", size * SALT_BYTES)
        self._levels_again(size)
        self.durable = size
        rows = [
            self.read_tile(level, size >> HEIGHT * (level + 1), self._width(size, level)) for level in self._rows(size)
        ]
        self.tower = Tower.at(size, rows, self._filled)
        if signed and self.root(signed) != root:
            raise CorruptFile(f"{self.folder} is not what was signed")

    def _open_segment(self, size: int) -> int:
        """Take up the last segment; return how many decisions it lets us keep."""
        for first in reversed(self.firsts()):
            path = self.segment_path(first)
            segment = scan(path, torn=True)
            kept = [number for number in segment.decisions if number < size]
            if not kept:
                path.unlink()
                continue
            size = max(kept) + 1
            at, length = segment.decisions[size - 1]
            _cut(path, at + length)
            self._segment, self._segment_bytes = first, at + length
            self._known = {hashed for hashed, (offset, _) in segment.offers.items() if offset < at}
            return size
        return 0

    def _levels_again(self, size: int) -> None:
        """Bring the roots of full tiles to this size: what is too much is cut, what is missing reckoned."""
        for level in range(1, LEVELS + 1):
            count = size >> HEIGHT * level
            path = self.folder / f"level{level}"
            had = min(count, size_of(path) // HASH_BYTES)
            _cut(path, had * HASH_BYTES)
            if count > had:
                roots = [tile_root(self.read_tile(level - 1, at, WIDTH)) for at in range(had, count)]
                _append(path, b"".join(roots), at=had * HASH_BYTES)
            self._levels[level] = count

    @staticmethod
    def _rows(size: int) -> range:
        return range(max(1, -(-size.bit_length() // HEIGHT)))

    @staticmethod
    def _width(size: int, level: int) -> int:
        return (size >> HEIGHT * level) % WIDTH


def set_aside(folder: Path) -> Path:
    """Move a damaged log out of the way, so that it can be looked at; return where it is now."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as cause:
        raise DiskFull(f"{folder} cannot be moved out of the way") from cause
    return aside


def _put(out: bytearray, kind: bytes, body: bytes) -> None:
    out += HEAD.pack(len(body), zlib.crc32(body), kind)
    out += body


def _append(path: Path, data: bytes, at: int | None = None) -> None:
    fresh = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size if at is None else at
        try:
            written = os.pwrite(descriptor, data, size)
            if written < len(data):
                raise OSError(28, "No space left on device")
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        _sync_folder(path.parent)


def _cut(path: Path, size: int) -> None:
    if size_of(path) > size:
        os.truncate(path, size)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
