"""Records: whatever a disk does to them, what is believed is a first part of what was written, or the damage is named."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.agent.records import BORDER_BYTES, SECTOR_BYTES, Record, frame, scan

ROOM = bytes(3 * SECTOR_BYTES)  # zeroed ahead of need


def written(sizes: list[int]) -> tuple[list[Record], bytes]:
    dice = random.Random(1)
    records = [Record(number, 7, dice.randbytes(size)) for number, size in enumerate(sizes, 5)]
    return records, b"".join(frame(*record) for record in records)


SIZES = [0, 1, 31, 32, 33, 700, 5, 1300]


def test_what_was_written_is_read_with_room_behind_it_and_without() -> None:
    records, data = written(SIZES)
    assert len(data) % BORDER_BYTES == 0
    for tail in (b"", ROOM):
        assert scan(data + tail) == (records, False, "")
    assert scan(b"") == scan(ROOM) == ([], False, "")


def test_a_file_cut_at_any_byte_gives_the_records_before_and_is_torn_at_most() -> None:
    records, data = written(SIZES)
    ends = [len(b"".join(frame(*record) for record in records[: count + 1])) for count in range(len(records))]
    for cut in range(len(data)):
        found = scan(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert found.records in (
            records[:whole],
            records[: whole + 1],
        )  # the last may lack only what fills its border up
        assert not found.damage


def test_a_round_of_which_a_disk_wrote_only_some_sectors_is_torn() -> None:
    records, data = written([40, 3000])
    first = len(frame(*records[0]))
    for seed in range(200):
        dice = random.Random(seed)
        disk = bytearray(data + bytes(-len(data) % SECTOR_BYTES) + ROOM)
        sectors = [at for at in range(0, len(data), SECTOR_BYTES) if at + SECTOR_BYTES > first]
        lost = dice.sample(sectors, dice.randint(1, len(sectors)))
        for at in lost:
            start = max(at, first)
            disk[start : at + SECTOR_BYTES] = bytes(at + SECTOR_BYTES - start)
        found = scan(bytes(disk))
        assert found.records == records[:1]
        assert found.torn or len(lost) == len(sectors)
        assert not found.damage


def test_any_flipped_bit_is_seen_and_nothing_is_invented() -> None:
    records, data = written(SIZES)
    unused = 0
    for bit in range(8 * len(data)):
        disk = bytearray(data + ROOM)
        disk[bit // 8] ^= 1 << bit % 8
        found = scan(bytes(disk))
        if found.records == records:
            unused += 1
            continue
        assert found.records == records[: len(found.records)]
        assert found.damage, f"bit {bit}"
    assert unused <= 8 * sum(-size % BORDER_BYTES for size in SIZES)


def test_a_bad_record_with_good_ones_behind_it_is_damage_even_where_sectors_are_empty() -> None:
    records, data = written([2000, 50, 50])
    disk = bytearray(data)
    disk[SECTOR_BYTES : 3 * SECTOR_BYTES] = bytes(2 * SECTOR_BYTES)
    assert "a good one follows" in scan(bytes(disk)).damage
    disk[:BORDER_BYTES] = bytes(BORDER_BYTES)
    assert scan(bytes(disk)).records == []
    assert "a good one follows" in scan(bytes(disk)).damage
    assert records


def test_a_missing_round_is_damage() -> None:
    _, data = written([10, 10, 10])
    assert scan(data[:64] + data[128:]).damage == "round 6 is missing at byte 64"


@given(st.binary(max_size=400), st.integers(0, 40))
def test_bytes_of_anybody_raise_nothing_and_are_no_records(data: bytes, at: int) -> None:
    assert scan(data).records == []
    whole = frame(1, 1, b"good")
    assert [record.body for record in scan(whole + data).records] == [b"good"]
    broken = whole[:at] + data + whole[at:]
    assert all(record.body in (b"good",) for record in scan(broken).records)


@pytest.mark.parametrize("length", [2**31, 2**32 - 1])
def test_a_length_that_nobody_writes_is_damage(length: int) -> None:
    head = struct.pack("<IIQQI", length, 0, 1, 1, 0)
    assert scan(head + zlib.crc32(head).to_bytes(4, "little") + ROOM).damage
