"""A program that puts, drops and appends to a depot as fast as it can, and says each thing before and after it.

``Model`` is what a reader of that talk knows: what must be there, what must not, and what may be either way since it was begun
and not acknowledged. What a share holds follows from its number, so that nothing else needs to be remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from worldos.depot import packs
from worldos.depot.block_store import BlockStore
from worldos.depot.limits import TRASH_NS
from worldos.errors import BadRequest, DiskFull
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(b"k" * 32)
PACK_BYTES = 1 << 20
CAPACITY_BYTES = 1 << 40
LOGS = 4
ALIVE_MAX = 600
LATER_NS = 1 << 61


def share_id(number: int) -> bytes:
    return hashlib.sha256(b"share %d" % number).digest()


def share_bytes(number: int) -> bytes:
    sizes = (100, 4096, 9000, 70_000, 200_000)
    return hashlib.shake_128(b"%d" % number).digest(sizes[number % 10 // 2])


def log_id(number: int) -> bytes:
    return hashlib.sha256(b"log %d" % number).digest()


def is_register(log: int) -> bool:
    return log % 2 == 1


class Found(msgspec.Struct):
    """What a depot holds after a cut: numbers of shares, last or all entries of logs, wrong bytes."""

    shares: set[int]
    logs: dict[int, list[int]]
    wrong: list[str]


class Model:
    """What a depot was said to hold."""

    def __init__(self) -> None:
        self.here: set[int] = set()
        self.gone: set[int] = set()
        self.maybe: set[int] = set()
        self.logs: dict[int, set[int]] = {log: set() for log in range(LOGS)}
        self.begun: dict[int, set[int]] = {log: set() for log in range(LOGS)}
        self.acked = 0

    def hear(self, line: str) -> None:
        """Take in one line of the program: ``b``egun or ``a``cknowledged, what, and which."""
        phase, what, *numbers = line.split()
        numbers_ = [int(number) for number in numbers]
        if what == "append":
            log, *seqs = numbers_
            (self.logs if phase == "a" else self.begun)[log] |= set(seqs)
        else:
            changed = set(numbers_)
            self.maybe = self.maybe - changed if phase == "a" else self.maybe | changed
            self.here -= changed
            self.gone -= changed
            if phase == "a":
                (self.gone if what == "drop" else self.here).update(changed)
        self.acked += len(numbers_) if phase == "a" else 0

    def differences(self, found: Found) -> list[str]:
        """Say what was acknowledged and is not so."""
        said = list(found.wrong)
        said += [f"share {number} is lost" for number in sorted(self.here - found.shares)]
        said += [f"share {number} came back" for number in sorted(self.gone & found.shares)]
        for log, seqs in self.logs.items():
            there = set(found.logs.get(log, []))
            if is_register(log):
                if seqs and max(there, default=0) < max(seqs):
                    said.append(f"register {log} fell back from {max(seqs)} to {max(there, default=0)}")
            else:
                said += [f"entry {seq} of log {log} is lost" for seq in sorted(seqs - there)]
            said += [f"entry {seq} of log {log} was never written" for seq in there - seqs - self.begun[log]]
        return said

    def settle(self, found: Found) -> None:
        """What could be either way is now as it was found."""
        for number in self.maybe:
            (self.here if number in found.shares else self.gone).add(number)
        self.maybe.clear()
        self.begun = {log: set() for log in range(LOGS)}
        self.logs = {log: set(found.logs.get(log, [])) for log in range(LOGS)}


def open_store(folder: Path) -> BlockStore:
    return BlockStore(folder, capacity_bytes=CAPACITY_BYTES, pack_bytes=PACK_BYTES)


def look(folder: Path, model: Model) -> Found:
    """Open a depot and read all that the model speaks of, and all logs."""
    found = Found(shares=set(), logs={}, wrong=[])
    with open_store(folder) as store:
        for number in model.here | model.gone | model.maybe:
            try:
                data = store.get(share_id(number))
            except BadRequest:
                continue
            found.shares.add(number)
            if data != share_bytes(number):
                found.wrong.append(f"share {number} has wrong bytes")
        for log in range(LOGS):
            found.logs[log] = [entry.seq for entry in store.read_log(log_id(log), max_bytes=1 << 30)]
        if bad := store.scrub(budget_bytes=1 << 40).bad:
            found.wrong.append(f"{len(bad)} shares do not fit their trailers")
    return found


class Load:
    """The changes that threads make to one depot until they are killed. A full disk leaves what was begun open."""

    def __init__(self, store: BlockStore, model: Model, say: Callable[[bytes], object]) -> None:
        self._store, self._say = store, say
        self._known = sorted(model.here)
        self._lock = threading.Lock()
        self._numbers = itertools.count(max([*model.here, *model.gone, 0]) + 1)
        self._trash: list[int] = []
        self._last = {log: max([*model.logs[log], 0]) for log in range(LOGS)}

    def _tell(self, phase: str, what: str, *of: int) -> None:
        self._say(f"{phase} {what} {' '.join(map(str, of))}\n".encode())

    def put(self, dice: random.Random) -> None:
        """Put a share, or thirty at once."""
        with self._lock:
            new = list(itertools.islice(self._numbers, dice.choice((1, 1, 1, 30))))
        self._tell("b", "put", *new)
        self._store.put_many([(share_id(it), share_bytes(it), b"d" * 32) for it in new], owner="ann").result()
        self._tell("a", "put", *new)
        with self._lock:
            self._known.extend(new)

    def drop(self, dice: random.Random) -> None:
        """Drop some, restore a few of them, put others, and now and then empty the trash and compact."""
        with self._lock:
            count = min(len(self._known), max(dice.randrange(40), len(self._known) - ALIVE_MAX))
            dice.shuffle(self._known)
            old = [self._known.pop() for _ in range(count)]
        self._tell("b", "drop", *old)
        self._store.drop([share_id(number) for number in old])
        self._tell("a", "drop", *old)
        self._trash.extend(old)
        back = [self._trash.pop() for _ in range(min(len(self._trash), dice.randrange(4)))]
        self._tell("b", "put", *back)
        if self._store.restore([share_id(number) for number in back]) == len(back):
            self._tell("a", "put", *back)
            with self._lock:
                self._known.extend(back)
        self.put(dice)
        if dice.random() < 0.3:
            self._trash.clear()
            self._store._now_ns = lambda: LATER_NS + TRASH_NS + 1
            self._store.tidy()
            self._store._now_ns = lambda: LATER_NS

    def append(self, dice: random.Random) -> None:
        """Append one entry or five to a log, or change a register."""
        log = dice.randrange(LOGS)
        seqs = [self._last[log] + more for more in range(1, dice.choice((2, 2, 6)))]
        self._last[log] += 5
        self._tell("b", "append", log, *seqs)
        body = bytes([log]) * dice.randrange(3000)
        self._store.append_many([sign_entry(KEY, log_id(log), seq, body, register=is_register(log)) for seq in seqs])
        self._tell("a", "append", log, *seqs)


def run(folder: Path, model: Model, say: Callable[[bytes], object], seed: int, *, synced: bool = True) -> None:
    """Change a depot until killed. ``synced=False`` breaks it on purpose: nothing waits for the disk."""
    if not synced:
        packs._sync = lambda _: None
    load = Load(open_store(folder), model, say)

    def again(change: Callable[[random.Random], None], seed: int) -> None:
        dice = random.Random(seed)
        while True:
            with contextlib.suppress(DiskFull):
                change(dice)

    changes = (load.put, load.put, load.drop, load.append)
    threads = [
        threading.Thread(target=again, args=(change, seed * 10 + turn), daemon=True)
        for turn, change in enumerate(changes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
