"""The writer of logs: many appends and many realms, few rounds; nothing that was appended is left behind."""

from __future__ import annotations

import asyncio
import itertools
import threading
from pathlib import Path

import pytest
from tests.agent.test_wal import WAIT_S, Seat, entry, opened

from worldos.agent import wal_writer
from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter


def test_what_is_put_in_one_turn_of_the_loop_is_done_in_one_word(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    for number in range(1, 101):
        seat.put(number, entry(number))
    seat.sync(100)
    assert len(seat.done) <= 2
    seat.end()
    assert [each.index for each in opened(tmp_path).entries] == list(range(1, 101))


def test_the_logs_of_many_realms_share_one_writer(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    writer = WalWriter(loop)
    done: dict[int, int] = {}
    walls = [
        Wal(
            tmp_path / str(realm),
            tmp_path / f"{realm}.witness",
            writer,
            done=lambda number, realm=realm: done.__setitem__(realm, number),
            failed=pytest.fail,
        )
        for realm in range(5)
    ]

    async def write() -> None:
        for number in range(1, 11):
            for wal in walls:
                wal.append(number, None, (entry(number),), None)
            await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            while set(done.items()) != {(realm, 10) for realm in range(5)}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    loop.run_until_complete(write())
    writer.close()
    loop.close()


def test_what_was_appended_before_a_log_is_closed_is_on_the_disk(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    for number in range(1, 51):
        seat.put(number, entry(number))
    seat.wal.close()
    seat.end()
    assert [each.index for each in opened(tmp_path).entries] == list(range(1, 51))


def test_small_rounds_are_written_by_the_loop_while_the_disk_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[str] = []
    took_ns = [wal_writer.QUICK_NS]
    real = Wal.write_round

    def write_round(wal: Wal, bodies: list[bytes], *, whole: bool) -> bool:
        writers.append(threading.current_thread().name)
        return real(wal, bodies, whole=whole)

    times = itertools.cycle([0, 1])
    monkeypatch.setattr(Wal, "write_round", write_round)
    monkeypatch.setattr(wal_writer.clock, "now_ns", lambda: took_ns[0] * next(times))
    seat = Seat(tmp_path)
    for number in range(1, 41):
        seat.put(number, entry(number))
        seat.sync(number)
    assert writers[: wal_writer.CREDIT_MIN] == ["wal"] * wal_writer.CREDIT_MIN
    assert writers[-8:] == ["MainThread"] * 8
    seat.put(41, entry(41, wal_writer.SMALL_BYTES))
    seat.sync(41)
    assert writers[-1] == "wal", "a long one leaves the loop free"
    took_ns[0] = wal_writer.STALL_NS
    for number in range(42, 46):
        seat.put(number, entry(number))
        seat.sync(number)
    assert writers[-4:] == ["MainThread", "wal", "wal", "wal"], "a disk that stalls stalls the loop once"
    seat.end()
    assert [each.index for each in opened(tmp_path).entries] == list(range(1, 46))
