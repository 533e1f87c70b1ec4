"""What both disks promise: what was done comes back in the next life, in order, and damage is named until it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.kernel.stored import Recovered
from worldos.model.raft import Config, Entry, Snapshot, Vote
from worldos.ports import Disk
from worldos.sim.disk import MemoryDisk

WAIT_S = 30.0
ME = Config(voters=("me",))


class RealLives:
    """Lives of the log in files."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.loop = asyncio.new_event_loop()
        self.done: list[int] = []
        self.writer: WalWriter | None = None

    def begin(self) -> tuple[Disk, Recovered]:
        self.end()
        self.writer = WalWriter(self.loop)
        wal = Wal(self.place / "realm", self.place / "witness", self.writer, done=self.done.append, failed=pytest.fail)
        return wal, wal.recovered

    def settle(self, number: int) -> None:
        async def wait() -> None:
            async with asyncio.timeout(WAIT_S):
                while number not in self.done:  # noqa: ASYNC110 - a bounded wait for a callback of this loop
                    await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def rot(self) -> None:
        (file,) = (self.place / "realm").glob("*.wal")
        data = bytearray(file.read_bytes())
        data[len(data.rstrip(b"\0")) - 40] ^= 16
        file.write_bytes(data)

    def end(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class MemoryLives:
    """Lives of the disk in memory."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.disk = MemoryDisk(self.done.append)

    def begin(self) -> tuple[Disk, Recovered]:
        return self.disk, self.disk.recover()

    def settle(self, number: int) -> None:
        self.disk.sync()
        assert number in self.done

    def rot(self) -> None:
        assert self.disk.flip(-1)

    def end(self) -> None:
        pass


Lives = RealLives | MemoryLives
Make = Callable[[], Lives]


@pytest.fixture(params=["agent", "sim"])
def lives(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lives]:
    made: Lives = RealLives(tmp_path) if request.param == "agent" else MemoryLives()
    yield made
    made.end()
    if isinstance(made, RealLives):
        made.loop.close()


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(term=term, index=index, command=b"%d" % index * 20) for index in range(first, last + 1))


def test_a_new_disk_is_empty(lives: Lives) -> None:
    _, found = lives.begin()
    assert found == Recovered(vote=None, snapshot=None, entries=(), damaged="", life=1)
    assert lives.begin()[1].life == 2


def test_what_was_done_comes_back_and_later_entries_replace_earlier_ones(lives: Lives) -> None:
    disk, _ = lives.begin()
    disk.append(1, Vote(term=1, voted="me"), entries(1, 9), None)
    disk.append(2, Vote(term=2, voted="you"), entries(5, 6, term=2), None)
    lives.settle(2)
    _, found = lives.begin()
    assert found.entries == entries(1, 4) + entries(5, 6, term=2)
    assert found.vote == Vote(term=2, voted="you")
    assert not found.damaged


def test_a_snapshot_stands_for_what_it_ends(lives: Lives) -> None:
    disk, _ = lives.begin()
    disk.append(1, None, entries(1, 9), None)
    snapshot = Snapshot(term=1, index=6, config=ME, state=b"charter")
    disk.append(2, None, (), snapshot)
    disk.append(3, None, entries(10, 10), None)
    lives.settle(3)
    _, found = lives.begin()
    assert found.snapshot == snapshot
    assert found.entries == entries(7, 10)


def test_numbers_begin_again_with_each_life(lives: Lives) -> None:
    for life in range(1, 4):
        disk, found = lives.begin()
        assert found.life == life
        assert len(found.entries) == life - 1
        lives.done.clear()
        disk.append(1, None, entries(life, life), None)
        lives.settle(1)


def test_rot_is_named_in_each_life_until_it_is_mended(lives: Lives) -> None:
    disk, _ = lives.begin()
    disk.append(1, None, entries(1, 3), None)
    lives.settle(1)
    disk.append(2, None, entries(4, 4), None)
    lives.settle(2)
    lives.rot()
    _, found = lives.begin()
    assert found.damaged
    assert found.entries == entries(1, 3)
    disk, found = lives.begin()
    assert found.damaged
    disk.append(1, None, entries(4, 4), None)
    disk.mended()
    disk.append(2, Vote(term=3), (), None)
    lives.settle(2)
    _, found = lives.begin()
    assert not found.damaged
    assert found.entries == entries(1, 4)
