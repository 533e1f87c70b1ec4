"""Double spend: one writer spends the same money in two to eight islands at once, and they meet in every order.

Run: 30 random schedules (100 000 with TRUST_LONG=1) of a liar and up to 16 honest accounts in two to eight islands, each with
payments, leases by vouchers and payments onwards of what the liar paid, and up to twelve secret islands in which it pays an
accomplice; each met in three random orders, some islands twice, and for three islands in all six. In each: one state
whatever the order; what there is is what was minted; nothing is below zero; a proof of two signatures convicts the liar
wherever it lied twice, and nobody honest; whoever relied on a payment has it, made whole from the liar's bond.
"""

from __future__ import annotations

import itertools
import os

import pytest
from tests.attacks.islands import CRONY, ISSUER, LIAR, World, faults, proves, same, united

from worldos.errors import NotAllowed
from worldos.kernel.ledger import ledger as ledger_module
from worldos.kernel.ledger.ledger import Ledger

LONG = bool(os.environ.get("TRUST_LONG"))
LIARS = {LIAR.node_id, CRONY.node_id}
SCHEDULES = 100_000 if LONG else 30


def run(seed: int) -> World:
    world = World(seed)
    ledgers = world.lived()
    minted = world.begin.standing().minted
    whole = united(ledgers)
    standing = whole.standing()
    wrong = faults(whole, standing, world.relied, minted)
    for _ in range(3):
        wrong += [] if same(world.met(ledgers).standing(), standing) else ["another order, another state"]
    branches = sum(each.tip(LIAR.node_id) != world.begin.tip(LIAR.node_id) for each in ledgers)
    if proves(whole, LIAR.node_id) != (branches > 1):
        wrong.append("a liar without proof, or a proof without a lie")
    wrong += [f"an honest writer is convicted: {fraud.chain}" for fraud in whole.frauds() if fraud.chain not in LIARS]
    assert not wrong, f"seed {seed}: {wrong}"
    return world


@pytest.mark.timeout(24 * 3600 if LONG else 120)
def test_no_double_spend_pays_in_any_schedule() -> None:
    worlds = [run(seed) for seed in range(SCHEDULES)] if not LONG else []
    for seed in range(SCHEDULES if LONG else 0):
        run(seed)
    assert LONG or sum(bool(world.relied) and bool(world.refusals) for world in worlds) > SCHEDULES // 2


def test_three_islands_come_to_the_same_in_all_six_orders() -> None:
    world = next(each for each in map(World, range(100)) if each.islands == 3)
    ledgers = world.lived()[:3]
    met = [united(order).standing() for order in itertools.permutations(ledgers)]
    met += [united([*order, order[0]]).standing() for order in itertools.permutations(ledgers)]
    assert all(same(each, met[0]) for each in met)


def test_entries_told_one_by_one_over_the_wire_in_any_order_come_to_the_same() -> None:
    world = World(4)
    whole = united(world.lived())
    signed = list(whole.signed.values())
    for _ in range(3):
        world.dice.shuffle(signed)
        told = Ledger(rules=world.begin.rules)
        told.merge([*signed, *signed[:5]])
        assert same(told.standing(), whole.standing())


def test_the_checker_sees_a_bond_that_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: everybody takes what the liar offers. Then somebody is not made whole, and it is seen."""

    def trusting(ledger: Ledger, name: bytes) -> None:
        if name not in ledger.standing().counts:
            raise NotAllowed

    monkeypatch.setattr(ledger_module.Ledger, "check_payment", trusting)
    wrong: list[str] = []
    for seed in range(8):
        world = World(seed)
        whole = united(world.lived())
        wrong += faults(whole, whole.standing(), world.relied, world.begin.standing().minted)
    assert any("not made whole" in each for each in wrong)
    assert not any("left" in each or "below zero" in each for each in wrong)  # and even then no money is made or lost


def test_nobody_but_an_issuer_mints() -> None:
    world = World(1)
    with pytest.raises(NotAllowed):
        world.begin.write(LIAR, world.begin.entries[world.begin.tip(ISSUER.node_id)].act)
