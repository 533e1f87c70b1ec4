"""Reading: whatever n - k stores do, the bytes come, and they are those that were written."""

from __future__ import annotations

import io
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.files.depots import Site, files_of, site

from worldos.errors import Damaged, Unreachable
from worldos.files.files import Files

MIB = 1 << 20


class Liar:
    """What a depot's store becomes when it gives other bytes than it took, from share to share."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, share_id: bytes, offset: int = 0, length: int = -1, into: memoryview | None = None) -> memoryview:
        data = bytearray(self._store.get(share_id, offset, length))
        data[len(data) // 2] ^= 1
        if into is None:
            return memoryview(data)
        into[: len(data)] = data
        return into[: len(data)]


@pytest.fixture
def six() -> Iterator[Site]:
    with site(6) as made:
        yield made


def bytes_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def lie(made: Site, *numbers: int) -> None:
    """Let these depots lie from now on: other doors to the same stores."""
    for number in numbers:
        depot = made.depots[number]
        assert depot.server is not None
        depot.server.close()
        depot.open_door(Liar(depot.store))


@pytest.mark.parametrize("gone", [(0,), (0, 1, 2), (3, 4, 5), (1, 3, 5)])
def test_any_three_of_six_may_be_gone(six: Site, tmp_path: Path, gone: tuple[int, ...]) -> None:
    data = bytes_of(20 * MIB)
    with files_of(six, tmp_path / "home") as files:
        files.put(data, "big")
    for number in gone:
        six.depots[number].end()
    with files_of(six, tmp_path / "home") as files:
        assert files.read("big") == data
        assert files.read("big", 11 * MIB, 1000) == data[11 * MIB :][:1000]


def test_with_four_gone_it_says_how_many_are_needed(six: Site, tmp_path: Path) -> None:
    with files_of(six, tmp_path / "home") as files:
        files.put(bytes_of(MIB), "big")
        files.put(b"tiny", "tiny")
    for number in (0, 1, 2, 3):
        six.depots[number].end()
    with files_of(six, tmp_path / "home") as files, pytest.raises(Unreachable, match="2 of the 3"):
        files.read("big")


@pytest.mark.parametrize("liars", [(0,), (1, 4), (0, 2, 5)])
def test_stores_that_lie_are_found_and_passed_over(six: Site, tmp_path: Path, liars: tuple[int, ...]) -> None:
    data = bytes_of(9 * MIB)
    with files_of(six, tmp_path / "home") as files:
        files.put(data, "big")
    lie(six, *liars)
    with files_of(six, tmp_path / "home") as files:
        assert files.read("big") == data
        assert files.read("big", 5 * MIB, 100_000) == data[5 * MIB :][:100_000]
        assert set(files.session.shelf.lying) <= {six.depots[number].node for number in liars}


def test_when_too_many_lie_no_wrong_byte_comes_out(six: Site, tmp_path: Path) -> None:
    with files_of(six, tmp_path / "home") as files:
        files.put(bytes_of(MIB), "big")
    lie(six, 0, 1, 2, 3)
    with files_of(six, tmp_path / "home") as files, pytest.raises((Damaged, Unreachable)):
        files.read("big")


def test_reading_jumps_as_it_likes(six: Site, tmp_path: Path) -> None:
    data = bytes_of(7 * MIB)
    with files_of(six, tmp_path / "home") as files:
        files.put(data, "big")
        dice = random.Random(5)
        with files.reader("big") as file:
            for _ in range(40):
                offset, length = dice.randrange(len(data)), dice.randrange(200_000)
                file.seek(offset)
                assert file.read(length) == data[offset : offset + length]
            file.seek(0)
            assert b"".join(iter(lambda: file.read(300_001), b"")) == data


@pytest.mark.parametrize("asleep", [1, 2, 3])
@pytest.mark.slow
def test_stores_that_fall_asleep_in_the_middle_hold_up_nobody(tmp_path: Path, asleep: int) -> None:
    data = bytes_of(40 * MIB)
    with site(6, own_process=True) as six, files_of(six, tmp_path / "home") as files:
        files.put(data, "big")
        assert files.read("big") == data
        stopped: list[float] = []

        class Sink(io.BytesIO):
            def write(self, part: Any) -> int:
                if not stopped and self.tell() > 5 * MIB:
                    for depot in six.depots[1 : 1 + asleep]:
                        depot.tell(signal.SIGSTOP)
                    stopped.append(time.monotonic())
                return super().write(part)

        sink = Sink()
        files.get("big", sink)
        took_s = time.monotonic() - stopped[0]
        assert sink.getvalue() == data
        assert took_s < 20, "a bound for a busy machine; the bench says how long it takes"
        for depot in six.depots[1 : 1 + asleep]:
            depot.tell(signal.SIGCONT)


def test_packed_and_sparse_files_come_back(files: Files) -> None:
    text = (b"the same words again and again " * 300_000)[: 8 * MIB]
    files.put(text, "text")
    files.put(bytes(12 * MIB), "zeros")
    assert files.read("text") == text
    assert files.read("zeros") == bytes(12 * MIB)
    assert files.read("text", 3 * MIB + 5, 1000) == text[3 * MIB + 5 :][:1000]
    mixed = os.urandom(3 * MIB) + text + os.urandom(100)
    files.put(mixed, "mixed")
    assert files.read("mixed") == mixed
