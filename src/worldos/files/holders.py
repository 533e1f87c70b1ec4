"""What depots answered last: a carer's memory of who has which share, so that a sleeper's shares are not taken for lost ones.

Nothing that anybody reads by: readers ask the depots. It is this carer's own, soft, and may be deleted: what is not remembered
is asked again, and taken for missing only where no device that may have it sleeps. One row a segment; nodes by number. Moments
in ns since 1970. Invariant: of a depot that answered, exactly its last answer is remembered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from worldos.errors import CorruptFile

SCHEMA = """
CREATE TABLE IF NOT EXISTS nodes(number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS segments(id BLOB PRIMARY KEY, held BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moments(about TEXT, id BLOB, at_ns INTEGER NOT NULL, PRIMARY KEY(about, id)) WITHOUT ROWID;
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, tuple[int, ...]]).decode


class Holders:
    """The memory. Safe to use from many threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._db = _open(file)
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for number, name in self._db.execute("SELECT number, name FROM nodes"):
            self._numbers[name], self._names[number] = number, name

    def held(self, segment: bytes) -> dict[int, tuple[str, ...]]:
        """Return who is remembered to hold each share of a segment."""
        with self._lock:
            row = self._db.execute("SELECT held FROM segments WHERE id = ?", (segment,)).fetchone()
            if row is None:
                return {}
            try:
                return {index: tuple(self._names[number] for number in held) for index, held in _decode(row[0]).items()}
            except (msgspec.DecodeError, KeyError):
                return {}

    def told(self, segment: bytes, answers: Mapping[str, Collection[int]]) -> dict[int, tuple[str, ...]]:
        """Take in which shares each depot that answered has; return who holds what now, by all that is remembered."""
        with self._lock:
            before = self.held(segment)
            held: dict[int, list[str]] = {}
            for index, nodes in before.items():
                held.setdefault(index, []).extend(node for node in nodes if node not in answers)
            for node, indices in answers.items():
                for index in indices:
                    held.setdefault(index, []).append(node)
            now = {index: tuple(sorted(nodes)) for index, nodes in held.items() if nodes}
            if now != before:
                self._write(segment, now)
            return now

    def noted(self, segment: bytes, index: int, node: str) -> None:
        """Believe another carer that it put this share there, until that depot itself answers."""
        with self._lock:
            held = self.held(segment)
            if node not in held.get(index, ()):
                self._write(segment, {**held, index: tuple(sorted((*held.get(index, ()), node)))})

    def since(self, about: str, id_: bytes, now_ns: int) -> int:
        """Return when this was asked first for this id: now, if it never was."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO moments VALUES (?, ?, ?)", (about, id_, now_ns))
            (at_ns,) = self._db.execute("SELECT at_ns FROM moments WHERE about = ? AND id = ?", (about, id_)).fetchone()
            return int(at_ns)

    def over(self, about: str, id_: bytes) -> None:
        """Forget since when."""
        with self._lock:
            self._db.execute("DELETE FROM moments WHERE about = ? AND id = ?", (about, id_))

    def forget(self, segments: Iterable[bytes]) -> None:
        """Forget segments that are no more."""
        with self._lock:
            self._db.executemany("DELETE FROM segments WHERE id = ?", [(segment,) for segment in segments])

    def close(self) -> None:
        """End."""
        with self._lock:
            self._db.close()

    def _write(self, segment: bytes, held: Mapping[int, tuple[str, ...]]) -> None:
        numbers = {index: tuple(self._number(node) for node in nodes) for index, nodes in held.items()}
        self._db.execute("INSERT OR REPLACE INTO segments VALUES (?, ?)", (segment, _encode(numbers)))

    def _number(self, node: str) -> int:
        number = self._numbers.get(node)
        if number is None:
            number = max(self._names, default=0) + 1
            self._db.execute("INSERT INTO nodes VALUES (?, ?)", (number, node))
            self._numbers[node], self._names[number] = number, node
        return number


def _open(file: Path) -> sqlite3.Connection:
    """Open the memory; one that is damaged is begun anew, since all of it can be asked again."""
    for _ in range(2):
        db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            db.executescript(SCHEMA)
            db.execute("SELECT count(*) FROM segments WHERE id = x'00'").fetchone()
        except sqlite3.DatabaseError:
            db.close()
            for end in ("", "-wal", "-shm"):
                file.with_name(file.name + end).unlink(missing_ok=True)
        else:
            return db
    raise CorruptFile(f"{file} cannot be opened", hint="delete it: what it says can be asked again")
