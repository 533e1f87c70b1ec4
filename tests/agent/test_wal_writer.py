"""The writer of logs: many appends and many realms, few rounds; nothing that was appended is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.agent.test_wal import WAIT_S, Seat, entry, opened

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
