"""How many transfers a second can a home's book make durable, and how long does one wait?

Transfers between 1 000 accounts, each with 200 bytes of evidence, posted by one thread and written by the book's own: SQLite,
WAL, synchronous FULL, one sync a group. The limit is the same three statements in one transaction for all of them, with nothing
around it: what SQLite itself can do. Alone: one transfer is posted, and the next when it was answered; its limit is a sync.

Guess on the back of an envelope: three statements cost SQLite 25 us, Python's hands around them 10, a sync 150 us for each group
of 512: 28 000 a second. The oldest of a group waits for two groups: 512 x 35 us x 2 = 36 ms at the full rate; with half the
work, groups stay small. Alone a transfer waits for a sync and two changes of thread: 0.3 ms.

    uv run python bench/bench_book.py [--transfers 40000]
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from pathlib import Path

from worldos.agent.book import _CREDIT, _DEBIT, _KEEP, _TABLES, MINTED, Book, Transfer

ACCOUNTS, EVIDENCE = 1000, bytes(200)
RATE_TARGET, LATE_TARGET_MS = 20_000, 20
WAITING_MAX = 256  # transfers under way at once, where waiting is measured


def transfer(number: int) -> Transfer:
    debit, credit = f"account {number % ACCOUNTS}", f"account {(number * 7 + 1) % ACCOUNTS}"
    if debit == credit:
        credit = "another"
    return Transfer(id=number.to_bytes(32, "big"), debit=debit, credit=credit, amount=1, evidence=EVIDENCE)


def funded(book: Book) -> None:
    for number in range(ACCOUNTS):
        name = (1 << 40 | number).to_bytes(32, "big")
        book.post(Transfer(id=name, debit=MINTED, credit=f"account {number}", amount=1 << 30))


def rate_of(book: Book, count: int) -> float:
    begun = time.perf_counter()
    waiting = [book.post(transfer(number)) for number in range(count)]
    for each in waiting:
        each.result()
    return count / (time.perf_counter() - begun)


def late_ms(book: Book, first: int, count: int) -> tuple[float, float, float]:
    """Keep so many under way; return median and 99th percentile of how long one waits, and the rate."""
    room = threading.Semaphore(WAITING_MAX)
    took: list[float] = []
    begun = time.perf_counter()
    for number in range(first, first + count):
        room.acquire()
        posted = time.perf_counter()

        def done(_: object, posted: float = posted) -> None:
            took.append((time.perf_counter() - posted) * 1e3)
            room.release()

        book.post(transfer(number)).add_done_callback(done)
    while len(took) < count:
        time.sleep(0.001)
    rate = count / (time.perf_counter() - begun)
    took.sort()
    return statistics.median(took), took[int(count * 0.99)], rate


def alone_ms(book: Book, first: int, count: int) -> float:
    took = []
    for number in range(first, first + count):
        begun = time.perf_counter()
        book.post(transfer(number)).result()
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)


def limit_rate(file: Path, count: int) -> float:
    """The statements alone: one transaction, no checks, no threads."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(_TABLES)
    for number in range(ACCOUNTS):
        connection.execute(_CREDIT, (f"account {number}", 1 << 30))
    rows = [transfer(number) for number in range(count)]
    begun = time.perf_counter()
    connection.execute("BEGIN")
    for each in rows:
        connection.execute(_KEEP, (each.id, each.debit, each.credit, each.amount, each.evidence))
        connection.execute(_DEBIT, (each.amount, each.debit))
        connection.execute(_CREDIT, (each.credit, each.amount))
    connection.execute("COMMIT")
    rate = count / (time.perf_counter() - begun)
    connection.close()
    return rate


def sync_ms(folder: Path) -> float:
    file = os.open(folder / "floor", os.O_RDWR | os.O_CREAT, 0o600)
    took = []
    for number in range(200):
        begun = time.perf_counter()
        os.pwrite(file, bytes(4096), number * 4096)
        os.fsync(file)
        took.append((time.perf_counter() - begun) * 1e3)
    os.close(file)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description="How many transfers a second can a book make durable?")
    parser.add_argument("--transfers", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    choices = parser.parse_args()
    count = choices.transfers
    rates, limits, waits, alone, syncs = [], [], [], [], []
    for number in range(choices.rounds):
        with tempfile.TemporaryDirectory(prefix="wos-book-") as folder:
            limits.append(limit_rate(Path(folder) / f"limit{number}", count))
            syncs.append(sync_ms(Path(folder)))
            book = Book(Path(folder) / "book")
            funded(book)
            rates.append(rate_of(book, count))
            waits.append(late_ms(book, count, count // 4))
            alone.append(alone_ms(book, 2 * count, 200))
            book.check()
            book.close()
    median = statistics.median
    late = median(each[1] for each in waits)
    print(f"{'':44}{'ours':>10}{'limit':>10}{'ratio':>7}{'to reach':>12}")
    best, target = median(limits), f">= {RATE_TARGET:,}"
    ours = median(rates)
    print(f"{'durable transfers a second':44}{ours:10,.0f}{best:10,.0f}{ours / best:7.2f}{target:>12}")
    print(f"{f'one waits, {WAITING_MAX} under way, median ms':44}{median(each[0] for each in waits):10.2f}")
    print(f"{'  99th percentile ms':44}{late:10.2f}{'':17}{f'<= {LATE_TARGET_MS}':>12}")
    print(f"{'  at so many a second':44}{median(each[2] for each in waits):10,.0f}")
    print(f"{'one alone, ms':44}{median(alone):10.2f}{median(syncs):10.2f}{median(alone) / median(syncs):7.2f}")


if __name__ == "__main__":
    main()
