"""A ledger: what comes in, what can be written, and what one may rely on."""

from __future__ import annotations

import pytest

from worldos.errors import NotAllowed
from worldos.kernel.ledger.entry import Allot, Bond, Confirm, Mint, Take, sign
from worldos.kernel.ledger.ledger import Ledger
from worldos.kernel.ledger.standing import Rules
from worldos.trust.keys import DeviceKey

ISSUER, NORTH, SOUTH, ANNE, BEN = (DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 6))


def ledger_of(*, bond: int = 10) -> Ledger:
    ledger = Ledger(rules=Rules(issuers=(ISSUER.node_id,), settlers=(NORTH.node_id, SOUTH.node_id)))
    source = ledger.write(ISSUER, Mint(to=ANNE.node_id, amount=100, evidence=bytes(32)))
    ledger.write(ANNE, Take(source=source))
    ledger.write(ANNE, Bond(amount=bond))
    for notary in (NORTH, SOUTH):
        ledger.write(notary, Confirm(entry=ledger.tip(ANNE.node_id)))
    return ledger


def test_what_does_not_count_is_not_written() -> None:
    ledger = ledger_of()
    size = len(ledger.entries)
    with pytest.raises(NotAllowed):
        ledger.write(ANNE, Allot(to=BEN.node_id, amount=91))
    assert len(ledger.entries) == len(ledger.signed) == size


def test_a_notary_vouches_for_what_the_bond_covers_in_all_other_islands() -> None:
    ledger = ledger_of(bond=10)
    first = ledger.write(ANNE, Allot(to=BEN.node_id, amount=10))
    ledger.vouch(NORTH, first)
    assert ledger.is_vouched(first)
    second = ledger.write(ANNE, Allot(to=BEN.node_id, amount=1))
    with pytest.raises(NotAllowed, match="not all notaries saw"):
        ledger.vouch(NORTH, second)
    assert not ledger.is_vouched(second)


def test_when_all_notaries_saw_what_was_spent_more_can_be() -> None:
    ledger = ledger_of(bond=10)
    first = ledger.write(ANNE, Allot(to=BEN.node_id, amount=10))
    for notary in (NORTH, SOUTH):
        ledger.vouch(notary, first)
    assert ledger.exposure(first) == (0, 10)
    ledger.vouch(NORTH, ledger.write(ANNE, Allot(to=BEN.node_id, amount=10)))


def test_nobody_vouches_for_who_wrote_one_number_twice() -> None:
    ledger = ledger_of()
    tip = ledger.tip(ANNE.node_id)
    names = [
        ledger.take_in(sign(ANNE, ledger.entries[tip].seq + 1, tip, Allot(to=BEN.node_id, amount=amount)))
        for amount in (1, 2)
    ]
    for name in names:
        with pytest.raises(NotAllowed, match="two entries with one number"):
            ledger.vouch(NORTH, name)


def test_two_ledgers_that_met_are_the_same() -> None:
    one, other = ledger_of(), ledger_of()
    one.write(ANNE, Allot(to=BEN.node_id, amount=1))
    other.write(ANNE, Allot(to=BEN.node_id, amount=2))
    mine, theirs = list(one.signed.values()), list(other.signed.values())
    one.merge(theirs)
    other.merge(mine)
    assert one.standing() == other.standing()
    assert one.frauds() == other.frauds() != []
