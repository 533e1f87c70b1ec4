"""The book: double entries on disk. A transfer is there whole or not at all, once, and durably before anybody is told.

One thread writes (SQLite, WAL, synchronous FULL): it takes all transfers that wait, up to a bound, writes them in one
transaction, syncs once, and only then answers them all. A transfer has an id; one that is sent again is answered as the first
time and changes nothing, so that whoever was not answered just sends again. No account but ``MINTED`` can go below zero, and
all accounts sum to zero: the money that there is, is what MINTED lacks. ``evidence`` are the bytes that justify a transfer (an
entry of ``kernel/ledger``, signed); they come back whole. Amounts in micro-WOSCoin.

Source: TigerBeetle's rules for transfers (unique ids, immutable, integers), at the size of a home.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from worldos.errors import BadRequest, CorruptFile, DiskFull, OverQuota, WorldError

MINTED: Final = "minted"
GROUP_MAX: Final = 512  # transfers in one transaction
ACCOUNT_CHARS_MAX: Final = 200
AMOUNT_MAX: Final = 1 << 60
EVIDENCE_BYTES_MAX: Final = 4096
ID_BYTES: Final = 32

_TABLES = """
CREATE TABLE IF NOT EXISTS transfers (
  number INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, debit TEXT NOT NULL, credit TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0), evidence BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS balances (
  account TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount >= 0 OR account = 'minted')) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO balances VALUES ('minted', 0);
"""
_KEEP = "INSERT OR IGNORE INTO transfers (id, debit, credit, amount, evidence) VALUES (?, ?, ?, ?, ?)"
_DEBIT = "UPDATE balances SET amount = amount - ?1 WHERE account = ?2 AND (amount >= ?1 OR account = 'minted')"
_CREDIT = "INSERT INTO balances VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount"
_DROP = "DELETE FROM transfers WHERE id = ?"
_SAME = "SELECT debit, credit, amount FROM transfers WHERE id = ?"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """So much from one account to another, for this reason."""

    id: bytes
    debit: str
    credit: str
    amount: int
    evidence: bytes = b""


class Book:
    """The accounts of one place. Any thread may call; one writes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._queue: queue.SimpleQueue[tuple[Transfer, Future[None]] | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._connection = _opened(file)
        self._thread = threading.Thread(target=self._run, name="book", daemon=True)
        self._thread.start()

    def post(self, transfer: Transfer) -> Future[None]:
        """Write a transfer; the future is done when it is durable. OverQuota in it: the account has too little."""
        _check(transfer)
        done: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise BadRequest("the book is closed")
            self._queue.put((transfer, done))
        return done

    def balance(self, account: str) -> int:
        """Return what an account has; what MINTED lacks is what there is."""
        with _reader(self._file) as reader:
            row = reader.execute("SELECT amount FROM balances WHERE account = ?", (account,)).fetchone()
        return int(row[0]) if row else 0

    def evidence(self) -> Iterator[bytes]:
        """Yield what justifies each transfer, in the order in which they were written."""
        with _reader(self._file) as reader:
            for (data,) in reader.execute("SELECT evidence FROM transfers ORDER BY number"):
                yield data

    def check(self) -> None:
        """Add everything up again; raise CorruptFile unless the balances are what the transfers make."""
        with _reader(self._file) as reader:
            made: dict[str, int] = {MINTED: 0}
            for debit, credit, amount in reader.execute("SELECT debit, credit, amount FROM transfers"):
                made[debit] = made.get(debit, 0) - amount
                made[credit] = made.get(credit, 0) + amount
            kept = dict(reader.execute("SELECT account, amount FROM balances"))
            sound = reader.execute("PRAGMA integrity_check").fetchone()[0]
        if {**made, **kept} != kept or any(made.get(account, 0) != amount for account, amount in kept.items()):
            raise CorruptFile("the balances of the book are not what its transfers make")
        if sum(kept.values()) or sound != "ok":
            raise CorruptFile("the book does not sum to zero")

    def close(self) -> None:
        """Write what waits, and end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    # -- the one thread that writes -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (group := self._group()) is not None:
            answers: list[WorldError | None]
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                answers = [self._write(transfer) for transfer, _ in group]
                self._connection.execute("COMMIT")
            except sqlite3.Error as cause:
                answers = [_error_of(cause)] * len(group)
                self._roll_back()
            for (_, done), answer in zip(group, answers, strict=True):
                if answer is None:
                    done.set_result(None)
                else:
                    done.set_exception(answer)

    def _group(self) -> list[tuple[Transfer, Future[None]]] | None:
        """Return all that waits, up to a bound, and at least one; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_MAX:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)  # it was the last: nothing is posted after it
                break
            group.append(more)
        return group

    def _write(self, transfer: Transfer) -> WorldError | None:
        execute = self._connection.execute
        named = (transfer.id, transfer.debit, transfer.credit, transfer.amount, transfer.evidence)
        if not execute(_KEEP, named).rowcount:
            if execute(_SAME, (transfer.id,)).fetchone() == (transfer.debit, transfer.credit, transfer.amount):
                return None
            return BadRequest("another transfer has this id")
        if not execute(_DEBIT, (transfer.amount, transfer.debit)).rowcount:
            execute(_DROP, (transfer.id,))
            return OverQuota(f"{transfer.debit} has less than {transfer.amount}")
        execute(_CREDIT, (transfer.credit, transfer.amount))
        return None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _check(transfer: Transfer) -> None:
    """Raise BadRequest for what no book holds."""
    if len(transfer.id) != ID_BYTES or len(transfer.evidence) > EVIDENCE_BYTES_MAX:
        raise BadRequest(f"a transfer has an id of {ID_BYTES} bytes and evidence of at most {EVIDENCE_BYTES_MAX}")
    if not 0 < transfer.amount <= AMOUNT_MAX or transfer.credit in {transfer.debit, MINTED}:
        raise BadRequest("a transfer moves an amount from one account to another, and none back to where money begins")
    if not all(
        1 <= len(name) <= ACCOUNT_CHARS_MAX and name.isprintable() for name in (transfer.debit, transfer.credit)
    ):
        raise BadRequest(f"an account's name has 1 to {ACCOUNT_CHARS_MAX} printable characters")


def _opened(file: Path) -> sqlite3.Connection:
    """Open the file for its one writer."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
    except sqlite3.Error as cause:
        connection.close()
        raise _error_of(cause) from cause
    return connection


class _reader:  # noqa: N801 it is used like a function
    """A connection of its own for one question: readers of a WAL wait for nobody."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _error_of(cause: sqlite3.Error) -> WorldError:
    if cause.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}:
        return DiskFull(f"the book cannot be written: {cause}")
    if cause.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return BadRequest("another process writes this book")
    return CorruptFile(f"the book cannot be read: {cause}")
