"""A world of payers and payees cut into islands, in which some writers spend the same money everywhere.

One schedule: everybody gets money and most lay down bonds, a settler confirms; the world is cut into two to eight islands, each
with its own copy of the ledger; writers pay, open leases, close them and pay on with what they got; a liar writes in every
island from what it had before the cut. Who is paid checks as every node would (``Ledger.check_payment``). Then the islands meet
in random order, some twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from worldos.errors import NotAllowed
from worldos.kernel.ledger.entry import Allot, AnyAct, Bond, Close, Confirm, Mint, Open, Take, entry_id, read, sign
from worldos.kernel.ledger.ledger import Ledger
from worldos.kernel.ledger.limits import ISLANDS_MAX
from worldos.kernel.ledger.standing import Rules, Standing
from worldos.kernel.ledger.voucher import Voucher, consumed, provided
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey

KEYS = [DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 4 + 3 * ISLANDS_MAX)]
ISSUER, LIAR, CRONY = KEYS[:3]
NOTARIES = KEYS[3 : 3 + ISLANDS_MAX]
HONEST = KEYS[3 + ISLANDS_MAX :]
SECRET_MAX = 12  # islands of accomplices
EVIDENCE = bytes(32)
COIN = 1_000_000


def copied(ledger: Ledger) -> Ledger:
    """Return a ledger with the same entries."""
    return Ledger(rules=ledger.rules, entries=dict(ledger.entries), signed=dict(ledger.signed))


def united(ledgers: Iterable[Ledger]) -> Ledger:
    """Return what ledgers make together; their entries were checked when they came in."""
    ledgers = list(ledgers)
    made = Ledger(rules=ledgers[0].rules)
    for each in ledgers:
        made.entries |= each.entries
        made.signed |= each.signed
    return made


def mint(ledger: Ledger, to: DeviceKey, amount: int) -> None:
    source = ledger.write(ISSUER, Mint(to=to.node_id, amount=amount, evidence=EVIDENCE))
    ledger.write(to, Take(source=source))


class World:
    """The schedule of one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.islands = self.dice.randint(2, ISLANDS_MAX)
        self.honest = [HONEST[2 * number : 2 + 2 * number] for number in range(self.islands)]
        self.relied: list[bytes] = []  # payments that somebody took for good
        self.refusals = 0
        self.secrets = 0
        self.begin = self._founded()

    def _founded(self) -> Ledger:
        notaries = NOTARIES[: self.islands]
        settlers = tuple(notary.node_id for notary in notaries)
        ledger = Ledger(rules=Rules(issuers=(ISSUER.node_id,), settlers=settlers))
        mint(ledger, LIAR, 100 * COIN)
        ledger.write(LIAR, Bond(amount=self.dice.choice((7, 14, 35)) * COIN))
        for pair in self.honest:
            mint(ledger, pair[0], 20 * COIN)
            ledger.write(pair[0], Bond(amount=14 * COIN))
        for key in (LIAR, *(pair[0] for pair in self.honest)):
            for notary in notaries:
                ledger.write(notary, Confirm(entry=ledger.tip(key.node_id)))
        return ledger

    def lived(self) -> list[Ledger]:
        """Return the ledgers of all islands, just before they meet."""
        ledgers = []
        for number in range(self.islands):
            ledger = copied(self.begin)
            for _ in range(self.dice.randint(1, 4)):
                self._lie(ledger, number)
                self._work(ledger, number)
            ledgers.append(ledger)
        for _ in range(self.dice.randint(0, SECRET_MAX)):
            secret = copied(self.begin)
            amount = self.dice.choice((COIN // 2, 5 * COIN, 50 * COIN))
            secret.write(CRONY, Take(source=secret.write(LIAR, Allot(to=CRONY.node_id, amount=amount))))
            self.secrets += 1
            ledgers.append(secret)
        return ledgers

    def _lie(self, ledger: Ledger, number: int) -> None:
        """The liar pays here what it also pays elsewhere: now and then a little, now and then all it has."""
        left = ledger.standing().balances[LIAR.node_id]
        amount = min(left, self.dice.choice((COIN // 2, COIN, 2 * COIN, 3 * COIN, left)))
        if amount > 0:
            to = self.dice.choice(self.honest[number])
            self._pay(ledger, number, LIAR, to, amount)

    def _work(self, ledger: Ledger, number: int) -> None:
        """The honest pay each other with what they have, also with what the liar paid."""
        payer, payee = self.dice.sample(self.honest[number], 2)
        left = ledger.standing().balances.get(payer.node_id, 0)
        if left:
            self._pay(ledger, number, payer, payee, self.dice.randint(1, left), by_lease=self.dice.random() < 0.5)

    def _pay(
        self, ledger: Ledger, number: int, payer: DeviceKey, payee: DeviceKey, amount: int, *, by_lease: bool = False
    ) -> None:
        act: AnyAct = Allot(to=payee.node_id, amount=amount)
        if by_lease:
            act = Open(provider=payee.node_id, amount=amount)
        before = ledger.tip(payer.node_id)
        signed = sign(payer, ledger.entries[before].seq + 1 if before else 0, before, act)
        offered = copied(ledger)
        name = offered.take_in(signed)
        try:
            offered.vouch(NOTARIES[number], name)
        except NotAllowed:
            self.refusals += 1
            if payer is LIAR:  # an honest payer writes nothing that is not taken; a liar does not care
                ledger.take_in(signed)
            return
        ledger.merge(offered.signed.values())
        self.relied.append(name)
        if by_lease:
            self._use(ledger, payer, payee, name, amount)
        else:
            ledger.write(payee, Take(source=name))

    def _use(self, ledger: Ledger, payer: DeviceKey, payee: DeviceKey, lease: bytes, amount: int) -> None:
        used = self.dice.randint(0, amount)
        voucher = Voucher(lease=lease, seq=1, units=used, amount=used, consumer=payer.node_id, provider=payee.node_id)
        closed = ledger.write(payee, Close(lease=lease, voucher=provided(payee, consumed(payer, voucher))))
        if used < amount:
            ledger.write(payer, Take(source=closed))

    def met(self, ledgers: list[Ledger]) -> Ledger:
        """Let islands meet two by two in a random order, some again, until all know all."""
        left = [copied(each) for each in ledgers]
        while len(left) > 1:
            one = left.pop(self.dice.randrange(len(left)))
            other = self.dice.randrange(len(left))
            left[other] = united([left[other], one, self.dice.choice(ledgers)])
        return left[0]


def faults(ledger: Ledger, standing: Standing, relied: list[bytes], minted: int) -> list[str]:
    """Return what is wrong with where it came to; nothing, if all is as it must be."""
    wrong = []
    if standing.total() != minted or standing.minted != minted:
        wrong.append(f"{standing.total()} of {minted} are left")
    parts = (standing.balances, standing.bonds, standing.escrows, standing.under_way)
    wrong += [f"below zero: {name!r}" for part in parts for name, amount in part.items() if amount < 0]
    wrong += [f"not made whole: {ledger.entries[name].act}" for name in relied if name not in standing.counts]
    return wrong


def proves(ledger: Ledger, chain: NodeId) -> bool:
    """Whether there is a proof against a writer that convinces by itself: two signed entries with one number."""
    for fraud in ledger.frauds():
        if fraud.chain == chain:
            one, other = (ledger.signed[name] for name in (fraud.one, fraud.other))
            first, second = read(one), read(other)
            return (first.chain, first.seq) == (second.chain, second.seq) and entry_id(one.body) != entry_id(other.body)
    return False


def same(one: Standing, other: Standing) -> bool:
    return msgspec.structs.asdict(one) == msgspec.structs.asdict(other)
