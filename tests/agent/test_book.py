"""The book: transfers on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldos.agent.book import AMOUNT_MAX, GROUP_MAX, MINTED, Book, Transfer
from worldos.errors import BadRequest, CorruptFile, OverQuota

WAIT_S = 60


def named(number: int) -> bytes:
    return number.to_bytes(32, "big")


def move(number: int, debit: str, credit: str, amount: int) -> Transfer:
    return Transfer(id=named(number), debit=debit, credit=credit, amount=amount, evidence=b"why %d" % number)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path / "book")
    made.post(move(0, MINTED, "anne", 100)).result(WAIT_S)
    yield made
    made.close()


def test_a_transfer_moves_money_and_is_there_after_a_start(book: Book, tmp_path: Path) -> None:
    book.post(move(1, "anne", "ben", 30)).result(WAIT_S)
    book.close()
    again = Book(tmp_path / "book")
    assert (again.balance("anne"), again.balance("ben"), again.balance(MINTED)) == (70, 30, -100)
    assert list(again.evidence()) == [b"why 0", b"why 1"]
    again.check()
    again.close()


def test_one_that_is_sent_again_is_done_once(book: Book) -> None:
    for _ in range(3):
        book.post(move(1, "anne", "ben", 30)).result(WAIT_S)
    assert book.balance("ben") == 30


def test_an_id_names_one_transfer(book: Book) -> None:
    book.post(move(1, "anne", "ben", 30)).result(WAIT_S)
    with pytest.raises(BadRequest):
        book.post(move(1, "anne", "ben", 31)).result(WAIT_S)


def test_who_has_too_little_moves_nothing_and_can_try_again_when_it_has_more(book: Book) -> None:
    short = move(1, "anne", "ben", 101)
    with pytest.raises(OverQuota):
        book.post(short).result(WAIT_S)
    with pytest.raises(OverQuota):
        book.post(move(2, "nobody", "ben", 1)).result(WAIT_S)
    book.post(move(3, MINTED, "anne", 1)).result(WAIT_S)
    book.post(short).result(WAIT_S)
    assert book.balance("ben") == 101
    book.check()


def test_one_that_is_refused_takes_none_of_its_group_with_it(book: Book) -> None:
    waiting = [book.post(move(1 + number, "anne", "ben", 1)) for number in range(150)]
    answers = [each.exception(WAIT_S) for each in waiting]
    assert [answer is None for answer in answers] == [True] * 100 + [False] * 50
    book.check()


def test_more_than_a_group_at_once_are_all_done(book: Book) -> None:
    book.post(move(1, MINTED, "anne", 10 * GROUP_MAX)).result(WAIT_S)
    waiting = [book.post(move(2 + number, "anne", "ben", 1)) for number in range(3 * GROUP_MAX)]
    book.close()
    assert all(each.done() and each.exception() is None for each in waiting)
    assert book.balance("ben") == 3 * GROUP_MAX


@pytest.mark.parametrize(
    "bad",
    [
        move(1, "anne", "anne", 1),
        move(1, "anne", "ben", 0),
        move(1, "anne", "ben", -5),
        move(1, "anne", "ben", AMOUNT_MAX + 1),
        move(1, "anne", MINTED, 1),
        move(1, "", "ben", 1),
        move(1, "anne", "b\n", 1),
        Transfer(id=b"short", debit="anne", credit="ben", amount=1),
        Transfer(id=named(1), debit="anne", credit="ben", amount=1, evidence=bytes(5000)),
    ],
)
def test_what_is_no_transfer_is_refused_at_the_door(book: Book, bad: Transfer) -> None:
    with pytest.raises(BadRequest):
        book.post(bad)


def test_a_closed_book_takes_nothing(book: Book) -> None:
    book.close()
    with pytest.raises(BadRequest):
        book.post(move(1, "anne", "ben", 1))


def test_a_file_that_is_no_book_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"this is no database, and long enough to look" * 30)
    with pytest.raises(CorruptFile):
        Book(tmp_path / "bad")


def test_a_changed_balance_is_found(book: Book, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "book") as other:
        other.execute("UPDATE balances SET amount = 101 WHERE account = 'anne'")
    with pytest.raises(CorruptFile):
        book.check()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 60)), max_size=12))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_book_does_what_a_table_in_memory_does(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, str, int]]
) -> None:
    book = Book(tmp_path_factory.mktemp("book") / "book")
    table = {"a": 50, "b": 50, "c": 0}
    book.post(move(1000, MINTED, "a", 50)).result(WAIT_S)
    book.post(move(1001, MINTED, "b", 50)).result(WAIT_S)
    for number, (debit, credit, amount) in enumerate(moves):
        if debit == credit:
            continue
        error = book.post(move(number, debit, credit, amount)).exception(WAIT_S)
        assert (error is None) == (table[debit] >= amount)
        if error is None:
            table[debit] -= amount
            table[credit] += amount
    assert {name: book.balance(name) for name in "abc"} == table
    book.check()
    book.close()
