"""The write-ahead log when the power goes: at every moment of a story, with every kind of half-done write.

A tape takes down each write, sync and change of a folder. Then the power is cut after each of them: what was synced is there, of
all else any sectors and any names may be; and the log that is found must have what was acknowledged by then, and be well.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.test_wal import ME, Seat, entry, state

from worldos.agent import wal as wals
from worldos.agent.records import SECTOR_BYTES
from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.kernel.stored import Stored
from worldos.model.raft import Snapshot, Vote

PERSISTS = 30
CUTS_PER_MOMENT = 2

Change = tuple[Any, ...]


class Tape:
    """What was done to the files of a log, in order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.changes: list[Change] = []
        self._paths: dict[int, str] = {}
        really_open, really_close = os.open, os.close
        pwrite, pwritev, fdatasync, unlink = os.pwrite, os.pwritev, os.fdatasync, Path.unlink

        def opened(path: Any, flags: int, mode: int = 0o777) -> int:
            descriptor = really_open(path, flags, mode)
            if str(path).endswith(".wal"):
                self._paths[descriptor] = str(path)
                self.changes.append(("create", str(path)))
            return descriptor

        def closed(descriptor: int) -> None:
            self._paths.pop(descriptor, None)
            really_close(descriptor)

        def wrote(descriptor: int, data: Any, at: int) -> int:
            self.changes.append(("write", self._paths[descriptor], at, bytes(data)))
            return pwrite(descriptor, data, at)

        def wrote_through(descriptor: int, data: list[bytes], at: int, flags: int) -> int:
            assert flags == os.RWF_DSYNC
            self.changes.append(("write", self._paths[descriptor], at, data[0]))
            count = pwritev(descriptor, data, at, flags)
            self.changes.append(("sync range", self._paths[descriptor], at, len(data[0])))
            return count

        def synced(descriptor: int) -> None:
            fdatasync(descriptor)
            self.changes.append(("sync", self._paths[descriptor]))

        def unlinked(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok=missing_ok)
            if path.suffix == ".wal":
                self.changes.append(("unlink", str(path)))

        sync_folder, witness_round, report = wals.sync_folder, Wal._witness_round, WalWriter._report

        def synced_folder(folder: Path) -> None:
            sync_folder(folder)
            self.changes.append(("sync folder",))

        def witnessed(wal: Wal, *, sync: bool) -> None:
            first = wal._seen is None
            witness_round(wal, sync=sync)
            data = wals._witness_bytes(wal._round, wal._life)
            self.changes.append(("witness", data, sync or first))

        def reported(writer: WalWriter, wal: Wal, number: int, error: Any) -> None:
            assert error is None
            self.changes.append(("acknowledge", number))
            report(writer, wal, number, error)

        patch.setattr(os, "open", opened)
        patch.setattr(os, "close", closed)
        patch.setattr(os, "pwrite", wrote)
        patch.setattr(os, "pwritev", wrote_through)
        patch.setattr(os, "fdatasync", synced)
        patch.setattr(Path, "unlink", unlinked)
        patch.setattr(wals, "sync_folder", synced_folder)
        patch.setattr(Wal, "_witness_round", witnessed)
        patch.setattr(WalWriter, "_report", reported)


class Platter:
    """What is surely on the disk, and what may be."""

    def __init__(self) -> None:
        self.sure: dict[str, bytearray] = {}
        self.maybe: dict[str, dict[int, bytes]] = {}  # by file: sectors written and not synced
        self.named: set[str] = set()
        self.changing: set[str] = set()  # names that a sync of the folder will settle
        self.there: set[str] = set()
        self.witness = b""
        self.witness_maybe: list[bytes] = []
        self.acknowledged = 0

    def take(self, change: Change) -> None:
        match change:
            case ("create", path):
                self.sure[path], self.maybe[path] = bytearray(), {}
                self.there.add(path)
                self.changing.add(path)
            case ("unlink", path):
                self.there.discard(path)
                self.changing.add(path)
            case ("write", path, at, data):
                self._write(path, at, data)
            case ("sync", path):
                self._settle(path, 0, 1 << 40)
            case ("sync range", path, at, size):
                self._settle(path, at, at + size)
            case ("sync folder",):
                self.named = set(self.there)
                self.changing = set()
            case ("witness", data, sync):
                self.witness_maybe.append(data)
                if sync:
                    self.witness, self.witness_maybe = data, []
            case ("acknowledge", number):
                self.acknowledged = number
            case _:
                raise AssertionError(change)

    def _content(self, path: str) -> bytearray:
        data = bytearray(self.sure[path])
        for at, sector in sorted(self.maybe[path].items()):
            data.extend(bytes(max(0, at + len(sector) - len(data))))
            data[at : at + len(sector)] = sector
        return data

    def _write(self, path: str, at: int, data: bytes) -> None:
        whole = self._content(path)
        whole.extend(bytes(max(0, at + len(data) - len(whole))))
        whole[at : at + len(data)] = data
        first = at - at % SECTOR_BYTES
        for sector in range(first, at + len(data), SECTOR_BYTES):
            self.maybe[path][sector] = bytes(whole[sector : sector + SECTOR_BYTES])

    def _settle(self, path: str, first: int, end: int) -> None:
        for at in [at for at in self.maybe[path] if at < end and at + SECTOR_BYTES > first]:
            sector = self.maybe[path].pop(at)
            self.sure[path].extend(bytes(max(0, at + len(sector) - len(self.sure[path]))))
            self.sure[path][at : at + len(sector)] = sector

    def cut(self, place: Path, dice: random.Random) -> None:
        """Cut the power: put what is found afterwards into a folder."""
        (place / "realm").mkdir(parents=True, mode=0o700)
        for path in self.named | self.changing:
            if path in self.changing and dice.random() < 0.5:
                continue
            data = bytearray(self.sure[path])
            for at, sector in sorted(self.maybe[path].items()):
                if dice.random() < 0.5:
                    data.extend(bytes(max(0, at + len(sector) - len(data))))
                    data[at : at + len(sector)] = sector
            (place / "realm" / Path(path).name).write_bytes(data)
        witness = dice.choice([self.witness, *self.witness_maybe])
        if witness:
            (place / "witness").write_bytes(witness)


@pytest.fixture
def memory() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="wal-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield place
    shutil.rmtree(place)


def told(place: Path, patch: pytest.MonkeyPatch) -> tuple[list[Change], list[Any]]:
    """Write a story of rounds of one or more, large and small, with snapshots; return the tape and the states after each."""
    dice = random.Random(7)
    stored = Stored()
    states = [(None, None, ())]
    with patch.context() as patched:
        tape = Tape(patched)
        seat = Seat(place)
        for number in range(1, PERSISTS + 1):
            vote = Vote(term=number, voted="me") if dice.random() < 0.3 else None
            entries = (entry(number, dice.choice([5, 100, 700, 3000]), term=number),)
            snapshot = Snapshot(term=number - 1, index=number - 1, config=ME, state=b"s") if number % 7 == 0 else None
            stored.persist(vote, entries, snapshot)
            seat.put(number, *entries, vote=vote, snapshot=snapshot)
            states.append((stored.vote, stored.snapshot, tuple(stored.entries)))
            if dice.random() < 0.7:
                seat.sync(number)
        seat.wal.close()
        seat.end()
    return tape.changes, states


def found_after(place: Path) -> Any:
    loop = asyncio.new_event_loop()
    writer = WalWriter(loop)
    wal = Wal(place / "realm", place / "witness", writer, done=lambda _: None, failed=pytest.fail)
    wal.close()
    writer.close()
    loop.close()
    return wal.recovered


def test_wherever_the_power_goes_what_was_acknowledged_is_there_and_the_log_is_well(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, states = told(memory / "story", monkeypatch)
    assert sum(change[0] == "create" for change in changes) >= 4
    platter = Platter()
    for moment, change in enumerate(changes):
        platter.take(change)
        for seed in range(CUTS_PER_MOMENT):
            place = memory / f"{moment}-{seed}"
            platter.cut(place, random.Random(moment * 100 + seed))
            found = found_after(place)
            assert not found.damaged, (moment, change[0], found.damaged)
            assert state(found) in states[platter.acknowledged :], (moment, change[0])
            shutil.rmtree(place)
    assert platter.acknowledged == PERSISTS


def test_a_log_that_acknowledges_before_it_syncs_is_caught(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the tape without its syncs."""
    changes, states = told(memory / "story", monkeypatch)
    platter = Platter()
    lost = 0
    for moment, change in enumerate(changes):
        if change[0] == "sync range":
            continue
        platter.take(change)
        if change[0] == "acknowledge":
            place = memory / str(moment)
            platter.cut(place, random.Random(moment))
            found = found_after(place)
            lost += state(found) not in states[platter.acknowledged :]
    assert lost > 0
