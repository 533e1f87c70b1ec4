"""Cutting a byte stream into frames."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.fabric import frame
from worldos.fabric.limits import FRAME_PAYLOAD_BYTES_MAX, PRIORITIES, READ_BYTES

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(sorted(frame.SESSION_KINDS)),
        st.integers(0, PRIORITIES - 1),
        st.integers(0, 2**32 - 1),
        st.integers(1, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.one_of(st.binary(max_size=40), st.integers(0, 3 * READ_BYTES).map(bytes)),
    ),
    max_size=8,
)


def emit(item: tuple[int, int, int, int, int, bytes]) -> bytes:
    kind, priority, channel, seq, ack, payload = item
    return frame.HEADER.pack(len(payload), kind, priority, channel, seq, ack) + payload


def parse(reader: frame.Reader, data: bytes, piece: int) -> list[tuple[int, int, int, int, int, bytes]]:
    found = []
    view = memoryview(data)
    while view:
        room = reader.room()
        count = min(len(room), len(view), piece)
        assert count, "there is always room"
        room[:count] = view[:count]
        view = view[count:]
        reader.wrote(count)
        while (item := reader.next()) is not None:
            found.append((*item[:5], bytes(item[5])))
    return found


@given(FRAMES, st.one_of(st.integers(20, 100), st.just(1 << 20)))
@settings(max_examples=60, deadline=None)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[int, int, int, int, int, bytes]], piece: int
) -> None:
    assert parse(frame.Reader(), b"".join(map(emit, frames)), piece) == frames


def test_the_largest_frame_passes_and_small_ones_after_it() -> None:
    largest = (frame.DATA, 0, 1, 1, 0, random.Random(1).randbytes(FRAME_PAYLOAD_BYTES_MAX))
    small = (frame.MESSAGE, 0, 0, 2, 0, b"small")
    reader = frame.Reader()
    assert parse(reader, emit(largest) + emit(small), 10_000) == [largest, small]
    assert parse(reader, emit(small) * 1000, 10_000) == [small] * 1000


@pytest.mark.parametrize(
    "bad",
    [
        frame.HEADER.pack(FRAME_PAYLOAD_BYTES_MAX + 1, frame.DATA, 0, 1, 1, 0),
        frame.HEADER.pack(0, 99, 0, 1, 1, 0),
        frame.HEADER.pack(0, frame.DATA, PRIORITIES, 1, 1, 0),
        frame.HEADER.pack(0, frame.DATA, 0, 1, 0, 0),  # a session's frame without a number
        frame.HEADER.pack(0, frame.PING, 0, 0, 1, 0),  # a link's frame with one
    ],
)
def test_a_bad_header_breaks_the_link(bad: bytes) -> None:
    with pytest.raises(PeerBroke):
        parse(frame.Reader(), bad, 100)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_end_in_peer_broke_and_in_little_memory(seed: int) -> None:
    reader = frame.Reader()
    with pytest.raises(PeerBroke):
        parse(reader, random.Random(seed).randbytes(1 << 20), 5000)
