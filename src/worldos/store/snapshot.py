"""The directory as bytes on this machine, so that nobody reads the logs from their beginning: a block per folder.

Blocks are decoded when somebody looks into their folder, and those that nobody looked into are copied to the next
snapshot as they are: ``wos ls`` of one folder among a million files costs that folder. Items that were moved are in
more than one folder and lie together, each under a number. Layout: ``magic(8) digest(16) head length(4, big-endian)
head blocks``; the head is msgpack, with a table of the blocks: offset, length and 8 bytes of BLAKE3 of each. It is a
cache: whoever finds it damaged reads the logs again. Source: docs/reference/formats/directory.md.
"""

from __future__ import annotations

import struct

import blake3
import msgspec

from worldos.errors import CorruptFile
from worldos.store.retention import Aging
from worldos.store.tree import Folder, Item, Origin, Spot, Step, Tree

MAGIC = b"wosdir01"
DIGEST_BYTES = 16
_LENGTH = struct.Struct(">I")
_ROW = struct.Struct(">QQ8s")
_HEAD_AT = len(MAGIC) + DIGEST_BYTES + _LENGTH.size


class Known(msgspec.Struct, kw_only=True):
    """What a directory knows besides its tree."""

    heads: dict[bytes, int]
    seen: dict[bytes, dict[bytes, int]]
    said: dict[bytes, int]
    aging: Aging
    clock: int


class _StepRow(msgspec.Struct, frozen=True, array_like=True):
    device: int
    seq: int
    clock: int
    at_ns: int
    index: int
    path: str | None
    aged: int
    later: tuple[int, ...]


class _ItemRow(msgspec.Struct, frozen=True, array_like=True):
    device: int
    seq: int
    clock: int
    at_ns: int
    index: int
    file: bytes | None
    steps: tuple[_StepRow, ...] | None = None


class _SpotRow(msgspec.Struct, frozen=True, array_like=True):
    name: str
    item: _ItemRow | None  # the one file at it and nothing more; else what follows
    items: tuple[int | _ItemRow, ...] = ()
    past: tuple[int | _ItemRow, ...] = ()
    folder: int = -1
    live: int = 0


class _Head(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    known: Known
    devices: list[bytes]
    contested: list[str]
    ended: list[str]
    moved: list[bytes]
    root: int
    live: int
    blocks: dict[int, int]  # number of a folder -> row of the table
    table: bytes


_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(_Head)
_spots = msgspec.msgpack.Decoder(list[_SpotRow])
_items = msgspec.msgpack.Decoder(_ItemRow)


class Stored:
    """The blocks of one snapshot. It stays with the folders that are still to be loaded from it."""

    def __init__(self, data: memoryview, head: _Head) -> None:
        self._data = data
        self.blocks = head.blocks
        self._table = head.table
        self.devices = head.devices
        self.moved: list[bytes | Item] = list(head.moved)
        self.loaded: set[int] = set()

    def block(self, number: int) -> memoryview:
        """Return the bytes of a folder's block; raise CorruptFile if they are not as they were written."""
        row = self.blocks.get(number, -1)
        if row < 0 or (row + 1) * _ROW.size > len(self._table):
            raise CorruptFile("the cached directory lacks a folder")
        offset, size, digest = _ROW.unpack_from(self._table, row * _ROW.size)
        data = self._data[offset : offset + size]
        if len(data) != size or blake3.blake3(data).digest(8) != digest:
            raise CorruptFile("the cached directory is damaged")
        return data

    def load(self, folder: Folder, path: str) -> None:
        """Fill a folder with what its block says."""
        del path
        try:
            rows = _spots.decode(self.block(folder.number))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
            raise CorruptFile("the cached directory is damaged") from cause
        self.loaded.add(folder.number)
        spots = folder.spots
        origins: dict[tuple[int, int], Origin] = {}
        for row in rows:
            if row.item is not None:
                spots[row.name] = self._item(row.item, origins)
                continue
            spot = spots[row.name] = Spot(tuple(self._any(item, origins) for item in row.items))
            spot.past = tuple(self._any(item, origins) for item in row.past)
            if row.folder >= 0:
                spot.folder = below = Folder(folder)
                below.number, below.live, below.blocks = row.folder, row.live, self

    def _any(self, row: int | _ItemRow, origins: dict[tuple[int, int], Origin]) -> Item:
        if isinstance(row, _ItemRow):
            return self._item(row, origins)
        if not 0 <= row < len(self.moved):
            raise CorruptFile("the cached directory is damaged")
        found = self.moved[row]
        if not isinstance(found, Item):
            found = self.moved[row] = self._item(_items.decode(found), origins)
        return found

    def _item(self, row: _ItemRow, origins: dict[tuple[int, int], Origin]) -> Item:
        item = Item(self._origin(row, origins), row.index, row.file)
        if row.steps is not None:
            item.steps = [Step(self._origin(step, origins), step.index, step.path) for step in row.steps]
            for step, made in zip(row.steps, item.steps, strict=True):
                made.aged = step.aged
                made.later = [item.steps[later] for later in step.later]
        return item

    def _origin(self, row: _ItemRow | _StepRow, origins: dict[tuple[int, int], Origin]) -> Origin:
        key = (row.device, row.seq)
        found = origins.get(key)
        if found is None:
            found = origins[key] = Origin(self.devices[row.device], row.seq, row.clock, row.at_ns)
        return found


def encode(tree: Tree, known: Known) -> bytes:
    """Write a tree and what goes with it."""
    return _Writing(tree).whole(known)


def decode(data: bytes | memoryview) -> tuple[Tree, Known]:
    """Read a snapshot; its folders are decoded when they are looked into. Raise CorruptFile."""
    view = memoryview(data)
    if len(view) < _HEAD_AT or view[: len(MAGIC)] != MAGIC:
        raise CorruptFile("this is no cached directory that this World OS reads")
    (size,) = _LENGTH.unpack_from(view, _HEAD_AT - _LENGTH.size)
    packed = view[_HEAD_AT : _HEAD_AT + size]
    if blake3.blake3(packed).digest(DIGEST_BYTES) != view[len(MAGIC) : len(MAGIC) + DIGEST_BYTES]:
        raise CorruptFile("the cached directory is damaged")
    try:
        head = _heads.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise CorruptFile("the cached directory is damaged") from cause
    tree = Tree()
    tree.contested, tree.ended = set(head.contested), set(head.ended)
    tree.root.number, tree.root.live = head.root, head.live
    tree.numbers = 1 + max(head.blocks, default=-1)
    tree.root.blocks = tree.stored = Stored(view[_HEAD_AT + size :], head)
    return tree, head.known


class _Writing:
    """One snapshot while it is written."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._old = tree.stored if isinstance(tree.stored, Stored) else None
        self._devices = list(self._old.devices) if self._old is not None else []
        self._numbers = {device: number for number, device in enumerate(self._devices)}
        self._moved: list[bytes | Item] = list(self._old.moved) if self._old is not None else []
        self._moved_numbers = {id(item): number for number, item in enumerate(self._moved) if isinstance(item, Item)}
        self._blocks: list[bytes | memoryview] = []
        self._rows: dict[int, int] = {}
        self._table: list[bytes] = []
        self._size = 0

    def whole(self, known: Known) -> bytes:
        """Write everything."""
        old = self._old
        root = self._number(self._tree.root)
        stack = [self._tree.root]
        while stack:
            folder = stack.pop()
            if folder.blocks is None:
                self._add(self._number(folder), self._folder(folder, stack))
        for number in old.blocks if old is not None else ():
            if old is not None and number not in old.loaded:
                self._add(number, old.block(number))
        moved = [self._moved_row(item) if isinstance(item, Item) else item for item in self._moved]
        head = _encoder.encode(
            _Head(
                known=known,
                devices=self._devices,
                contested=sorted(self._tree.contested),
                ended=sorted(self._tree.ended),
                moved=moved,
                root=root,
                live=self._tree.root.live,
                blocks=self._rows,
                table=b"".join(self._table),
            )
        )
        digest = blake3.blake3(head).digest(DIGEST_BYTES)
        return b"".join([MAGIC, digest, _LENGTH.pack(len(head)), head, *self._blocks])

    def _number(self, folder: Folder) -> int:
        if folder.number < 0:
            folder.number = self._tree.numbers
            self._tree.numbers += 1
        return folder.number

    def _add(self, number: int, block: bytes | memoryview) -> None:
        self._rows[number] = len(self._table)
        self._table.append(_ROW.pack(self._size, len(block), blake3.blake3(block).digest(8)))
        self._blocks.append(block)
        self._size += len(block)

    def _folder(self, folder: Folder, stack: list[Folder]) -> bytes:
        rows: list[_SpotRow] = []
        for name, found in folder.spots.items():
            if isinstance(found, Item):
                rows.append(_SpotRow(name, self._row(found)))
                continue
            below, number, live = found.folder, -1, 0
            if below is not None:
                number, live = self._number(below), below.live
                stack.append(below)
            items = tuple(self._any(item) for item in found.items)
            past = tuple(self._any(item) for item in found.past)
            rows.append(_SpotRow(name, None, items, past, number, live))
        return _encoder.encode(rows)

    def _any(self, item: Item) -> int | _ItemRow:
        if not _is_moved(item):
            return self._row(item)
        number = self._moved_numbers.get(id(item))
        if number is None:
            number = self._moved_numbers[id(item)] = len(self._moved)
            self._moved.append(item)
        return number

    def _moved_row(self, item: Item) -> bytes:
        return _encoder.encode(self._row(item)) if _is_moved(item) else b""

    def _row(self, item: Item) -> _ItemRow:
        origin, steps = item.origin, None
        if item.steps is not None:
            places = {id(step): number for number, step in enumerate(item.steps)}
            steps = tuple(self._step(step, places) for step in item.steps)
        device = self._device(origin.device)
        return _ItemRow(device, origin.seq, origin.clock, origin.at_ns, item.index, item.file, steps)

    def _step(self, step: Step, places: dict[int, int]) -> _StepRow:
        origin = step.origin
        later = tuple(places[id(later)] for later in step.later)
        device = self._device(origin.device)
        return _StepRow(device, origin.seq, origin.clock, origin.at_ns, step.index, step.path, step.aged, later)

    def _device(self, device: bytes) -> int:
        number = self._numbers.get(device)
        if number is None:
            number = self._numbers[device] = len(self._devices)
            self._devices.append(device)
        return number


def _is_moved(item: Item) -> bool:
    """Whether an item is known at more than one name."""
    return item.steps is not None and len({step.path for step in item.steps if step.path is not None}) > 1
