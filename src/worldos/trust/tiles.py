"""Tiles: a log's tree in pieces of 256 hashes that never change once they are full, so that anyone may copy them.

Tile ``index`` of level L has up to 256 hashes, each of 256**L leaves; the entries themselves come in bundles of 256 as well.
From the tiles of a size every proof can be made by who fetches them, and a fetched tile is believed only when the root of a
signed checkpoint comes out. ``Tower`` is the writing end: it keeps the unfinished tiles and their roots, 8 kB a level, so
that a log of any length needs no more memory than that.
Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from worldos.errors import Damaged, PeerBroke
from worldos.trust.merkle import HASH_BYTES, SIZE_MAX, HashAt, node_hash, root_of

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
TILE_BYTES: Final = WIDTH * HASH_BYTES
LEVELS_MAX: Final = 8
ENTRY_BYTES_MAX: Final = 2**16 - 1

ReadTile = Callable[[int, int, int], bytes]
"""The first ``width`` hashes of a tile: (level, index, width)."""


def width_of(level: int, index: int, size: int) -> int:
    """Return how many hashes a tile has in a tree of ``size`` leaves, 0 to 256."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - index * WIDTH))


def path_of(level: int | str, index: int, width: int) -> str:
    """Return where a tile lies: ``tile/0/x001/x234/067``, with ``.p/W`` where only W of its hashes are there yet.

    The level ``"entries"`` names a bundle of entries.
    """
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


def tile_root(hashes: bytes) -> bytes:
    """Return the root of a full tile: one hash of the level above."""
    assert len(hashes) == TILE_BYTES
    row = [hashes[at : at + HASH_BYTES] for at in range(0, TILE_BYTES, HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries one after the other, each after its length as a big-endian u16."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def read_bundle(data: bytes) -> list[bytes]:
    """Read a bundle of entries; raise PeerBroke for what is none."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or len(data) - at < 2 or len(entries) >= WIDTH:
            raise PeerBroke("a bundle of entries that does not end where it says")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def hash_reader(read_tile: ReadTile, size: int) -> HashAt:
    """Return the hashes of a tree of ``size`` leaves, read from its tiles (HashAt). Each tile is read once."""
    tiles: dict[tuple[int, int], bytes] = {}

    def hash_at(level: int, index: int) -> bytes:
        row, inner = divmod(level, HEIGHT)
        first = index << inner
        tile = first >> HEIGHT
        key = (row, tile)
        if key not in tiles:
            width = width_of(row, tile, size)
            found = read_tile(row, tile, width) if width else b""
            if len(found) != width * HASH_BYTES:
                raise PeerBroke("a tile that is not as wide as it should be")
            tiles[key] = found
        at = (first & (WIDTH - 1)) * HASH_BYTES
        hashes = tiles[key][at : at + (HASH_BYTES << inner)]
        if len(hashes) != HASH_BYTES << inner:
            raise PeerBroke("a hash that this tree does not have")
        rest = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        while len(rest) > 1:
            rest = [node_hash(rest[at], rest[at + 1]) for at in range(0, len(rest), 2)]
        return rest[0]

    return hash_at


def check_tiles(read_tile: ReadTile, size: int, root: bytes) -> HashAt:
    """Return the hashes of a tree whose tiles come to this root; raise Damaged where they do not."""
    if not 0 <= size <= SIZE_MAX:
        raise PeerBroke("a tree of no size")
    hash_at = hash_reader(read_tile, size)
    if root_of(hash_at, size) != root:
        raise Damaged("the tiles do not come to the root that was signed")
    return hash_at


class Tower:
    """The growing edge of a tree: of each level of tiles the one that is not full.

    ``done(level, index, hashes)`` gets full ones.
    """

    __slots__ = ("_done", "rows", "size")

    def __init__(self, done: Callable[[int, int, bytes], None]) -> None:
        self.size = 0
        self.rows: list[bytearray] = [bytearray()]
        self._done = done

    @classmethod
    def at(cls, size: int, rows: Sequence[bytes], done: Callable[[int, int, bytes], None]) -> Tower:
        """Go on with a tree of ``size`` leaves, whose unfinished tiles are ``rows``, lowest first."""
        tower = cls(done)
        tower.size = size
        tower.rows = [bytearray(row) for row in rows] or [bytearray()]
        for level, row in enumerate(tower.rows):
            if len(row) != ((size >> HEIGHT * level) % WIDTH) * HASH_BYTES:
                raise Damaged("the unfinished tiles are not those of a tree of this size")
        if size >> HEIGHT * len(tower.rows):
            raise Damaged("a level of unfinished tiles is missing")
        return tower

    def append(self, hashed: bytes) -> None:
        """Add a leaf by its hash."""
        self.size += 1
        for level, row in enumerate(self.rows):
            row.extend(hashed)
            if len(row) < TILE_BYTES:
                return
            full = bytes(row)
            row.clear()
            self._done(level, (self.size >> HEIGHT * (level + 1)) - 1, full)
            hashed = tile_root(full)
        self.rows.append(bytearray(hashed))

    def root(self) -> bytes:
        """Return the root now; at most 255 hashes a level."""
        return root_of(hash_reader(self._read, self.size), self.size)

    def _read(self, level: int, index: int, width: int) -> bytes:
        """Return an unfinished tile: a root needs no other."""
        assert index == self.size >> HEIGHT * (level + 1)
        return bytes(self.rows[level])
