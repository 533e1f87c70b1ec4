"""Vouchers: two signatures over one bill."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.ledger.voucher import Voucher, check_consumed, check_voucher, consumed, provided
from worldos.trust.keys import DeviceKey

ANNE, BEN = (DeviceKey.from_seed(bytes([number]) * 32) for number in (1, 2))
PLAIN = Voucher(lease=bytes(32), seq=3, units=10, amount=20, consumer=ANNE.node_id, provider=BEN.node_id)
BOTH = provided(BEN, consumed(ANNE, PLAIN))


def test_what_both_signed_passes() -> None:
    check_voucher(BOTH)
    check_consumed(consumed(ANNE, PLAIN))


@pytest.mark.parametrize("change", [{"amount": 21}, {"units": 11}, {"seq": 4}, {"lease": b"x" * 32}])
def test_nothing_can_be_changed_after_either_signed(change: dict[str, object]) -> None:
    for signed in (BOTH, consumed(ANNE, PLAIN)):
        with pytest.raises(BadSignature):
            check_voucher(msgspec.structs.replace(signed, **change))


def test_one_side_alone_is_not_both() -> None:
    for half in (PLAIN, consumed(ANNE, PLAIN), provided(BEN, PLAIN)):
        with pytest.raises(BadSignature):
            check_voucher(half)


def test_nobody_leases_from_itself() -> None:
    own = msgspec.structs.replace(PLAIN, provider=ANNE.node_id)
    with pytest.raises(PeerBroke):
        check_voucher(provided(ANNE, consumed(ANNE, own)))


def test_a_signature_of_one_side_is_none_of_the_other() -> None:
    swapped = msgspec.structs.replace(BOTH, by_consumer=BOTH.by_provider, by_provider=BOTH.by_consumer)
    with pytest.raises(BadSignature):
        check_voucher(swapped)
