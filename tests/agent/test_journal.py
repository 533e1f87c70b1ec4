"""The journal: replays exactly, ends at a whole record whatever the disk does, and damage is named with its place."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.agent import journal as journals
from worldos.agent.journal import HEAD, MAGIC, Journal, newest, read, replay
from worldos.agent.start import open_home
from worldos.errors import CorruptFile, DiskFull, NotAllowed
from worldos.kernel.events import ClockTicked
from worldos.node import Node

MS = 1_000_000


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return open_home(new_home(tmp_path / "home")).node


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def never(why: str) -> None:
    raise AssertionError(why)


def feed(journal: Journal, node: Node, count: int) -> None:
    now_ns = time.monotonic_ns()
    for number in range(count):
        event = ClockTicked(now_ns=now_ns + number * MS)
        journal.append(event, node.handle(event))


def written(folder: Path, node: Node, count: int = 5) -> Path:
    journal = Journal(folder, node, never)
    feed(journal, node, count)
    journal.close()
    file = newest(folder)
    assert file is not None
    return file


def test_a_journal_replays_to_the_same_effects(tmp_path: Path, node: Node) -> None:
    file = written(tmp_path, node, 20)
    assert [same for _, _, same in replay(file)] == [True] * 20


def test_each_life_has_its_file_and_old_ones_go(tmp_path: Path, node: Node) -> None:
    for _ in range(journals.FILES_KEPT + 3):
        written(tmp_path, node)
    names = sorted(file.name for file in tmp_path.glob("*.journal"))
    assert len(names) == journals.FILES_KEPT
    assert names[-1] == f"{journals.FILES_KEPT + 3:08d}.journal"


def test_files_of_others_in_the_folder_stay_out_of_it(tmp_path: Path, node: Node) -> None:
    (tmp_path / "mine.journal").touch()
    assert written(tmp_path, node).name == "00000001.journal"
    assert (tmp_path / "mine.journal").exists()


def test_a_long_journal_goes_on_in_a_new_file(tmp_path: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "FILE_BYTES_MAX", 4000)
    written(tmp_path, node, 200)
    files = sorted(tmp_path.glob("*.journal"))
    assert len(files) > 1
    for file in files:
        assert all(same for _, _, same in replay(file))


def test_a_torn_end_is_what_a_power_cut_leaves(tmp_path: Path, node: Node) -> None:
    file = written(tmp_path, node, 5)
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    assert len(list(replay(file))) == 4


def test_one_changed_bit_is_named_with_its_place(tmp_path: Path, node: Node) -> None:
    file = written(tmp_path, node, 5)
    data = bytearray(file.read_bytes())
    (size, _, _) = HEAD.unpack_from(data, len(MAGIC))
    at = len(MAGIC) + HEAD.size + size
    data[at + HEAD.size + 9] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptFile, match=f"damaged at byte {at}"):
        list(replay(file))


def record(kind: bytes, body: bytes) -> bytes:
    return HEAD.pack(len(body), zlib.crc32(body), kind) + body


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a journal"),
        (b"\x00" * 4096, "is not a journal"),
        (MAGIC + b"\xff" * 64, "damaged at byte 6"),
        (MAGIC + struct.pack("<IIc", 2**32 - 1, 0, b"E"), "damaged at byte 6"),
        (MAGIC + record(b"X", b"what"), "damaged at byte 6"),
        (MAGIC + record(b"S", b"\xc1"), "cannot read"),
        (MAGIC + record(b"S", b"\x80"), "cannot read"),
        (MAGIC + record(b"E", b"short"), "cannot read"),
        (MAGIC + record(b"E", b"12345678" + b"\x80"), "cannot read"),
    ],
)
def test_what_is_no_journal_is_refused_with_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "1.journal"
    file.write_bytes(data)
    with pytest.raises(CorruptFile, match=said):
        list(replay(file))


def test_a_journal_without_a_snapshot_is_refused(tmp_path: Path, node: Node) -> None:
    file = written(tmp_path, node)
    data = file.read_bytes()
    (size, _, _) = HEAD.unpack_from(data, len(MAGIC))
    file.write_bytes(MAGIC + data[len(MAGIC) + HEAD.size + size :])
    with pytest.raises(CorruptFile, match="no snapshot"):
        list(replay(file))


def test_three_hundred_spoilt_files_never_end_in_anything_but_a_sentence(tmp_path: Path, node: Node) -> None:
    file = written(tmp_path, node, 3)
    whole = file.read_bytes()
    for turn in range(300):
        data = bytearray(whole)
        place = turn * 7919 % len(data)
        data[place : place + 1 + turn % 5] = os.urandom(1 + turn % 5)
        file.write_bytes(data)
        with contextlib.suppress(CorruptFile):
            list(read(file))


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="cannot be read"):
        list(read(tmp_path / "none.journal"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, node: Node) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskFull, match="cannot be written"):
        Journal(tmp_path / "file", node, never)


def test_on_a_full_disk_the_file_ends_whole_and_a_new_one_begins_when_there_is_room(
    small_disk: Path, node: Node
) -> None:
    told: list[str] = []
    journal = Journal(small_disk, node, told.append)
    feed(journal, node, 10)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free))
    feed(journal, node, 400)
    assert told == ["No space left on device"]
    full = newest(small_disk)
    assert full is not None
    assert len(list(replay(full))) >= 10
    ballast.unlink()
    feed(journal, node, journals.MISSED_PER_TRY + 20)
    journal.close()
    fresh = newest(small_disk)
    assert fresh not in {None, full}
    for file in (full, fresh):
        assert all(same for _, _, same in replay(file))


@pytest.mark.slow
def test_an_agent_on_a_full_disk_goes_on_and_says_so(small_disk: Path) -> None:
    home = new_home(small_disk / "home")
    with running(home) as agent:
        (small_disk / "ballast").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
        assert until(lambda: _stopped(agent), "a notice of the full disk", 15)
        assert agent.ask("status")["name"] == "desk"
        (small_disk / "ballast").unlink()
    assert all(same for file in home.journal_folder.iterdir() for _, _, same in replay(file))


def _stopped(agent: RunningAgent) -> bool:
    return any(line["name"] == "journal stopped" for line in agent.ask("log"))
