"""The disk in memory: each fault does what such a fault does, and nothing that was synced is lost without a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.stored import Stored
from worldos.model.raft import Config, Entry, Snapshot, Vote
from worldos.sim.disk import MemoryDisk


def write(disk: MemoryDisk, number: int, stored: Stored | None = None) -> None:
    vote = Vote(term=number, voted="me")
    entries = (Entry(term=1, index=number, command=b"%d" % number * 9),)
    snapshot = (
        Snapshot(term=1, index=number - 2, config=Config(voters=("me",)), state=b"s") if number % 5 == 0 else None
    )
    disk.append(number, vote, entries, snapshot)
    if stored is not None:
        stored.persist(vote, entries, snapshot)


def state(stored: Stored) -> tuple[object, ...]:
    return stored.vote, stored.snapshot, tuple(stored.entries)


@given(synced=st.integers(0, 12), unsynced=st.integers(0, 6), chance=st.integers(0, 1 << 40))
def test_a_power_cut_takes_only_what_was_not_synced(synced: int, unsynced: int, chance: int) -> None:
    done: list[int] = []
    disk, stored = MemoryDisk(done.append), Stored()
    disk.recover()
    states = [state(stored)]
    for number in range(1, synced + unsynced + 1):
        write(disk, number, stored)
        states.append(state(stored))
        if number == synced:
            disk.sync()
    assert done == ([synced] if synced else [])
    disk.crash(chance)
    found = disk.recover()
    assert not found.damaged
    assert (found.vote, found.snapshot, found.entries) in states[synced:]


@given(count=st.integers(1, 12), chance=st.integers(0, 1 << 40))
def test_a_flipped_bit_is_named_and_what_is_before_it_stands(count: int, chance: int) -> None:
    disk, stored = MemoryDisk(lambda _: None), Stored()
    disk.recover()
    states = [state(stored)]
    for number in range(1, count + 1):
        write(disk, number, stored)
        states.append(state(stored))
        disk.sync()
    assert disk.flip(chance)
    found = disk.recover()
    assert found.damaged
    assert (found.vote, found.snapshot, found.entries) in states[:-1]


def test_an_old_backup_is_named() -> None:
    disk = MemoryDisk(lambda _: None)
    disk.recover()
    write(disk, 1)
    disk.sync()
    backup = disk.backup()
    write(disk, 2)
    disk.sync()
    disk.go_back(backup)
    found = disk.recover()
    assert "held" in found.damaged
    assert [entry.index for entry in found.entries] == [1]


def test_a_disk_without_a_bit_cannot_rot() -> None:
    assert not MemoryDisk(lambda _: None).flip(3)


def test_what_a_snapshot_stands_for_takes_no_room_any_more() -> None:
    disk = MemoryDisk(lambda _: None)
    disk.recover()
    for number in range(1, 101):
        write(disk, number)
        disk.sync()
    assert len(disk.backup()) == 1
