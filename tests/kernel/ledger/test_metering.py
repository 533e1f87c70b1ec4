"""Metering: each side signs for what it believes, interval by interval."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import BadSignature, NotAllowed, OverQuota, PeerBroke
from worldos.kernel.ledger.metering import Bill, Tab, Terms
from worldos.kernel.ledger.voucher import check_voucher, consumed
from worldos.trust.keys import DeviceKey

ANNE, BEN = (DeviceKey.from_seed(bytes([number]) * 32) for number in (1, 2))
TERMS = Terms(lease=bytes(32), consumer=ANNE.node_id, provider=BEN.node_id, price=3, amount=30_000)


def test_intervals_are_served_claimed_and_signed_and_the_last_voucher_is_the_whole_bill() -> None:
    bill, tab = Bill(terms=TERMS), Tab(terms=TERMS)
    for _ in range(5):
        tab.signed(BEN, bill.sign(ANNE, tab.serve(1000), 1000))
    assert tab.best is not None
    check_voucher(tab.best)
    assert (tab.best.seq, tab.best.units, tab.best.amount) == (5, 5000, 15_000)


def test_no_more_is_given_while_an_interval_is_not_signed_for() -> None:
    tab = Tab(terms=TERMS)
    tab.serve(100)
    with pytest.raises(NotAllowed):
        tab.serve(100)


def test_no_more_is_given_than_was_set_aside() -> None:
    tab = Tab(terms=TERMS)
    with pytest.raises(OverQuota):
        tab.serve(10_001)


def test_a_claim_far_from_what_was_measured_is_not_signed() -> None:
    tab = Tab(terms=TERMS)
    with pytest.raises(NotAllowed):
        Bill(terms=TERMS).sign(ANNE, tab.serve(1060), 1000)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 301},
        {"seq": 2},
        {"lease": b"x" * 32},
        {"provider": ANNE.node_id},
        {"units": 10_001, "amount": 30_003},
    ],
)
def test_a_claim_that_is_not_by_the_terms_is_not_signed(change: dict[str, object]) -> None:
    claim = msgspec.structs.replace(Tab(terms=TERMS).serve(100), **change)
    with pytest.raises(PeerBroke):
        Bill(terms=TERMS).sign(ANNE, claim, 100)


def test_a_provider_takes_only_what_it_asked_for_signed_by_who_pays() -> None:
    tab = Tab(terms=TERMS)
    claim = tab.serve(100)
    with pytest.raises(PeerBroke):
        tab.signed(BEN, consumed(ANNE, msgspec.structs.replace(claim, amount=1)))
    with pytest.raises(BadSignature):
        tab.signed(BEN, consumed(BEN, claim))
    assert tab.best is None
    tab.signed(BEN, consumed(ANNE, claim))
