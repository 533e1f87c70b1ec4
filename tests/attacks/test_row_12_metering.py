"""A provider inflates its meter by 1 % and more; a consumer refuses to sign; both collude to mint.

Run: 200 leases of 400 intervals with two meters that differ by up to 0.5 % either way (1 000 intervals with TRUST_LONG=1), honest
and inflated by 1, 5 and 20 %; a consumer that stops signing at each of its first 50 intervals; and a consumer with its provider
that sign whatever brings most. Nobody honest is refused; an inflation of 1 % is caught within 20 intervals, larger ones at once;
either side loses at most one interval; no two can make money, since nothing is paid that was not set aside before.
"""

from __future__ import annotations

import os
import random

import pytest
from tests.attacks.islands import COIN, EVIDENCE, HONEST, ISSUER, mint

from worldos.errors import NotAllowed
from worldos.kernel.ledger.entry import Close, Mint, Open, Take
from worldos.kernel.ledger.ledger import Ledger
from worldos.kernel.ledger.metering import Bill, Tab, Terms
from worldos.kernel.ledger.standing import Rules
from worldos.kernel.ledger.voucher import Voucher, consumed, provided

CONSUMER, PROVIDER = HONEST[:2]
LEASES, INTERVALS = 200, 1000 if os.environ.get("TRUST_LONG") else 60
UNITS, NOISE_PPM, PRICE = 1_000_000, 5_000, 1
TERMS = Terms(lease=bytes(32), consumer=CONSUMER.node_id, provider=PROVIDER.node_id, price=PRICE, amount=1 << 50)


class Unsigned:
    """The signature of a consumer, without its cost: here only what is believed counts."""

    def sign(self, domain: str, message: bytes) -> bytes:
        return bytes(64)


def caught_at(dice: random.Random, inflation_ppm: int, intervals: int) -> int | None:
    """Return in which interval a provider that adds so much is refused; None if never."""
    bill, tab = Bill(terms=TERMS), Tab(terms=TERMS)
    for number in range(1, intervals + 1):
        used = dice.randint(UNITS // 2, UNITS)
        measured = used + used * dice.randint(-NOISE_PPM, NOISE_PPM) // 1_000_000
        claim = tab.serve(used + used * inflation_ppm // 1_000_000)
        try:
            bill.sign(Unsigned(), claim, measured)  # type: ignore[arg-type]
        except NotAllowed:
            return number
        tab.best, tab.claim = claim, None
    return None


def test_no_honest_provider_is_refused() -> None:
    assert [caught_at(random.Random(seed), 0, INTERVALS) for seed in range(LEASES)] == [None] * LEASES


@pytest.mark.parametrize(("inflation_ppm", "intervals"), [(10_000, 20), (50_000, 2), (200_000, 1)])
def test_an_inflated_meter_is_caught_in_time_and_costs_less_than_an_interval(
    inflation_ppm: int, intervals: int
) -> None:
    for seed in range(LEASES):
        caught = caught_at(random.Random(seed), inflation_ppm, 100)
        assert caught is not None
        assert caught <= intervals
        assert (caught - 1) * inflation_ppm <= 1_000_000  # paid too much, in shares of one interval


def test_a_consumer_that_stops_signing_gets_one_interval_for_nothing_and_no_more() -> None:
    for stops in range(1, 51):
        bill, tab = Bill(terms=TERMS), Tab(terms=TERMS)
        served = 0
        while True:
            try:
                claim = tab.serve(UNITS)
            except NotAllowed:
                break
            served += UNITS
            if claim.seq < stops:
                tab.signed(PROVIDER, bill.sign(CONSUMER, claim, UNITS))
        paid = tab.best.amount if tab.best else 0
        assert served * PRICE - paid == UNITS * PRICE


def test_no_two_that_collude_make_money() -> None:
    ledger = Ledger(rules=Rules(issuers=(ISSUER.node_id,), settlers=(ISSUER.node_id,)))
    mint(ledger, CONSUMER, COIN)
    minted = ledger.standing().minted

    def voucher(lease: bytes, amount: int) -> Voucher:
        said = Voucher(lease=lease, seq=1, units=1, amount=amount, consumer=CONSUMER.node_id, provider=PROVIDER.node_id)
        return provided(PROVIDER, consumed(CONSUMER, said))

    mine = Mint(to=PROVIDER.node_id, amount=COIN, evidence=EVIDENCE)
    nothing = bytes(32)
    for key, act in (
        (PROVIDER, mine),
        (CONSUMER, mine),
        (PROVIDER, Close(lease=nothing, voucher=voucher(nothing, COIN))),  # no lease was opened
        (CONSUMER, Open(provider=PROVIDER.node_id, amount=COIN + 1)),  # more than there is
    ):
        with pytest.raises(NotAllowed):
            ledger.write(key, act)
    lease = ledger.write(CONSUMER, Open(provider=PROVIDER.node_id, amount=COIN))
    with pytest.raises(NotAllowed):
        ledger.write(PROVIDER, Close(lease=lease, voucher=voucher(lease, COIN + 1)))
    closed = ledger.write(PROVIDER, Close(lease=lease, voucher=voucher(lease, COIN)))
    for key in (PROVIDER, CONSUMER):  # nothing is left to go back, and nothing is paid twice
        with pytest.raises(NotAllowed):
            ledger.write(key, Take(source=closed))
    with pytest.raises(NotAllowed):
        ledger.write(PROVIDER, Close(lease=lease, voucher=voucher(lease, COIN)))
    standing = ledger.standing()
    assert standing.minted == standing.total() == minted
    assert standing.balances[PROVIDER.node_id] == COIN
