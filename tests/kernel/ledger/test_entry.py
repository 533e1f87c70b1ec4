"""Entries of a ledger: one way to write each, and only by the key of their chain."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.ledger.entry import Allot, Close, Mint, SignedEntry, Take, entry_id, read, sign
from worldos.kernel.ledger.limits import ENTRY_BYTES_MAX
from worldos.kernel.ledger.voucher import Voucher, consumed, provided
from worldos.trust.keys import DeviceKey

ANNE, BEN = (DeviceKey.from_seed(bytes([number]) * 32) for number in (1, 2))
FIRST = sign(ANNE, 0, b"", Mint(to=BEN.node_id, amount=5, evidence=bytes(32)))
BEFORE = entry_id(FIRST.body)


def test_an_entry_is_read_as_it_was_signed() -> None:
    entry = read(FIRST)
    assert (entry.chain, entry.seq, entry.before) == (ANNE.node_id, 0, b"")
    assert read(sign(ANNE, 1, BEFORE, Take(source=BEFORE))).act == Take(source=BEFORE)


@given(st.integers(0, len(FIRST.body) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    body = bytearray(FIRST.body)
    body[place] ^= change
    with pytest.raises((PeerBroke, BadSignature)):
        read(SignedEntry(body=bytes(body), signature=FIRST.signature))


def test_who_does_not_hold_the_key_of_a_chain_writes_nothing_into_it() -> None:
    forged = sign(BEN, 0, b"", Allot(to=BEN.node_id, amount=1))
    body = msgspec.msgpack.encode(msgspec.structs.replace(read(forged), chain=ANNE.node_id))
    with pytest.raises(BadSignature):
        read(SignedEntry(body=body, signature=forged.signature))


@pytest.mark.parametrize("seq", [0, 1])
def test_only_the_first_entry_has_none_before_it(seq: int) -> None:
    with pytest.raises(PeerBroke):
        read(sign(ANNE, seq, b"" if seq else BEFORE, Take(source=BEFORE)))


@pytest.mark.parametrize("amount", [0, -1, 1 << 61])
def test_an_amount_is_more_than_nothing_and_less_than_all(amount: int) -> None:
    with pytest.raises(PeerBroke):
        read(sign(ANNE, 0, b"", Allot(to=BEN.node_id, amount=amount)))


@pytest.mark.parametrize(
    "body", [b"", b"\x90", b"\xc0", b"x" * (ENTRY_BYTES_MAX + 1), b"\x91" * 900, FIRST.body + b"\0"]
)
def test_garbage_is_no_entry(body: bytes) -> None:
    with pytest.raises(PeerBroke):
        read(SignedEntry(body=body, signature=bytes(64)))


def test_a_close_carries_a_voucher_that_both_signed_for_that_lease() -> None:
    voucher = Voucher(lease=BEFORE, seq=1, units=1, amount=1, consumer=ANNE.node_id, provider=BEN.node_id)
    both = provided(BEN, consumed(ANNE, voucher))
    read(sign(BEN, 0, b"", Close(lease=BEFORE, voucher=both)))
    with pytest.raises(PeerBroke):
        read(sign(BEN, 0, b"", Close(lease=bytes(32), voucher=both)))
    for bad in (voucher, consumed(ANNE, voucher), provided(BEN, consumed(BEN, voucher)), provided(ANNE, both)):
        with pytest.raises(BadSignature):
            read(sign(BEN, 0, b"", Close(lease=BEFORE, voucher=bad)))
