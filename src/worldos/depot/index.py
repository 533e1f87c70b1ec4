"""What lies where: an SQLite file that can be lost, since the packs say it all again.

Rows lag behind the packs by a second or so: one transaction stays open, the reader's own connection sees what it holds, and
``commit`` writes it together with the position up to which the packs are in it (``indexed``). A frame is in here only after it
is on the disk, so the index is never ahead of the packs. Opening reads no rows: a million shares open as fast as none.

The same ``take_*`` functions serve the running store and the walk after a crash, in any order of the frames: of two that speak
of one id, the one with the higher order holds. Counts of bytes are kept beside the rows, in the same transaction.
Source: docs/reference/formats/pack.md; https://sqlite.org/wal.html.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import blake3

from worldos.depot.limits import INDEX_CACHE_KIB
from worldos.depot.records import Cared, Head, Owned, Place, Row
from worldos.errors import CorruptFile
from worldos.store.entry import Entry
from worldos.store.pack import HEADER_BYTES, TRAILER_BYTES, Kind

FORMAT: Final = 1
NOWHERE: Final = -1  # the pack of a share that was only spoken of
KINDS: Final = ("share", "cache", "log")
SHARE_COLUMNS: Final = (
    "pack, offset, meta_bytes, body_bytes, size_bytes, frame_order, state, state_order, at_ns, owner, kind, mark"
)
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs(number INTEGER PRIMARY KEY, alive INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owners(number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS owned(owner INTEGER, kind INTEGER, bytes INTEGER, count INTEGER, PRIMARY KEY(owner, kind))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shares(id BLOB PRIMARY KEY, {SHARE_COLUMNS}) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shares_by_place ON shares(pack, offset);
CREATE INDEX IF NOT EXISTS shares_in_trash ON shares(at_ns) WHERE state = 2;
CREATE TABLE IF NOT EXISTS entries(log BLOB, seq INTEGER, pack INTEGER, offset INTEGER, meta_bytes INTEGER,
  body_bytes INTEGER, mark BLOB, PRIMARY KEY(log, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_place ON entries(pack, offset);
CREATE TABLE IF NOT EXISTS logs(log BLOB PRIMARY KEY, public BLOB, register INTEGER, last INTEGER, whole INTEGER,
  digest BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cares(locator BLOB PRIMARY KEY, pack INTEGER, offset INTEGER, meta_bytes INTEGER,
  body_bytes INTEGER, frame_order INTEGER, verify BLOB, owner INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cares_by_place ON cares(pack, offset);
"""
_SHARE: Final = f"SELECT {SHARE_COLUMNS} FROM shares WHERE id = ?"  # noqa: S608 - our own names
_PUT_SHARE: Final = f"INSERT OR REPLACE INTO shares(id, {SHARE_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TRASH: Final = f"SELECT id, {SHARE_COLUMNS} FROM shares WHERE state = 2 AND at_ns < ? ORDER BY at_ns LIMIT ?"  # noqa: S608 - our own names
_SHARES_OF_PACK: Final = f"SELECT id, {SHARE_COLUMNS} FROM shares WHERE pack = ?"  # noqa: S608 - our own names


class State(IntEnum):
    """How a share is. ``PURGED``: its frame still lies in a pack, and its bytes are gone or may go."""

    ALIVE = 1
    TRASH = 2
    PURGED = 3
    BAD = 4


_OF_KIND: Final = {Kind.DROP: State.TRASH, Kind.RESTORE: State.ALIVE, Kind.BAD: State.BAD}


def frame_bytes(meta_bytes: int, body_bytes: int) -> int:
    """Return how long a frame is."""
    return HEADER_BYTES + meta_bytes + body_bytes + TRAILER_BYTES


class Index:
    """The index of one depot. Every call takes its lock."""

    def __init__(self, file: Path | None) -> None:
        """Open or make it; CorruptFile if it cannot be read. ``None`` keeps it in memory, for a disk that is full."""
        self.lock = threading.RLock()
        try:
            self._db = sqlite3.connect(
                file or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=64
            )
            run = self._db.execute
            run("PRAGMA locking_mode=EXCLUSIVE")  # no shared memory file: writing to one on a full disk is a SIGBUS
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=NORMAL")
            run(f"PRAGMA cache_size=-{INDEX_CACHE_KIB}")
            run("PRAGMA temp_store=MEMORY")
            run("PRAGMA cache_spill=OFF")  # a full disk is met by commit alone
            self._db.executescript(_TABLES)
            self._read_counts()
        except sqlite3.Error as cause:
            raise CorruptFile("the index of the depot cannot be read") from cause
        if self.facts.setdefault("format", FORMAT) != FORMAT:
            raise CorruptFile("the index of the depot was made by another World OS")
        run("BEGIN")

    def _read_counts(self) -> None:
        run = self._db.execute
        self.facts: dict[str, int] = dict(run("SELECT name, value FROM facts"))
        self.alive: dict[int, int] = dict(run("SELECT number, alive FROM packs"))
        self.owners: dict[str, int] = dict(run("SELECT name, number FROM owners"))
        self.names: dict[int, str] = {number: name for name, number in self.owners.items()}
        rows = run("SELECT owner, kind, bytes, count FROM owned")
        self.owned: dict[tuple[int, int], list[int]] = {
            (owner, kind): [size, count] for owner, kind, size, count in rows
        }
        self.changed = 0

    # -- commit

    @property
    def indexed(self) -> tuple[int, int]:
        """Up to where the packs are in here."""
        return self.facts.get("pack", 0), self.facts.get("end", 0)

    @property
    def order(self) -> int:
        """Return the highest order of any frame."""
        return self.facts.get("order", 0)

    def set_indexed(self, pack: int, end: int, order: int) -> None:
        """Say up to where the packs are in here now."""
        self.facts |= {"pack": pack, "end": end, "order": max(order, self.order)}

    def commit(self) -> None:
        """Write what changed. sqlite3.Error leaves the rows of the last commit, and the caller walks the packs again."""
        with self.lock:
            many = self._db.executemany
            many("INSERT OR REPLACE INTO facts VALUES(?, ?)", list(self.facts.items()))
            self._db.execute("DELETE FROM packs")
            many("INSERT INTO packs VALUES(?, ?)", list(self.alive.items()))
            many("INSERT OR REPLACE INTO owners(name, number) VALUES(?, ?)", list(self.owners.items()))
            owned = [(*key, *value) for key, value in self.owned.items()]
            many("INSERT OR REPLACE INTO owned VALUES(?, ?, ?, ?)", owned)
            self._db.execute("COMMIT")
            self._db.execute("BEGIN")
            self.changed = 0

    def roll_back(self) -> None:
        """Forget what was not committed."""
        with self.lock:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._read_counts()
            self._db.execute("BEGIN")

    def close(self) -> None:
        """Close it without another commit."""
        with self.lock:
            self._db.close()

    # -- shares

    def share(self, share_id: bytes) -> Row | None:
        """Return what is known of a share."""
        with self.lock:
            row = self._db.execute(_SHARE, (share_id,)).fetchone()
        return None if row is None else Row._make(row)

    def sizes(self, ids: Sequence[bytes]) -> list[int]:
        """Return the size of each share that is alive, -1 for the others."""
        with self.lock:
            ask = "SELECT size_bytes FROM shares WHERE id = ? AND state = 1"
            rows = [self._db.execute(ask, (share_id,)).fetchone() for share_id in ids]
        return [-1 if row is None else row[0] for row in rows]

    def take_new_shares(self, rows: Sequence[tuple[bytes, Row]]) -> None:
        """Take in shares that are not known in any state: the quick way."""
        with self.lock:
            self._db.executemany(_PUT_SHARE, [(share_id, *row) for share_id, row in rows])
            for _, row in rows:
                self._count(row, 1)
            self.changed += len(rows)

    def take_share(self, share_id: bytes, row: Row) -> None:
        """Take in a share's frame as it stands in a pack, moved or new, on a walk or from the writer."""
        with self.lock:
            old = self.share(share_id)
            if old is not None:
                if row.order < old.order or (row.order == old.order and old.mark and not row.mark):
                    return  # older; or a copy that was cut, of a frame that lies whole where it was
                if row.order < old.state_order:
                    gone = {State.ALIVE: State.BAD, State.TRASH: State.PURGED}  # if its bytes are
                    state = old.state if row.mark else gone.get(State(old.state), old.state)
                    row = row._replace(state=state, state_order=old.state_order, at_ns=old.at_ns)
            self._put(share_id, old, row)

    def take_state(self, kind: Kind, ids: Iterable[bytes], order: int, at_ns: int) -> int:
        """Drop, restore or set aside shares; return how many that changed."""
        state, changed = _OF_KIND[kind], 0
        with self.lock:
            for share_id in ids:
                old = self.share(share_id)
                if old is None:  # on a walk, the frame of the share may come later: it was moved
                    old = Row(NOWHERE, 0, 0, 0, 0, -1, State.PURGED, -1, 0, 0, 0, b"")
                if order <= old.state_order:
                    continue
                fresh = state
                if state != State.BAD and old.pack != NOWHERE and (not old.mark or old.state == State.PURGED):
                    fresh = State.PURGED  # its bytes are gone
                row = old._replace(state=fresh, state_order=order, at_ns=at_ns)
                self._put(share_id, old, row)
                changed += fresh == state
        return changed

    def of_kind(self, kind: str, limit: int) -> list[bytes]:
        """Return shares of one kind that are alive."""
        ask = "SELECT id FROM shares WHERE kind = ? AND state = 1 LIMIT ?"
        number = KINDS.index(kind)
        with self.lock:
            if not any(of == number and count for (_, of), (_, count) in self.owned.items()):
                return []  # no walk through all rows for nothing
            return [row[0] for row in self._db.execute(ask, (number, limit))]

    def purge(self, share_id: bytes, row: Row) -> bool:
        """Give up a share in the trash, unless it was taken out of it just now; if True, its bytes may go."""
        with self.lock:
            old = self.share(share_id)
            if old != row or row.state != State.TRASH:
                return False
            self._put(share_id, old, row._replace(state=State.PURGED))
            return True

    def trash(self, before_ns: int, limit: int) -> list[tuple[bytes, Row]]:
        """Return what was thrown away before this moment, the oldest first."""
        with self.lock:
            return [(row[0], Row._make(row[1:])) for row in self._db.execute(_TRASH, (before_ns, limit))]

    def trash_bytes(self) -> int:
        """Return how much is in the trash."""
        with self.lock:
            (size,) = self._db.execute("SELECT coalesce(sum(size_bytes), 0) FROM shares WHERE state = 2").fetchone()
        return int(size)

    def damaged(self) -> int:
        """Return how many shares are set aside."""
        return self.facts.get("damaged", 0)

    def _put(self, share_id: bytes, old: Row | None, row: Row) -> None:
        self._db.execute(_PUT_SHARE, (share_id, *row))
        if old is not None:
            self._count(old, -1)
        self._count(row, 1)
        self.changed += 1

    def _count(self, row: Row, sign: int) -> None:
        if row.pack == NOWHERE:
            return
        if row.state in {State.ALIVE, State.TRASH}:
            size = frame_bytes(row.meta_bytes, row.body_bytes)
            self.alive[row.pack] = self.alive.get(row.pack, 0) + sign * size
        if row.state == State.ALIVE:
            counts = self.owned.setdefault((row.owner, row.kind), [0, 0])
            counts[0] += sign * row.size_bytes
            counts[1] += sign
        elif row.state == State.BAD:
            self.facts["damaged"] = self.damaged() + sign

    # -- what lies in a pack

    def of_pack(self, pack: int, offset: int, limit: int) -> list[tuple[bytes, Place, Kind]]:
        """Return the frames that count in a pack from ``offset`` on, in order."""
        rows: list[tuple[bytes, Place, Kind]] = []
        with self.lock:
            for kind, name, table, where in (
                (Kind.SHARE, "id", "shares", "AND state IN (1, 2)"),
                (Kind.ENTRY, "log", "entries", ""),
                (Kind.CARE, "locator", "cares", ""),
            ):
                ask = f"""SELECT {name}, offset, meta_bytes, body_bytes FROM {table}
                    WHERE pack = ? AND offset >= ? {where} ORDER BY offset LIMIT ?"""  # noqa: S608 - our own names
                rows += [(row[0], Place(pack, *row[1:]), kind) for row in self._db.execute(ask, (pack, offset, limit))]
        return sorted(rows, key=lambda row: row[1].offset)[:limit]

    def is_here(self, kind: Kind, frame_id: bytes, place: Place) -> bool:
        """Whether this frame, lying there, counts still."""
        table, name = {
            Kind.SHARE: ("shares", "id"),
            Kind.ENTRY: ("entries", "log"),
            Kind.CARE: ("cares", "locator"),
            Kind.FORGET: ("cares", "locator"),
        }[kind]
        where = " AND state IN (1, 2)" if kind == Kind.SHARE else ""
        ask = f"SELECT 1 FROM {table} WHERE {name} = ? AND pack = ? AND offset = ?{where}"  # noqa: S608 - our own names
        with self.lock:
            return self._db.execute(ask, (frame_id, place.pack, place.offset)).fetchone() is not None

    def still_said(self, ids: Iterable[bytes], order: int) -> list[bytes]:
        """Return those ids whose state the frame of this order tells."""
        with self.lock:
            rows = [(share_id, self.share(share_id)) for share_id in ids]
        return [share_id for share_id, row in rows if row is not None and row.state_order == order]

    def forget_pack(self, pack: int) -> None:
        """Forget all that lies in a pack that goes, and whatever only said how it was."""
        with self.lock:
            for row in self._db.execute(_SHARES_OF_PACK, (pack,)).fetchall():
                self._count(Row._make(row[1:]), -1)
                self.changed += 1
            self._db.execute("DELETE FROM shares WHERE pack = ?", (pack,))
            self.alive.pop(pack, None)

    # -- logs

    def head(self, log: bytes) -> tuple[Head, bytes] | None:
        """Return how far a log goes, and whose key writes it."""
        with self.lock:
            ask = "SELECT log, public, register, last, whole, digest FROM logs WHERE log = ?"
            row = self._db.execute(ask, (log,)).fetchone()
        return None if row is None else (_head(row), row[1])

    def heads(self, after: bytes, limit: int) -> list[Head]:
        """Return logs in the order of their ids."""
        with self.lock:
            ask = "SELECT log, public, register, last, whole, digest FROM logs WHERE log > ? ORDER BY log LIMIT ?"
            return [_head(row) for row in self._db.execute(ask, (after, limit))]

    def entry(self, log: bytes, seq: int) -> tuple[Place, bytes] | None:
        """Return where an entry lies, and its mark."""
        with self.lock:
            ask = "SELECT pack, offset, meta_bytes, body_bytes, mark FROM entries WHERE log = ? AND seq = ?"
            row = self._db.execute(ask, (log, seq)).fetchone()
        return None if row is None else (Place(*row[:4]), row[4])

    def entries(self, log: bytes, from_seq: int, limit: int) -> list[tuple[int, Place]]:
        """Return where the entries of a log lie, in their order."""
        with self.lock:
            ask = """SELECT seq, pack, offset, meta_bytes, body_bytes FROM entries
                WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?"""
            return [(row[0], Place(*row[1:])) for row in self._db.execute(ask, (log, from_seq, limit))]

    def take_entry(self, log: bytes, seq: int, place: Place, mark: bytes, *, public: bytes, register: bool) -> bool:
        """Take in an entry; return whether it changed anything. Of two with one seq the smaller mark stays."""
        with self.lock:
            known = self.head(log)
            if known is not None and register and seq < known[0].seq:
                return False
            old = self.entry(log, seq)
            if old is not None:
                if old[1] == mark:
                    self._put_entry(log, seq, place, mark, old)  # it was moved
                    return False
                if old[1] < mark:
                    return False
            head = known[0] if known else Head(log=log, seq=0, whole=0, digest=bytes(len(mark)), register=register)
            if register and known is not None and seq > head.seq:
                self.lose_entry(log, head.seq)
                head = Head(log=log, seq=0, whole=0, digest=bytes(len(mark)), register=True)
            digest = _xor(head.digest, mark if old is None else _xor(mark, old[1]))
            self._put_entry(log, seq, place, mark, old)
            whole = seq if register else head.whole
            while not register and self.entry(log, whole + 1) is not None:
                whole += 1
            row = (log, public, register, max(seq, head.seq), whole, digest)
            self._db.execute("INSERT OR REPLACE INTO logs VALUES(?, ?, ?, ?, ?, ?)", row)
            return True

    def lose_entry(self, log: bytes, seq: int) -> None:
        """Forget an entry whose bytes are damaged, so that it is seen to be missing."""
        with self.lock:
            known, old = self.head(log), self.entry(log, seq)
            if known is None or old is None:
                return
            self._db.execute("DELETE FROM entries WHERE log = ? AND seq = ?", (log, seq))
            self._count_entry(old[0], -1)
            (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM entries WHERE log = ?", (log,)).fetchone()
            head, digest = known[0], _xor(known[0].digest, old[1])
            row = (log, known[1], head.register, last, min(head.whole, seq - 1), digest)
            self._db.execute("INSERT OR REPLACE INTO logs VALUES(?, ?, ?, ?, ?, ?)", row)
            self.changed += 1

    def _put_entry(self, log: bytes, seq: int, place: Place, mark: bytes, old: tuple[Place, bytes] | None) -> None:
        self._db.execute("INSERT OR REPLACE INTO entries VALUES(?, ?, ?, ?, ?, ?, ?)", (log, seq, *place, mark))
        if old is not None:
            self._count_entry(old[0], -1)
        self._count_entry(place, 1)
        self.changed += 1

    def _count_entry(self, place: Place, sign: int) -> None:
        self.alive[place.pack] = self.alive.get(place.pack, 0) + sign * frame_bytes(place.meta_bytes, place.body_bytes)
        counts = self.owned.setdefault((self.owner_number(""), KINDS.index("log")), [0, 0])
        counts[0] += sign * place.body_bytes
        counts[1] += sign

    # -- cares

    def take_care(self, locator: bytes, place: Place, order: int, verify: bytes, owner: str) -> None:
        """Take in what is looked after; without ``verify`` it is no more."""
        with self.lock:
            ask = "SELECT pack, offset, meta_bytes, body_bytes, frame_order FROM cares WHERE locator = ?"
            old = self._db.execute(ask, (locator,)).fetchone()
            if old is not None:
                if order < old[4]:
                    return
                self.alive[old[0]] -= frame_bytes(old[2], old[3])
            row = (locator, *place, order, verify, self.owner_number(owner))
            self._db.execute("INSERT OR REPLACE INTO cares VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
            self.alive[place.pack] = self.alive.get(place.pack, 0) + frame_bytes(place.meta_bytes, place.body_bytes)
            self.changed += 1

    def care(self, locator: bytes) -> Cared | None:
        """Return what is looked after under this locator."""
        found = self.cares(locator, 1, exactly=True)
        return found[0] if found else None

    def cares(self, after: bytes, limit: int, *, exactly: bool = False) -> list[Cared]:
        """Return what is looked after, in the order of the locators."""
        ask = f"""SELECT locator, verify, owner FROM cares WHERE locator {"=" if exactly else ">"} ? AND verify <> x''
            ORDER BY locator LIMIT ?"""  # noqa: S608 - our own words
        with self.lock:
            rows = self._db.execute(ask, (after, limit)).fetchall()
        return [Cared(locator=row[0], verify=row[1], owner=self.names[row[2]]) for row in rows]

    # -- owners

    def owner_number(self, name: str) -> int:
        """Return the number that stands for an account in the rows."""
        number = self.owners.get(name)
        if number is None:
            with self.lock:
                number = self.owners.setdefault(name, len(self.owners))
                self.names[number] = name
        return number

    def used_by(self, name: str) -> int:
        """Return how many bytes of shares an account has here."""
        number = self.owners.get(name, -1)
        return sum(self.owned.get((number, kind), (0, 0))[0] for kind in range(len(KINDS)))

    def all_owned(self) -> tuple[Owned, ...]:
        """Return what each account has here."""
        with self.lock:
            rows = sorted((self.names[owner], kind, tuple(counts)) for (owner, kind), counts in self.owned.items())
        return tuple(
            Owned(owner=owner, kind=KINDS[kind], size_bytes=size, count=count)
            for owner, kind, (size, count) in rows
            if count
        )


def mark_of(entry: Entry) -> bytes:
    """Return 32 bytes of an entry that sort as ``supersedes`` does: by the hash of the body, then the signature."""
    return blake3.blake3(entry.body).digest(24) + entry.signature[:8]


def _head(row: Sequence[Any]) -> Head:
    return Head(log=row[0], register=bool(row[2]), seq=row[3], whole=row[4], digest=row[5])


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
