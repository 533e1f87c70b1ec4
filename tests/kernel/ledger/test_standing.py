"""Standing: who has how much. Any set of entries, honest or not, comes to a sum that is what was minted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.kernel.ledger.entry import (
    Allot,
    AnyAct,
    Bond,
    Close,
    Confirm,
    Entry,
    Forfeit,
    Lapse,
    Mint,
    Open,
    Take,
    entry_id,
    sign,
)
from worldos.kernel.ledger.standing import Rules, evaluate, frauds
from worldos.kernel.ledger.voucher import Voucher
from worldos.trust.keys import DeviceKey

ISSUER, SETTLER, ANNE, BEN, CLEO = (DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 6))
RULES = Rules(issuers=(ISSUER.node_id,), settlers=(SETTLER.node_id,))
EVIDENCE = bytes(32)


class Book:
    """Entries by hand, without signatures: they are checked at the door, not here."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.tips: dict[str, tuple[int, bytes]] = {}

    def add(self, key: DeviceKey, act: AnyAct, after: tuple[int, bytes] | None = None) -> bytes:
        seq, before = after if after is not None else self.tips.get(key.node_id, (0, b""))
        signed = sign(key, seq, before, act)
        name = entry_id(signed.body)
        self.entries[name] = Entry(chain=key.node_id, seq=seq, before=before, act=act)
        self.tips[key.node_id] = (seq + 1, name)
        return name

    def give(self, key: DeviceKey, amount: int) -> None:
        self.add(key, Take(source=self.add(ISSUER, Mint(to=key.node_id, amount=amount, evidence=EVIDENCE))))

    def voucher(self, lease: bytes, amount: int, consumer: DeviceKey = ANNE, provider: DeviceKey = BEN) -> Voucher:
        return Voucher(lease=lease, seq=1, units=1, amount=amount, consumer=consumer.node_id, provider=provider.node_id)


def balance(book: Book, key: DeviceKey) -> int:
    return evaluate(book.entries, RULES).balances.get(key.node_id, 0)


def test_money_is_minted_taken_sent_and_taken() -> None:
    book = Book()
    book.give(ANNE, 100)
    sent = book.add(ANNE, Allot(to=BEN.node_id, amount=30))
    standing = evaluate(book.entries, RULES)
    assert (standing.balances[ANNE.node_id], standing.under_way) == (70, {sent: 30})
    book.add(BEN, Take(source=sent))
    assert (balance(book, ANNE), balance(book, BEN)) == (70, 30)
    assert evaluate(book.entries, RULES).total() == 100


def test_who_has_too_little_sends_nothing_and_what_was_not_sent_is_not_taken() -> None:
    book = Book()
    book.give(ANNE, 10)
    sent = book.add(ANNE, Allot(to=BEN.node_id, amount=11))
    book.add(BEN, Take(source=sent))
    assert (balance(book, ANNE), balance(book, BEN)) == (10, 0)


def test_nothing_is_taken_twice_nor_by_another() -> None:
    book = Book()
    book.give(ANNE, 10)
    sent = book.add(ANNE, Allot(to=BEN.node_id, amount=4))
    for key in (BEN, BEN, CLEO):
        book.add(key, Take(source=sent))
    assert (balance(book, BEN), balance(book, CLEO)) == (4, 0)


def test_nobody_but_an_issuer_mints_and_nobody_but_a_settler_settles() -> None:
    book = Book()
    false = book.add(ANNE, Mint(to=ANNE.node_id, amount=5, evidence=EVIDENCE))
    book.add(ANNE, Take(source=false))
    book.give(BEN, 9)
    book.add(BEN, Bond(amount=9))
    taken = book.add(CLEO, Forfeit(of=BEN.node_id, to=CLEO.node_id, amount=9, evidence=EVIDENCE))
    book.add(CLEO, Take(source=taken))
    standing = evaluate(book.entries, RULES)
    assert standing.minted == 9
    assert standing.bonds == {BEN.node_id: 9}


def test_a_lease_pays_its_provider_by_the_voucher_and_gives_the_rest_back() -> None:
    book = Book()
    book.give(ANNE, 100)
    lease = book.add(ANNE, Open(provider=BEN.node_id, amount=60))
    assert evaluate(book.entries, RULES).escrows == {lease: 60}
    closed = book.add(BEN, Close(lease=lease, voucher=book.voucher(lease, 25)))
    book.add(ANNE, Take(source=closed))
    standing = evaluate(book.entries, RULES)
    assert (standing.balances[ANNE.node_id], standing.balances[BEN.node_id], standing.escrows[lease]) == (75, 25, 0)


def test_a_voucher_for_more_than_was_set_aside_or_of_others_pays_nothing() -> None:
    book = Book()
    book.give(ANNE, 100)
    lease = book.add(ANNE, Open(provider=BEN.node_id, amount=60))
    start = book.tips.get(BEN.node_id, (0, b""))
    for voucher in (book.voucher(lease, 61), book.voucher(lease, 5, CLEO), book.voucher(lease, 5, ANNE, CLEO)):
        book.add(BEN, Close(lease=lease, voucher=voucher), start)
    book.add(CLEO, Close(lease=lease, voucher=book.voucher(lease, 5, ANNE, CLEO)))
    standing = evaluate(book.entries, RULES)
    assert standing.escrows == {lease: 60}
    assert standing.balances.get(BEN.node_id, 0) == standing.balances.get(CLEO.node_id, 0) == 0


def test_a_lease_that_its_provider_never_closed_lapses_and_a_late_close_brings_no_more() -> None:
    book = Book()
    book.give(ANNE, 100)
    lease = book.add(ANNE, Open(provider=BEN.node_id, amount=60))
    lapsed = book.add(SETTLER, Lapse(lease=lease, voucher=book.voucher(lease, 10)))
    book.add(ANNE, Take(source=lapsed))
    book.add(BEN, Close(lease=lease, voucher=book.voucher(lease, 40)))
    standing = evaluate(book.entries, RULES)
    assert (standing.balances[ANNE.node_id], standing.balances[BEN.node_id]) == (90, 10)
    assert standing.escrows[lease] == 0


def test_who_spends_twice_pays_from_its_bond_and_both_who_were_paid_keep_it() -> None:
    book = Book()
    book.give(ANNE, 30)
    book.add(ANNE, Bond(amount=10))
    fork = book.tips[ANNE.node_id]
    for payee in (BEN, CLEO):
        book.add(payee, Take(source=book.add(ANNE, Allot(to=payee.node_id, amount=15), fork)))
    standing = evaluate(book.entries, RULES)
    assert (standing.balances[BEN.node_id], standing.balances[CLEO.node_id]) == (15, 15)
    assert (standing.balances[ANNE.node_id], standing.bonds[ANNE.node_id], standing.paid) == (0, 0, {ANNE.node_id: 10})
    proof = frauds(book.entries)
    assert [(each.chain, each.seq) for each in proof] == [(ANNE.node_id, fork[0])]


def test_what_no_bond_covers_is_void_and_what_a_notary_vouched_for_is_not() -> None:
    book = Book()
    book.give(ANNE, 20)
    fork = book.tips[ANNE.node_id]
    paid = [book.add(ANNE, Allot(to=payee.node_id, amount=20), fork) for payee in (BEN, CLEO)]
    for name, payee in zip(paid, (BEN, CLEO), strict=True):
        book.add(payee, Take(source=name))
    for sure, other in (paid, paid[::-1]):
        added = dict(book.entries)
        signed = sign(SETTLER, 0, b"", Confirm(entry=sure))
        added[entry_id(signed.body)] = Entry(chain=SETTLER.node_id, seq=0, before=b"", act=Confirm(entry=sure))
        standing = evaluate(added, RULES)
        assert sure in standing.counts
        assert other in standing.void
        assert standing.total() == 20


def test_an_entry_waits_for_what_it_rests_on() -> None:
    book = Book()
    book.give(ANNE, 20)
    sent = book.add(ANNE, Allot(to=BEN.node_id, amount=5))
    took = book.add(BEN, Take(source=sent))
    late = book.entries.pop(sent)
    assert evaluate(book.entries, RULES).waiting == {took}
    book.entries[sent] = late
    assert evaluate(book.entries, RULES).waiting == set()


PEOPLE = (ANNE, BEN, CLEO)


@st.composite
def books(draw: st.DrawFn) -> Book:
    """Entries of people who do whatever they like, also write one number twice and settle as they please."""
    book = Book()
    for key in PEOPLE:
        book.give(key, draw(st.integers(1, 50)))
    names = list(book.entries)
    for _ in range(draw(st.integers(0, 14))):
        key = draw(st.sampled_from([*PEOPLE, SETTLER]))
        amount, other, name = draw(st.integers(1, 40)), draw(st.sampled_from(PEOPLE)), draw(st.sampled_from(names))
        voucher = book.voucher(name, amount, other, draw(st.sampled_from(PEOPLE)))
        act = draw(
            st.sampled_from(
                [
                    Take(source=name),
                    Allot(to=other.node_id, amount=amount),
                    Bond(amount=amount),
                    Open(provider=other.node_id, amount=amount),
                    Close(lease=name, voucher=voucher),
                    Close(lease=name, voucher=None),
                    Lapse(lease=name, voucher=voucher),
                    Confirm(entry=name),
                    Forfeit(of=other.node_id, to=key.node_id, amount=amount, evidence=EVIDENCE),
                ]
            )
        )
        mine = [(entry.seq + 1, each) for each, entry in book.entries.items() if entry.chain == key.node_id]
        after = draw(st.sampled_from([*mine, (0, b"")])) if draw(st.booleans()) else None
        names.append(book.add(key, act, after))
    return book


@given(books(), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_whatever_anybody_writes_the_sum_holds_nothing_is_below_zero_and_order_plays_no_part(book: Book, dice) -> None:  # type: ignore[no-untyped-def]
    standing = evaluate(book.entries, RULES)
    assert standing.total() == standing.minted
    for part in (standing.balances, standing.bonds, standing.escrows, standing.under_way):
        assert all(amount >= 0 for amount in part.values())
    shuffled = list(book.entries.items())
    dice.shuffle(shuffled)
    again = evaluate(dict(shuffled), RULES)
    for field in ("balances", "bonds", "escrows", "under_way", "paid", "minted", "counts", "void", "waiting"):
        assert getattr(again, field) == getattr(standing, field)
    assert frauds(dict(shuffled)) == frauds(book.entries)
