"""Frames: whatever the pieces in which they come, they are the same; garbage is PeerBroke and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.lanes import wire
from worldos.lanes.wire import Frame, FrameKind


def received(data: bytes, cut: int = 0) -> list[Frame]:
    """Return the frames of a stream that comes in pieces of ``cut`` bytes (0: at once)."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        inbox = wire.Inbox(there, takes_fds=False, data_bytes_max=1 << 40)
        frames: list[Frame] = []
        view = memoryview(data)
        size = cut or 100_000
        while view:
            try:
                sent = here.send(view[:size])
                view = view[sent:]
            except BlockingIOError:
                pass
            try:
                frames.extend(inbox.receive())
            except BlockingIOError:
                continue
        here.close()
        while True:
            try:
                frames.extend(inbox.receive())
            except EOFError:
                return frames


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**31), st.binary(max_size=100)), max_size=20),
            st.binary(max_size=2000),
        ),
        max_size=8,
    ),
    st.integers(1, 200),
)
def test_frames_survive_any_cut(contents: list[object], cut: int) -> None:
    stream = b""
    for content in contents:
        if isinstance(content, bytes):
            stream += wire.frame(FrameKind.STDOUT, None, len(content)) + content
        else:
            stream += wire.frame(FrameKind.CALLS, content)
    frames = received(stream, cut)
    assert [bytes(f.data) if f.kind == FrameKind.STDOUT else f.meta for f in frames] == contents


def test_large_data_is_read_straight_into_its_place() -> None:
    data = os.urandom(3_000_000)
    frames = received(
        wire.frame(FrameKind.FUNCTION, 1, len(data))
        + data
        + wire.frame(FrameKind.FORGET, [1])
        + wire.HEADER.pack(0, 0, 0)[:3]
    )
    assert [f.kind for f in frames] == [FrameKind.FUNCTION, FrameKind.FORGET]
    assert frames[0].data == data


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_garbage_is_peer_broke_or_nothing(garbage: bytes, at: int) -> None:
    stream = bytearray(
        wire.frame(FrameKind.CALLS, [(1, 2, b"abc")]) + wire.frame(FrameKind.STDOUT, None, 3) + b"abc" + garbage
    )
    if at < len(stream):
        stream[at] ^= 0xFF
    with contextlib.suppress(PeerBroke):
        received(bytes(stream))


@pytest.mark.parametrize(
    ("kind", "meta_bytes", "data_bytes"),
    [(0, 0, 0), (99, 0, 0), (FrameKind.CALLS, 1 << 30, 0), (FrameKind.STDOUT, 1, 1 << 60)],
)
def test_a_frame_that_claims_too_much_is_refused_before_it_costs_anything(
    kind: int, meta_bytes: int, data_bytes: int
) -> None:
    with pytest.raises(PeerBroke):
        received(wire.HEADER.pack(kind, meta_bytes, data_bytes) + b"\xc0" * 50)


def test_a_slow_reader_gets_all_in_order() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        outbox = wire.Outbox(here)
        parts = [os.urandom(n) for n in (1, 100_000, 0, 700_000, 3)]
        for part in parts:
            outbox.put(part)
        got = b""
        while not outbox.flush():
            got += there.recv(65536)
        while len(got) < sum(map(len, parts)):
            got += there.recv(65536)
        assert got == b"".join(parts)
        assert outbox.bytes_waiting == 0
