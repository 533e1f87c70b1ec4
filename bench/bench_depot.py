"""How close to its disk is a depot, and what would SQLite make of the same work?

Back of the envelope: a durable put of 4 KiB costs one sync (0.15 to 2 ms here), so a lone writer gets 500 to 6 000 a second, and
many at once are bound by Python (about 15 us each: 60 000). 1 MiB puts: copy 5 GB/s, BLAKE3 4.5 GB/s, and the disk, which wins.
Limit: appending the same bytes to a file with fdatasync after each group. Peer: SQLite, WAL, synchronous=FULL, the same rows.
Each figure is a median of pairs in one run; the disk is shared, so only ratios of one line tell something.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import blake3

from worldos.depot.block_store import BlockStore
from worldos.depot.index import Index, State
from worldos.depot.records import Row

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
TURNS = 5


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Bare:
    """Append and sync, nothing else: what the disk can do."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)

    def put(self, shares: list[tuple[bytes, bytes, bytes]]) -> None:
        os.writev(self._file, [data for _, data, _ in shares])
        os.fdatasync(self._file)


class Sqlite:
    """The same rows in SQLite, as durable."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "page_size=16384"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE shares(id BLOB PRIMARY KEY, data BLOB, digests BLOB) WITHOUT ROWID")

    def put(self, shares: list[tuple[bytes, bytes, bytes]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO shares VALUES(?, ?, ?)", shares)
        self._db.execute("COMMIT")

    def get(self, share: bytes) -> bytes:
        (data,) = self._db.execute("SELECT data FROM shares WHERE id = ?", (share,)).fetchone()
        return bytes(data)


def new_shares(count: int, size: int) -> list[tuple[bytes, bytes, bytes]]:
    data = os.urandom(size)
    return [(os.urandom(32), data, bytes(32)) for _ in range(count)]


def line(what: str, unit: str, ours: list[float], peer: list[float], limit: list[float], per_s: float) -> None:
    us = per_s / statistics.median(ours)
    versus = [theirs / mine for mine, theirs in zip(ours, peer, strict=False)]
    of_limit = [bare / mine for mine, bare in zip(ours, limit, strict=False)]
    peer_said = f"{statistics.median(versus):6.1f} x SQLite" if versus else " " * 15
    limit_said = f"{100 * statistics.median(of_limit):5.0f} % of the limit" if of_limit else ""
    print(f"{what:38} {us:12,.0f} {unit:6} {peer_said}   {limit_said}", flush=True)


def puts(folder: Path, store: BlockStore, what: str, groups: int, count: int, size: int) -> None:
    """Put groups of ``count`` shares, each group durable before the next begins."""
    bare, lite = Bare(folder), Sqlite(folder)
    ours: list[float] = []
    peer: list[float] = []
    limit: list[float] = []

    def many(work: list[tuple[bytes, bytes, bytes]]) -> None:
        store.put_many(work, owner="ann").result()

    for _ in range(TURNS):
        for times, put in (
            (ours, (lambda work: store.put(*work[0][:2], digests=work[0][2])) if count == 1 else many),
            (peer, lite.put),
            (limit, bare.put),
        ):
            work = [new_shares(count, size) for _ in range(groups)]
            times.append(timed(lambda put=put, work=work: [put(group) for group in work]))
    if size >= MIB:
        line(what, "MB/s", ours, peer, limit, groups * count * size / 1e6)
    else:
        line(what, "/s", ours, peer, limit, groups * count)
    (folder / "db").unlink()
    (folder / "bare").unlink()


def pipelined(store: BlockStore, count: int) -> None:
    """Put single shares, many of them under way at once."""
    ours = []
    for _ in range(TURNS):
        work = new_shares(count, 4 * KIB)
        ours.append(
            timed(lambda work=work: [it.result() for it in [store.put_soon(*one[:2], digests=one[2]) for one in work]])
        )
    line("put 4 KiB, many under way", "/s", ours, [], [], count)


def gets(folder: Path, store: BlockStore, count: int) -> None:
    work = new_shares(count, 4 * KIB)
    lite = Sqlite(folder)
    store.put_many(work).result()
    lite.put(work)
    fd = os.open(folder / "plain", os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes(4 * KIB) * count)
    ids = [share for share, _, _ in work]
    ours, peer, limit = [], [], []
    for _ in range(TURNS):
        ours.append(timed(lambda: [store.get(share) for share in ids]))
        peer.append(timed(lambda: [lite.get(share) for share in ids]))
        limit.append(timed(lambda: [os.pread(fd, 4 * KIB, 4 * KIB * at) for at in range(count)]))
    line("get 4 KiB", "/s", ours, peer, limit, count)
    nonce = os.urandom(32)
    ours = [timed(lambda: [_answer(store, share, nonce) for share in ids]) for _ in range(TURNS)]
    line("audit answers (a leaf, its keyed hash)", "/s", ours, [], [], count)
    ours = [timed(lambda: store.have(ids)) for _ in range(TURNS)]
    line("have", "/s", ours, [], [], count)


def _answer(store: BlockStore, share: bytes, nonce: bytes) -> bytes:
    return blake3.blake3(store.get(share, 0, 4 * KIB), key=nonce).digest()


def scrubs(store: BlockStore) -> None:
    found = store.scrub(budget_bytes=1 << 60)
    ours = [timed(lambda: store.scrub(budget_bytes=1 << 60)) for _ in range(3)]
    data = bytearray(64 * MIB)
    limit = [timed(lambda: [blake3.blake3(data).digest() for _ in range(4)]) for _ in range(3)]
    scale = found.checked_bytes / (4 * len(data))
    line(
        f"scrub of {found.checked_bytes / 1e6:.0f} MB",
        "MB/s",
        ours,
        [],
        [it * scale for it in limit],
        found.checked_bytes / 1e6,
    )


def opening(folder: Path, count: int) -> None:
    """Open a depot with so many shares after a kill: the rows are in its index, its last second is not."""
    depot = folder / "many"
    with BlockStore(depot, capacity_bytes=GIB) as store:
        store.put(os.urandom(32), b"x")
    index = Index(depot / "index")
    for first in range(0, count, 50_000):
        rows = [
            (os.urandom(32), Row(0, 64 * at, 20, 4096, 4096, 0, State.ALIVE, 0, 0, 0, 0, bytes(16)))
            for at in range(first, first + 50_000)
        ]
        index.take_new_shares(rows)
        index.commit()
    index.close()
    times = [timed(lambda: BlockStore(depot, capacity_bytes=GIB).close()) for _ in range(3)]
    print(f"{'open with ' + format(count, ',') + ' shares':38} {1000 * statistics.median(times):12,.0f} ms", flush=True)
    print(f"{'its index':38} {(depot / 'index').stat().st_size / count:12,.0f} B a share")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="wos-bench-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        with BlockStore(folder / "depot", capacity_bytes=1 << 40) as store:
            puts(folder, store, "put 4 KiB, one at a time", 100, 1, 4 * KIB)
            puts(folder, store, "put 4 KiB, 100 with one sync", 20, 100, 4 * KIB)
            puts(folder, store, "put 4 KiB, 1000 with one sync", 4, 1000, 4 * KIB)
            pipelined(store, 5000)
            puts(folder, store, "put 1 MiB, one at a time", 30, 1, MIB)
            puts(folder, store, "put 1 MiB, 16 with one sync", 6, 16, MIB)
            gets(folder, store, 20_000)
            scrubs(store)
        opening(folder, 1_000_000)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
