"""Trees that only grow: the vectors of Certificate Transparency, the definition of the RFC, and every size up to 130."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import Damaged
from worldos.trust.merkle import (
    EMPTY_ROOT,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
)

# The leaves and roots that implementations of RFC 6962 test themselves with (google/certificate-transparency).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 130


def tree_of(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree


TREE = tree_of([number.to_bytes(2, "big") for number in range(SIZES)])


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(by_definition(leaves[:k]), by_definition(leaves[k:]))


def test_the_roots_are_those_that_certificate_transparency_has() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size, root in enumerate(ROOTS, 1):
        assert tree_of(LEAVES[:size]).root().hex() == root


def test_every_root_is_what_the_definition_says_and_stays_known() -> None:
    leaves = [number.to_bytes(2, "big") for number in range(SIZES)]
    for size in range(SIZES + 1):
        assert TREE.root(size) == by_definition(leaves[:size])


def test_every_leaf_of_every_size_is_proved_and_no_other_leaf_place_or_size_is() -> None:
    for size in range(1, SIZES, 3):
        root = TREE.root(size)
        for index in range(size):
            hashed = TREE.hash_at(0, index)
            proof = prove_inclusion(TREE.hash_at, index, size)
            check_inclusion(hashed, index, size, proof, root)
            for wrong in (
                (leaf_hash(b"other"), index, size, proof, root),
                (hashed, (index + 1) % size if size > 1 else 1, size, proof, root),
                (hashed, index, size, (*proof, root), root),
                (hashed, index, size, proof[:-1] if proof else (root,), root),
                (hashed, index, size, proof, TREE.root(size - 1)),
            ):
                with pytest.raises(Damaged):
                    check_inclusion(*wrong)


def test_every_pair_of_sizes_is_proved_to_be_one_log_and_no_changed_one_is() -> None:
    for new in range(1, SIZES, 3):
        for old in range(new + 1):
            proof = prove_consistency(TREE.hash_at, old, new)
            check_consistency(old, TREE.root(old), new, TREE.root(new), proof)
            with pytest.raises(Damaged):
                check_consistency(old, leaf_hash(b"other"), new, TREE.root(new), proof)
            if old:
                with pytest.raises(Damaged):
                    check_consistency(old, TREE.root(old), new, leaf_hash(b"other"), proof)
            with pytest.raises(Damaged):
                check_consistency(old, TREE.root(old), new, TREE.root(new), (*proof, EMPTY_ROOT))
            if proof:
                with pytest.raises(Damaged):
                    check_consistency(old, TREE.root(old), new, TREE.root(new), proof[1:])


def test_a_changed_leaf_is_seen_from_every_later_size() -> None:
    changed = tree_of([b"changed" if number == 5 else number.to_bytes(2, "big") for number in range(40)])
    for old in range(6, 40):
        for new in range(old, 40):
            proof = prove_consistency(changed.hash_at, old, new)
            with pytest.raises(Damaged):
                check_consistency(old, TREE.root(old), new, changed.root(new), proof)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-1, 2**63),
    st.integers(-1, 2**63),
    st.lists(st.one_of(st.binary(max_size=33), st.binary(min_size=32, max_size=32)), max_size=70),
)
def test_a_proof_of_garbage_is_refused_and_breaks_nothing(first: int, second: int, proof: list[bytes]) -> None:
    for check in (
        lambda: check_inclusion(bytes(32), first, second, proof, bytes(32)),
        lambda: check_consistency(first, bytes(32), second, bytes(range(32)), proof),
    ):
        with pytest.raises(Damaged):
            check()


def test_a_root_of_an_old_size_comes_from_complete_subtrees_alone() -> None:
    asked: list[tuple[int, int]] = []

    def hash_at(level: int, index: int) -> bytes:
        asked.append((level, index))
        return TREE.hash_at(level, index)

    root_of(hash_at, 100)
    assert asked == [(6, 0), (5, 2), (2, 24)]
