"""The write-ahead log: what was acknowledged is there after anything, or its loss is named; nothing is ever invented."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worldos.agent.records import SECTOR_BYTES
from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.errors import DiskFull, WorldError
from worldos.kernel.stored import Recovered, Stored
from worldos.model.raft import Config, Entry, Snapshot, Vote

ME = Config(voters=("me",))
WAIT_S = 30.0


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder whose syncs cost nothing, for tests that open a log a thousand times."""
    place = Path(tempfile.mkdtemp(prefix="wal-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield place
    shutil.rmtree(place)


def entry(index: int, size: int = 20, term: int = 1) -> Entry:
    return Entry(term=term, index=index, command=random.Random(index).randbytes(size))


class Seat:
    """A log and what it said, in an event loop of its own."""

    def __init__(self, place: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.writer = WalWriter(self.loop)
        self.done: list[int] = []
        self.failures: list[WorldError] = []
        try:
            self.wal = Wal(
                place / "realm",
                place / "witness",
                self.writer,
                done=self.done.append,
                failed=self.failures.append,
            )
        except WorldError:
            self.end()
            raise

    @property
    def found(self) -> Recovered:
        return self.wal.recovered

    def put(self, number: int, *entries: Entry, vote: Vote | None = None, snapshot: Snapshot | None = None) -> None:
        self.wal.append(number, vote, entries, snapshot)

    def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            async with asyncio.timeout(WAIT_S):
                while not condition():  # noqa: ASYNC110 - a bounded wait for a callback of the loop itself
                    await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def sync(self, number: int) -> None:
        self.until(lambda: self.done and self.done[-1] >= number)

    def end(self) -> None:
        self.writer.close()
        self.loop.close()


def opened(place: Path) -> Recovered:
    seat = Seat(place)
    seat.wal.close()
    seat.end()
    return seat.found


def state(found: Recovered) -> tuple[Vote | None, Snapshot | None, tuple[Entry, ...]]:
    return found.vote, found.snapshot, found.entries


def story(place: Path, rounds: int = 6) -> list[tuple[Vote | None, Snapshot | None, tuple[Entry, ...]]]:
    """Write some rounds, each synced; return the state after none, one, two, ... of them."""
    seat, stored = Seat(place), Stored()
    states = [state(seat.found)]
    for number in range(1, rounds + 1):
        vote = Vote(term=number, voted="me")
        entries = (entry(2 * number - 1, 50 * number, number), entry(2 * number, 3, number))
        seat.put(number, *entries, vote=vote)
        seat.sync(number)
        stored.persist(vote, entries, None)
        states.append((stored.vote, None, tuple(stored.entries)))
    seat.wal.close()
    seat.end()
    return states


def live_file(place: Path) -> Path:
    (file,) = (place / "realm").glob("*.wal")
    return file


def test_a_new_log_is_empty_and_in_its_first_life(tmp_path: Path) -> None:
    assert opened(tmp_path) == Recovered(vote=None, snapshot=None, entries=(), damaged="", life=1)
    assert opened(tmp_path).life == 2


def test_what_was_done_is_there_in_the_next_life(tmp_path: Path) -> None:
    states = story(tmp_path)
    found = opened(tmp_path)
    assert state(found) == states[-1]
    assert not found.damaged
    assert state(opened(tmp_path)) == states[-1]


def test_a_snapshot_stands_for_the_log_up_to_it_and_the_old_file_goes(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.put(1, *(entry(index) for index in range(1, 50)), vote=Vote(term=1, voted="me"))
    seat.sync(1)
    before = live_file(tmp_path)
    snapshot = Snapshot(term=1, index=40, config=ME, state=b"charter")
    seat.put(2, snapshot=snapshot)
    seat.put(3, entry(50))
    seat.sync(3)
    assert not before.exists()
    seat.end()
    found = opened(tmp_path)
    assert found.snapshot == snapshot
    assert found.vote == Vote(term=1, voted="me")
    assert [each.index for each in found.entries] == list(range(41, 51))


def test_a_log_cut_at_any_byte_gives_a_first_part_of_it_and_names_what_is_gone(memory: Path) -> None:
    states = story(memory / "first", rounds=3)
    data = live_file(memory / "first").read_bytes()
    size = len(data.rstrip(b"\0"))
    for cut in range(size):
        place = memory / str(cut)
        shutil.copytree(memory / "first", place)
        with live_file(place).open("r+b") as file:
            file.truncate(cut)
        found = opened(place)
        assert state(found) in states
        assert found.damaged
        assert opened(place).damaged, "damage is remembered"
        shutil.rmtree(place)


def test_any_flipped_bit_gives_a_first_part_and_its_name(memory: Path) -> None:
    states = story(memory / "first", rounds=3)
    data = live_file(memory / "first").read_bytes()
    size = len(data.rstrip(b"\0"))
    for bit in random.Random(5).sample(range(8 * size), 300):
        place = memory / str(bit)
        shutil.copytree(memory / "first", place)
        file = live_file(place)
        rotten = bytearray(data)
        rotten[bit // 8] ^= 1 << bit % 8
        file.write_bytes(rotten)
        found = opened(place)
        assert state(found) in states
        assert found.damaged or state(found) == states[-1]  # a bit that nobody reads may flip
        shutil.rmtree(place)


def test_a_round_that_was_never_synced_may_be_torn_and_is_cut(memory: Path) -> None:
    """The witness, which is behind after a power cut, tells a torn round from one that was whole once."""
    states = story(memory / "first", rounds=3)
    witness = (memory / "first" / "witness").read_bytes()
    seat = Seat(memory / "first")
    seat.put(4, entry(7, 3000))
    seat.sync(4)
    seat.end()
    data = live_file(memory / "first").read_bytes()
    size = len(data.rstrip(b"\0"))
    for cut in range(SECTOR_BYTES, size, SECTOR_BYTES):  # a disk tears between sectors
        place = memory / str(cut)
        shutil.copytree(memory / "first", place)
        live_file(place).write_bytes(data[:cut] + bytes(len(data) - cut))
        (place / "witness").write_bytes(witness)
        found = opened(place)
        assert state(found) == states[-1]
        assert not found.damaged
        shutil.rmtree(place)


@pytest.mark.parametrize("what", ["backup", "log gone", "witness gone", "witness rotten"])
def test_a_log_that_went_back_in_time_is_damaged_until_it_is_mended(tmp_path: Path, what: str) -> None:
    here = tmp_path / "here"
    story(here, rounds=2)
    shutil.copytree(here / "realm", tmp_path / "backup")
    seat = Seat(here)
    seat.put(3, entry(5))
    seat.sync(3)
    seat.end()
    if what in {"backup", "log gone"}:
        shutil.rmtree(here / "realm")
    if what == "backup":
        shutil.copytree(tmp_path / "backup", here / "realm")
    if what == "witness gone":
        (here / "witness").unlink()
    if what == "witness rotten":
        (here / "witness").write_bytes(bytes(32))
    first = opened(here)
    assert first.damaged
    seat = Seat(here)
    assert seat.found.damaged == first.damaged
    seat.put(1, entry(len(seat.found.entries) + 1))
    seat.wal.mended()
    seat.put(2, vote=Vote(term=9))
    seat.sync(2)
    seat.end()
    found = opened(here)
    assert not found.damaged
    assert found.vote == Vote(term=9)


def test_damaged_files_are_kept_aside(tmp_path: Path) -> None:
    story(tmp_path)
    data = bytearray(live_file(tmp_path).read_bytes())
    data[200] ^= 1
    live_file(tmp_path).write_bytes(data)
    assert opened(tmp_path).damaged
    (kept,) = (tmp_path / "realm" / "damaged").iterdir()
    assert kept.read_bytes() == data


def test_a_new_file_that_was_only_begun_changes_nothing(tmp_path: Path) -> None:
    states = story(tmp_path)
    file = live_file(tmp_path)
    begun = file.with_name(f"{int(file.stem, 16) + 7:016x}.wal")
    for half in (b"", bytes(4096)):
        begun.write_bytes(half)
        found = opened(tmp_path)
        assert state(found) == states[-1]
        assert not found.damaged
        begun = live_file(tmp_path).with_name(f"{int(live_file(tmp_path).stem, 16) + 1:016x}.wal")


def test_a_life_that_ended_at_its_very_beginning_leaves_a_good_log(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "witness").unlink()  # the power went between the first file and its witness
    assert not opened(tmp_path).damaged


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_stops_the_seat_with_a_clear_word_and_loses_nothing_it_promised(
    small_disk: Path, tmp_path: Path
) -> None:
    seat = Seat(small_disk)
    number = 0
    while not seat.failures:
        number += 1
        seat.put(number, entry(number, 30_000))
        seat.until(lambda number=number: len(seat.failures) + len(seat.done) == number)
    promised = seat.done[-1]
    assert promised == number - 1
    (failure,) = seat.failures
    assert isinstance(failure, DiskFull)
    assert "No space left" in str(failure)
    seat.put(number + 1, entry(number + 1, 1))
    seat.wal.close()
    seat.end()
    assert seat.done[-1] == promised
    assert len(seat.failures) == 1
    with pytest.raises(DiskFull):
        Seat(small_disk)
    roomy = tmp_path / "roomy"
    shutil.copytree(small_disk, roomy)
    found = opened(roomy)
    assert not found.damaged
    assert [each.index for each in found.entries] == list(range(1, promised + 1))


LIFE = """
import asyncio, os, sys
from pathlib import Path
from worldos.agent.records import SECTOR_BYTES
from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.model.raft import Config, Entry, Snapshot, Vote

async def main(place):
    free = asyncio.Event()
    def done(number):
        os.write(1, b"%d\\n" % number)
        free.set()
    wal = Wal(place / "realm", place / "witness", WalWriter(asyncio.get_running_loop()), done=done, failed=print)
    found = wal.recovered
    assert not found.damaged, found.damaged
    log = [found.snapshot.index] if found.snapshot else [0]
    index = found.entries[-1].index if found.entries else log[0]
    while True:
        for _ in range(3):
            index += 1
            entry = Entry(term=1, index=index, command=bytes([index % 251]) * (index % 700))
            wal.append(index, Vote(term=index), (entry,), None)
        if index % 50 == 0:
            wal.append(index, None, (), Snapshot(term=1, index=index - 5, config=Config(voters=("me",)), state=b"%d" % index))
        free.clear()
        await free.wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_process_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    promised = 0
    for life in range(8):
        process = subprocess.Popen([sys.executable, "-c", LIFE, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        lines = 20 + random.Random(life).randrange(120)
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        acknowledged = [int(line) for line in said if line.endswith(b"\n")]
        assert len(acknowledged) >= lines
        promised = acknowledged[-1]
        found = opened(tmp_path)
        assert not found.damaged
        last = found.entries[-1].index if found.entries else 0
        assert last >= promised
        assert found.vote is not None
        assert found.vote.term >= promised
        first = found.snapshot.index + 1 if found.snapshot else 1
        assert [each.index for each in found.entries] == list(range(first, last + 1))
        assert all(each.command == bytes([each.index % 251]) * (each.index % 700) for each in found.entries)


def test_an_erased_log_leaves_nothing_and_a_new_one_begins_well(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.put(1, entry(1))
    seat.wal.erase()
    assert list(tmp_path.iterdir()) == []
    seat.end()
    assert opened(tmp_path) == Recovered(vote=None, snapshot=None, entries=(), damaged="", life=1)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a folder away needs root")
    (tmp_path / "realm").mkdir()
    os.chown(tmp_path / "realm", 12345, 12345)
    with pytest.raises(WorldError):
        Seat(tmp_path)
