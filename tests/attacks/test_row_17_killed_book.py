"""A crash at every statement of a transfer.

Run: 120 processes (10 000 with TRUST_LONG=1), each with the book of transfers that the one before left; each posts transfers
by groups, also ones that were posted before, and is killed (SIGKILL) as SQLite begins its n-th statement, n over all of them:
opening, BEGIN, each insert and update, COMMIT, and between COMMIT and the answer. After each: every transfer that was answered
is there, no transfer is there in part or twice, all accounts sum to zero, and what was not answered can be sent again.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from worldos.agent.book import MINTED, Book, Transfer
from worldos.errors import CorruptFile

LONG = bool(os.environ.get("TRUST_LONG"))
DEATHS = 10_000 if LONG else 120
POSTS, AMOUNT = 12, 7
WAIT_S = 30


def transfer(number: int) -> Transfer:
    debit = MINTED if number % 4 == 0 else f"a{number % 4 - 1}"
    return Transfer(
        id=number.to_bytes(32, "big"), debit=debit, credit=f"a{number % 4}", amount=AMOUNT, evidence=b"%d" % number
    )


def live(file: Path, first: int, deadly: int, told: int) -> None:
    """Post transfers, saying of each that was answered; die at the ``deadly``-th statement."""
    seen = 0

    def count(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    real = sqlite3.connect

    def connect(*where: object, **how: object) -> sqlite3.Connection:
        connection = real(*where, **how)  # type: ignore[call-overload]
        connection.set_trace_callback(count)
        return connection  # type: ignore[no-any-return]

    sqlite3.connect = connect
    book = Book(file)
    numbers = [*range(max(0, first - 3), first), *range(first, first + POSTS)]
    waiting = [(number, book.post(transfer(number))) for number in numbers]
    for number, done in waiting:
        done.result(WAIT_S)
        os.write(told, number.to_bytes(4, "big"))
    book.close()


def killed(file: Path, first: int, deadly: int) -> tuple[list[int], bool]:
    """Let a process live; return which transfers it said were done, and whether it was killed."""
    listen, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(file, first, deadly, told)
        finally:
            os._exit(0)
    os.close(told)
    heard = b""
    while more := os.read(listen, 65536):
        heard += more
    os.close(listen)
    status = os.waitpid(child, 0)[1]
    return [int.from_bytes(heard[at : at + 4], "big") for at in range(0, len(heard), 4)], os.WIFSIGNALED(status)


def there(file: Path) -> set[int]:
    book = Book(file)
    book.check()
    found = [int(each) for each in book.evidence()]
    assert len(found) == len(set(found))
    sums = [book.balance(name) for name in (MINTED, "a0", "a1", "a2", "a3")]
    book.close()
    assert sum(sums) == 0
    assert sums[0] == -AMOUNT * len([number for number in found if number % 4 == 0])
    return set(found)


@pytest.mark.timeout(24 * 3600 if LONG else 120)
def test_no_money_is_lost_or_doubled_by_any_death(tmp_path: Path) -> None:
    file = tmp_path / "book"
    answered: set[int] = set()
    deaths, first, deadly = 0, 0, 1
    for _ in range(DEATHS):
        said, died = killed(file, first, deadly)
        answered |= set(said)
        deaths += died
        found = there(file) if file.exists() else set()
        assert answered <= found
        first = max(found, default=-1) + 1
        deadly = deadly + 1 if died else 1  # it lived through all its statements: begin again
        if len(found) > 2000:
            file.unlink()
            answered, first = set(), 0
    assert deaths > DEATHS * 3 // 4


def test_the_check_sees_money_that_was_lost(tmp_path: Path) -> None:
    """Planted: a transfer whose credit never came."""
    killed(tmp_path / "book", 0, 1 << 30)
    with sqlite3.connect(tmp_path / "book") as other:
        other.execute("UPDATE balances SET amount = amount - 7 WHERE account = 'a3'")
    with pytest.raises(CorruptFile):
        there(tmp_path / "book")
