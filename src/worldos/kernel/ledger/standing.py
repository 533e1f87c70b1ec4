"""Standing: who has how much, as a pure function of a set of entries. Merging ledgers is uniting sets.

Each branch of a chain is judged by itself: an entry counts if all before it count, if what it takes was sent to it and not
taken before, and if the branch has what it spends. A chain of an honest writer is one branch. Of a writer that equivocated
all branches count, since those whom it paid did nothing wrong; what it spent beyond what it had is a *deficit*, and paid from
its bond. Where not even the bond covers it, entries are void, and with them what rests on them: first those that no notary
vouched for, of these the last. Notaries vouch only for what bonds cover (``ledger``), so who relied on them is never struck.

Of a lease the least of what its provider and a settler said is due, so that nobody gains by saying two things.
Invariant: balances, bonds, escrows and what is under way sum to what was minted, and none is negative, for any set.
Integers in micro-WOSCoin; the order of entries plays no part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.ledger.entry import (
    Allot,
    Bond,
    Close,
    Confirm,
    Entry,
    Forfeit,
    Lapse,
    Mint,
    Open,
    Take,
)
from worldos.kernel.ledger.limits import VOIDS_MAX
from worldos.model.ids import NodeId


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Whose word mints, and whose settles and vouches, in this ledger: the notaries, one for each island there may be."""

    issuers: tuple[NodeId, ...]
    settlers: tuple[NodeId, ...]


class Fraud(msgspec.Struct, frozen=True, kw_only=True):
    """Two entries with one number in one chain: its writer signed both, and that is the whole proof."""

    chain: NodeId
    seq: int
    one: bytes
    other: bytes


class Standing(msgspec.Struct, kw_only=True):
    """What a set of entries comes to. ``under_way``: sent and not yet taken, by entry; ``paid``: deficits, by chain."""

    balances: dict[NodeId, int] = {}
    bonds: dict[NodeId, int] = {}
    escrows: dict[bytes, int] = {}
    under_way: dict[bytes, int] = {}
    paid: dict[NodeId, int] = {}
    minted: int = 0
    counts: set[bytes] = set()
    void: set[bytes] = set()
    waiting: set[bytes] = set()

    def total(self) -> int:
        """Return all money there is; it is what was minted."""
        parts = (self.balances, self.bonds, self.escrows, self.under_way)
        return sum(sum(part.values()) for part in parts)


class Branch(msgspec.Struct, kw_only=True):
    """What a chain has after one of its entries, by the entries before it alone."""

    balance: int
    bond: int


def evaluate(entries: Mapping[bytes, Entry], rules: Rules) -> Standing:
    """Return what these entries come to."""
    order, waiting = _in_order(entries)
    void: set[bytes] = set()
    for _ in range(VOIDS_MAX):
        branches = _judge(entries, order, rules, void)
        standing = _sum(entries, branches)
        uncovered = _uncovered(entries, branches, standing, vouched(entries, rules))
        if not uncovered:
            standing.waiting = waiting
            standing.void = {each for each in order if each not in branches}
            return standing
        void |= uncovered
    raise PeerBroke("a ledger in which too much rests on nothing")


def frauds(entries: Mapping[bytes, Entry]) -> list[Fraud]:
    """Return one proof for each chain whose writer equivocated: of its first such number, the two lowest ids."""
    numbers: defaultdict[NodeId, defaultdict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for name, entry in entries.items():
        numbers[entry.chain][entry.seq].append(name)
    found = []
    for chain in sorted(numbers):
        twice = [seq for seq, names in numbers[chain].items() if len(names) > 1]
        if twice:
            one, other, *_ = sorted(numbers[chain][min(twice)])
            found.append(Fraud(chain=chain, seq=min(twice), one=one, other=other))
    return found


def vouched(entries: Mapping[bytes, Entry], rules: Rules) -> set[bytes]:
    """Return the entries that a notary confirmed, with all before each."""
    found: set[bytes] = set()
    for entry in entries.values():
        if isinstance(entry.act, Confirm) and entry.chain in rules.settlers:
            name = entry.act.entry
            while name in entries and name not in found:
                found.add(name)
                name = entries[name].before
    return found


def _needs(entry: Entry) -> list[bytes]:
    """Return the entries without which this one cannot be judged."""
    before = [entry.before] if entry.seq else []
    match entry.act:
        case Take(source=source):
            return [*before, source]
        case Close(lease=lease) | Lapse(lease=lease):
            return [*before, lease]
        case _:
            return before


def _in_order(entries: Mapping[bytes, Entry]) -> tuple[list[bytes], set[bytes]]:
    """Return the entries, each after what it needs, and those that wait for one that is not here. Hashes make no circles."""
    missing: dict[bytes, int] = {}
    after: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for name, entry in entries.items():
        needs = set(_needs(entry))
        missing[name] = len(needs)
        for need in needs:
            after[need].append(name)
    ready = [name for name, count in missing.items() if not count]
    for name in ready:  # it grows
        for each in after[name]:
            missing[each] -= 1
            if not missing[each]:
                ready.append(each)
    return ready, {name for name, count in missing.items() if count}


def _judge(entries: Mapping[bytes, Entry], order: list[bytes], rules: Rules, void: set[bytes]) -> dict[bytes, Branch]:
    """Return for each entry that counts what its branch has after it."""
    branches: dict[bytes, Branch] = {}
    takers: defaultdict[tuple[NodeId, bytes], set[bytes]] = defaultdict(set)
    for name in order:
        if name in void:
            continue
        entry = entries[name]
        before = branches.get(entry.before) if entry.seq else Branch(balance=0, bond=0)
        if before is None or (entry.seq and not _is_next(entries[entry.before], entry)):
            continue
        mark = _mark(entry, entries)
        if mark and _is_taken(entry, takers[entry.chain, mark], entries):
            continue
        after = _after(entry, before, entries, branches, rules)
        if after is not None:
            branches[name] = after
            if mark:
                takers[entry.chain, mark].add(name)
    return branches


def _is_next(one: Entry, other: Entry) -> bool:
    return one.chain == other.chain and one.seq + 1 == other.seq


def _is_taken(entry: Entry, takers: set[bytes], entries: Mapping[bytes, Entry]) -> bool:
    """Tell whether an entry before this one took the same. Mostly nobody did, and no branch is walked."""
    while takers and entry.seq:
        if entry.before in takers:
            return True
        entry = entries[entry.before]
    return False


def _after(
    entry: Entry, before: Branch, entries: Mapping[bytes, Entry], branches: Mapping[bytes, Branch], rules: Rules
) -> Branch | None:
    """Return what a branch has after an entry, or None if the entry cannot count there."""
    balance, bond = before.balance, before.bond
    match entry.act:
        case Mint():
            good = entry.chain in rules.issuers
        case Forfeit() | Confirm():
            good = entry.chain in rules.settlers
        case Allot(amount=amount) | Open(amount=amount):
            balance, good = balance - amount, True
        case Bond(amount=amount):
            balance, bond, good = balance - amount, bond + amount, True
        case Take(source=source):
            amount = credit(source, entry.chain, entries) if source in branches else 0
            balance, good = balance + amount, amount > 0
        case Close(lease=lease) | Lapse(lease=lease):
            good = lease in branches and _may_settle(entry, entries, rules)
            if isinstance(entry.act, Close):
                balance += settled(entry)
        case _:
            assert_never(entry.act)
    return Branch(balance=balance, bond=bond) if good and balance >= 0 else None


def _mark(entry: Entry, entries: Mapping[bytes, Entry]) -> bytes:
    """Name what an entry takes, so that a branch takes it once; a lease that was settled twice is one."""
    if isinstance(entry.act, Close | Lapse):
        return entry.act.lease
    if not isinstance(entry.act, Take):
        return b""
    source = entries[entry.act.source].act
    return source.lease if isinstance(source, Close | Lapse) else entry.act.source


def _may_settle(entry: Entry, entries: Mapping[bytes, Entry], rules: Rules) -> bool:
    assert isinstance(entry.act, Close | Lapse)
    opened = entries[entry.act.lease]
    if not isinstance(opened.act, Open) or opened.chain == opened.act.provider:
        return False
    if entry.chain != opened.act.provider if isinstance(entry.act, Close) else entry.chain not in rules.settlers:
        return False
    voucher = entry.act.voucher
    return voucher is None or (
        voucher.consumer == opened.chain
        and voucher.provider == opened.act.provider
        and voucher.amount <= opened.act.amount
    )


def settled(entry: Entry) -> int:
    """Return what a Close or a Lapse says is due to the provider."""
    assert isinstance(entry.act, Close | Lapse)
    return entry.act.voucher.amount if entry.act.voucher is not None else 0


def credit(source: bytes, chain: NodeId, entries: Mapping[bytes, Entry]) -> int:
    """Return how much an entry brings to a chain, if it is meant for it."""
    entry = entries[source]
    match entry.act:
        case Allot(to=to, amount=amount) | Mint(to=to, amount=amount) | Forfeit(to=to, amount=amount):
            return amount if to == chain else 0
        case Close(lease=lease) | Lapse(lease=lease):
            opened = entries[lease]
            assert isinstance(opened.act, Open)
            if chain == opened.chain:
                return opened.act.amount - settled(entry)
            return settled(entry) if isinstance(entry.act, Lapse) and chain == opened.act.provider else 0
        case _:
            return 0


def _sum(entries: Mapping[bytes, Entry], branches: Mapping[bytes, Branch]) -> Standing:
    """Add up all branches of all chains; balances may be below zero here, until bonds have paid."""
    standing = Standing(counts=set(branches))
    balances: defaultdict[NodeId, int] = defaultdict(int)
    bonds: defaultdict[NodeId, int] = defaultdict(int)
    due, refunds, providers = _settlements(entries, branches)
    taken: set[tuple[NodeId, bytes]] = set()
    for name in branches:
        entry = entries[name]
        balances[entry.chain] += 0
        match entry.act:
            case Mint(amount=amount):
                standing.minted += amount
                standing.under_way[name] = standing.under_way.get(name, amount)
            case Allot(amount=amount):
                balances[entry.chain] -= amount
                standing.under_way[name] = standing.under_way.get(name, amount)
            case Forfeit(of=of, amount=amount):
                bonds[of] -= amount
                standing.under_way[name] = standing.under_way.get(name, amount)
            case Bond(amount=amount):
                balances[entry.chain] -= amount
                bonds[entry.chain] += amount
            case Open(amount=amount):
                balances[entry.chain] -= amount
                standing.escrows[name] = amount
            case Take(source=source):
                act = entries[source].act
                if not isinstance(act, Close | Lapse) and (entry.chain, source) not in taken:
                    taken.add((entry.chain, source))
                    balances[entry.chain] += credit(source, entry.chain, entries)
                    standing.under_way[source] = 0
            case Close() | Lapse() | Confirm():
                pass
            case _:
                assert_never(entry.act)
    for lease, opened in ((lease, entries[lease]) for lease in standing.escrows):
        assert isinstance(opened.act, Open)
        pay = due[lease] if lease in providers else 0
        standing.escrows[lease] -= pay + refunds.get(lease, 0)
        balances[opened.act.provider] += pay
        balances[opened.chain] += refunds.get(lease, 0)
    standing.under_way = {name: amount for name, amount in standing.under_way.items() if amount}
    standing.balances, standing.bonds = dict(balances), dict(bonds)
    _pay_from_bonds(standing)
    return standing


def _settlements(
    entries: Mapping[bytes, Entry], branches: Mapping[bytes, Branch]
) -> tuple[dict[bytes, int], dict[bytes, int], set[bytes]]:
    """Return of each settled lease what is due, what went back, and whether its provider has it."""
    due: dict[bytes, int] = {}
    refunds: dict[bytes, int] = {}
    providers: set[bytes] = set()
    for name in branches:
        entry = entries[name]
        if isinstance(entry.act, Close | Lapse):
            lease = entry.act.lease
            due[lease] = min(due.get(lease, settled(entry)), settled(entry))
            if isinstance(entry.act, Close):
                providers.add(lease)
        elif isinstance(entry.act, Take) and isinstance(source := entries[entry.act.source].act, Close | Lapse):
            if entry.chain == entries[source.lease].chain:
                back = credit(entry.act.source, entry.chain, entries)
                refunds[source.lease] = max(refunds.get(source.lease, 0), back)
            else:
                providers.add(source.lease)
    return due, refunds, providers


def _pay_from_bonds(standing: Standing) -> None:
    for chain, balance in standing.balances.items():
        if balance < 0:
            pay = min(-balance, max(0, standing.bonds.get(chain, 0)))
            standing.bonds[chain] = standing.bonds.get(chain, 0) - pay
            standing.balances[chain] += pay
            standing.paid[chain] = pay


def _uncovered(
    entries: Mapping[bytes, Entry], branches: Mapping[bytes, Branch], standing: Standing, sure: set[bytes]
) -> set[bytes]:
    """Return what must be void: of each chain below zero a last debit, of each bond below zero the last forfeit."""
    below = {chain for chain, balance in standing.balances.items() if balance < 0}
    unbonded = {chain for chain, bond in standing.bonds.items() if bond < 0}
    last: dict[NodeId, tuple[bool, int, bytes]] = {}
    for name in branches:
        entry = entries[name]
        act = entry.act
        rank = (name not in sure, entry.seq, name)
        if isinstance(act, Forfeit) and act.of in unbonded:
            last[act.of] = max(last.get(act.of, rank), rank)
        elif entry.chain in below and isinstance(act, Allot | Open | Bond):
            last[entry.chain] = max(last.get(entry.chain, rank), rank)
    assert len(last) == len(below | unbonded), "what is below zero spent something, or was taken from"
    return {name for _, _, name in last.values()}
