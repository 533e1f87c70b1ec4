"""Tiles: the paths and widths that the specification gives, and trees that come out of them at every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged, PeerBroke
from worldos.trust.merkle import HASH_BYTES, Tree, check_inclusion, leaf_hash, prove_consistency, prove_inclusion
from worldos.trust.tiles import (
    WIDTH,
    Tower,
    bundle,
    check_tiles,
    hash_reader,
    path_of,
    read_bundle,
    tile_root,
    width_of,
)

LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]


class Shelf:
    """Full tiles as a log writes them, and the unfinished ones of its tower."""

    def __init__(self) -> None:
        self.full: dict[tuple[int, int], bytes] = {}
        self.tower = Tower(lambda level, index, hashes: self.full.__setitem__((level, index), hashes))

    def read(self, level: int, index: int, width: int) -> bytes:
        tile = self.full.get((level, index))
        return (bytes(self.tower.rows[level]) if tile is None else tile)[: width * HASH_BYTES]


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    shelf = Shelf()
    for leaf in LEAVES:
        shelf.tower.append(leaf)
    return shelf


def test_paths_are_as_the_specification_writes_them() -> None:
    assert path_of(0, 1_234_067, 256) == "tile/0/x001/x234/067"
    assert path_of(3, 7, 112) == "tile/3/007.p/112"
    assert path_of("entries", 999, 256) == "tile/entries/999"
    assert path_of("entries", 1000, 255) == "tile/entries/x001/000.p/255"


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts(shelf: Shelf) -> None:
    assert sum(level == 0 for level, _ in shelf.full) == 273
    assert [len(row) // HASH_BYTES for row in shelf.tower.rows] == [112, 17, 1]
    assert sum(level == 1 for level, _ in shelf.full) == 1
    assert [width_of(level, at, 70_000) for level, at in ((0, 272), (0, 273), (1, 1), (2, 0), (2, 1))] == [
        256, 112, 17, 1, 0,
    ]  # fmt: skip
    assert [width_of(level, 0, 256) for level in range(3)] == [256, 1, 0]


def test_at_every_size_the_tower_has_the_root_of_the_tree() -> None:
    tree, shelf = Tree(), Shelf()
    for leaf in LEAVES[:1100]:
        tree.append_hash(leaf)
        shelf.tower.append(leaf)
        assert shelf.tower.root() == tree.root()


def test_a_tower_goes_on_from_its_unfinished_tiles() -> None:
    whole = Shelf()
    for leaf in LEAVES[:700]:
        whole.tower.append(leaf)
    again = Tower.at(700, [bytes(row) for row in whole.tower.rows], lambda level, index, hashes: None)
    for leaf in LEAVES[700:900]:
        whole.tower.append(leaf)
        again.append(leaf)
    assert again.root() == whole.tower.root()
    for rows in ([], [bytes(32)], [*map(bytes, whole.tower.rows[:1])]):
        with pytest.raises(Damaged):
            Tower.at(900, rows, lambda level, index, hashes: None)


def test_every_proof_can_be_made_from_tiles_alone(shelf: Shelf) -> None:
    tree = Tree()
    for leaf in LEAVES:
        tree.append_hash(leaf)
    hash_at = check_tiles(shelf.read, 70_000, tree.root())
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = prove_inclusion(hash_at, index, 70_000)
        assert proof == prove_inclusion(tree.hash_at, index, 70_000)
        check_inclusion(LEAVES[index], index, 70_000, proof, tree.root())
    for old in (1, 256, 300, 65_536, 69_999):
        assert prove_consistency(hash_at, old, 70_000) == prove_consistency(tree.hash_at, old, 70_000)


def test_tiles_that_were_changed_do_not_come_to_the_root(shelf: Shelf) -> None:
    root = shelf.tower.root()
    with pytest.raises(Damaged):
        check_tiles(lambda *at: shelf.read(*at)[:-1] + b"?", 70_000, root)
    with pytest.raises(PeerBroke):
        check_tiles(lambda *at: shelf.read(*at)[:-1], 70_000, root)
    with pytest.raises(PeerBroke):
        hash_reader(shelf.read, 70_000)(17, 0)


def test_a_full_tile_is_one_hash_of_the_level_above() -> None:
    tree = Tree()
    for leaf in LEAVES[:WIDTH]:
        tree.append_hash(leaf)
    assert tile_root(b"".join(LEAVES[:WIDTH])) == tree.root()


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert read_bundle(bundle(entries)) == entries


@given(st.binary(max_size=200))
def test_a_bundle_of_garbage_is_read_whole_or_refused(data: bytes) -> None:
    try:
        entries = read_bundle(data)
    except PeerBroke:
        return
    assert bundle(entries) == data
