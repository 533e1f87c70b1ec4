"""Hybrid keys: what goes in comes out for one key and one purpose, and for nobody else."""

from __future__ import annotations

import pytest

from worldos.errors import Damaged, PeerBroke
from worldos.trust.hybrid import BOX_OVERHEAD_BYTES, LATTICE_BYTES, PUBLIC_BYTES, HybridKey, check_public, seal_hybrid

KEY = HybridKey(b"\1" * 32)


def test_what_is_sealed_to_a_key_opens_with_it() -> None:
    box = seal_hybrid(KEY.public, b"secret", about=b"p")
    assert len(KEY.public) == PUBLIC_BYTES
    assert len(box) == len(b"secret") + BOX_OVERHEAD_BYTES
    assert KEY.open(box, about=b"p") == b"secret"


def test_equal_seeds_make_equal_keys_and_show_nothing() -> None:
    assert HybridKey(b"\1" * 32).public == KEY.public
    assert HybridKey(b"\2" * 32).public != KEY.public
    assert len(repr(KEY)) < 24
    with pytest.raises(ValueError, match="32 bytes"):
        HybridKey(b"\1" * 31)


def test_another_key_another_purpose_and_a_changed_bit_open_nothing() -> None:
    box = seal_hybrid(KEY.public, b"secret", about=b"p")
    with pytest.raises(Damaged):
        HybridKey(b"\2" * 32).open(box, about=b"p")
    with pytest.raises(Damaged):
        KEY.open(box, about=b"q")
    for place in (0, 1087, 1088, 1119, 1120, len(box) - 1):
        changed = bytearray(box)
        changed[place] ^= 1
        with pytest.raises(Damaged):
            KEY.open(bytes(changed), about=b"p")
    for size in (0, 32, BOX_OVERHEAD_BYTES - 1):
        with pytest.raises(Damaged):
            KEY.open(box[:size], about=b"p")


def test_a_box_for_one_half_of_the_key_opens_nothing() -> None:
    """Who swaps in a lattice key of their own, or a curve key, cannot read what is sealed to the pair."""
    other = HybridKey(b"\2" * 32)
    mixed = KEY.public[:LATTICE_BYTES] + other.public[LATTICE_BYTES:]
    box = seal_hybrid(mixed, b"secret", about=b"p")
    for key in (KEY, other):
        with pytest.raises(Damaged):
            key.open(box, about=b"p")


def test_what_is_no_key_is_refused() -> None:
    for public in (b"", KEY.public[:-1], b"\xff" * PUBLIC_BYTES):
        with pytest.raises(PeerBroke):
            check_public(public)
    degenerate = KEY.public[:LATTICE_BYTES] + bytes(32)
    with pytest.raises(PeerBroke):
        seal_hybrid(degenerate, b"", about=b"")
