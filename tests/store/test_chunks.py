"""Chunks: the same from a stream as from memory, and an insertion changes few."""

import io
import random

import pytest

from worldos.store import chunks
from worldos.store.limits import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, MIB

DATA = random.Random(1).randbytes(30 * MIB)


def by_stream(data: bytes, buffer_bytes: int, step: int = 0) -> list[bytes]:
    source = io.BytesIO(data)

    def fill(view: memoryview) -> int:
        return source.readinto(view[:step] if step else view)

    return [bytes(chunk) for chunk in chunks.chunks_of(fill, bytearray(buffer_bytes))]


def in_memory(data: bytes) -> list[bytes]:
    return [data[offset : offset + length] for offset, length in chunks.cut(data)]


def test_chunks_are_the_file_and_keep_their_bounds() -> None:
    found = in_memory(DATA)
    assert b"".join(found) == DATA
    assert all(CHUNK_BYTES_MIN <= len(chunk) <= CHUNK_BYTES_MAX for chunk in found[:-1])
    assert 15 <= len(found) <= 40


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES_MIN, CHUNK_BYTES_MIN + 1, CHUNK_BYTES_MAX, 8 * MIB, 8 * MIB + 1, len(DATA)]
)
def test_a_stream_is_cut_as_memory_is(size: int) -> None:
    assert by_stream(DATA[:size], chunks.STREAM_BYTES_MIN) == in_memory(DATA[:size])


def test_neither_the_buffer_nor_how_the_bytes_come_changes_the_cut() -> None:
    assert by_stream(DATA, 11 * MIB + 7) == in_memory(DATA)
    assert by_stream(DATA, chunks.STREAM_BYTES_MIN, step=300_001) == in_memory(DATA)


def test_bytes_that_never_say_where_to_cut_are_cut_at_the_longest() -> None:
    found = in_memory(bytes(10 * MIB))
    assert [len(chunk) for chunk in found] == [4 * MIB, 4 * MIB, 2 * MIB]


def test_an_insertion_changes_the_chunks_around_it_only() -> None:
    place = 11 * MIB
    changed = in_memory(DATA[:place] + b"a few bytes more" + DATA[place:])
    assert len(set(changed) - set(in_memory(DATA))) <= 2


def test_the_cut_is_that_of_the_day_it_was_frozen() -> None:
    """Not for readers, who do not depend on it, but so that a file stored again is found to be there."""
    assert [length for _, length in chunks.cut(DATA)][:4] == [1521776, 1829765, 518824, 1607681]


def test_equal_chunks_have_one_name_for_one_owner_and_another_for_another() -> None:
    key, other = bytes(32), bytes(31) + b"\x01"
    assert chunks.chunk_id(key, b"data") == chunks.chunk_id(key, bytearray(b"data"))
    assert len({chunks.chunk_id(key, b"data"), chunks.chunk_id(other, b"data"), chunks.chunk_id(key, b"Data")}) == 3


def test_a_buffer_too_small_to_cut_in_is_refused() -> None:
    with pytest.raises(ValueError, match="takes a buffer"):
        next(chunks.chunks_of(io.BytesIO(DATA).readinto, bytearray(MIB)))
