"""Metering: both sides of a lease measure the same use, and sign for it interval by interval.

The consumer (``Bill``) signs a voucher for an interval only if what the provider claims is near what it measured itself, and if
the sum of what was claimed beyond an honest slack (a CUSUM, Page 1954) has not passed an alarm: a provider that always adds
one part in a hundred is not believed after some ten intervals, whatever it says of one. The provider (``Tab``) goes on only
while every interval but the last is signed for. So each side can lose at most one interval by the other's leaving or lying.
Units as the lease counts them, shares in millionths, prices in micro-WOSCoin a unit. Integers.
"""

from __future__ import annotations

import msgspec

from worldos.errors import NotAllowed, OverQuota, PeerBroke
from worldos.kernel.ledger.limits import METER_ALARM_PPM, METER_ONCE_PPM, METER_SLACK_PPM, MILLION
from worldos.kernel.ledger.voucher import Voucher, check_consumed, consumed, provided
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease costs: at most ``amount`` in all, which is set aside, by ``price`` for each unit."""

    lease: bytes
    consumer: NodeId
    provider: NodeId
    price: int
    amount: int


class Bill(msgspec.Struct, kw_only=True):
    """The consumer's side of a lease."""

    terms: Terms
    signed: Voucher | None = None
    over_ppm: int = 0  # claimed beyond the slack, summed up and never below zero

    def sign(self, key: DeviceKey, claimed: Voucher, measured: int) -> Voucher:
        """Sign the provider's claim for one more interval in which ``measured`` units were used; NotAllowed if not."""
        last_seq, last_units = (self.signed.seq, self.signed.units) if self.signed else (0, 0)
        _check_claim(self.terms, claimed)
        if claimed.seq != last_seq + 1 or claimed.units < last_units:
            raise PeerBroke("a voucher does not follow from the one before it")
        over_ppm = (claimed.units - last_units - measured) * MILLION // max(measured, 1)
        if over_ppm > METER_ONCE_PPM:
            raise NotAllowed(f"{over_ppm / 10_000:.1f} % more is claimed than was measured")
        self.over_ppm = max(0, self.over_ppm + over_ppm - METER_SLACK_PPM)
        if self.over_ppm > METER_ALARM_PPM:
            raise NotAllowed("more is claimed, again and again, than was measured")
        self.signed = consumed(key, claimed)
        return self.signed


class Tab(msgspec.Struct, kw_only=True):
    """The provider's side of a lease."""

    terms: Terms
    best: Voucher | None = None
    claim: Voucher | None = None  # sent, and not signed yet

    def serve(self, units: int) -> Voucher:
        """Return the claim for one more interval of so many units; NotAllowed while the last one is not signed for."""
        if self.claim is not None:
            raise NotAllowed("the last interval was not signed for: no more is given")
        seq, before = (self.best.seq, self.best.units) if self.best else (0, 0)
        amount = (before + units) * self.terms.price
        if amount > self.terms.amount:
            raise OverQuota("what was set aside for this lease is used up")
        self.claim = Voucher(
            lease=self.terms.lease,
            seq=seq + 1,
            units=before + units,
            amount=amount,
            consumer=self.terms.consumer,
            provider=self.terms.provider,
        )
        return self.claim

    def signed(self, key: DeviceKey, voucher: Voucher) -> Voucher:
        """Take in what the consumer signed, and sign it; raise PeerBroke or BadSignature if it is another."""
        if self.claim is None or msgspec.structs.replace(voucher, by_consumer=b"", by_provider=b"") != self.claim:
            raise PeerBroke("another voucher was signed than was asked for")
        check_consumed(voucher)
        self.best, self.claim = provided(key, voucher), None
        return self.best


def _check_claim(terms: Terms, claimed: Voucher) -> None:
    same = (claimed.lease, claimed.consumer, claimed.provider) == (terms.lease, terms.consumer, terms.provider)
    if not same or claimed.amount != claimed.units * terms.price or claimed.amount > terms.amount:
        raise PeerBroke("a voucher is not by the terms of its lease")
