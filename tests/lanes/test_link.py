"""A holder's connection: what is queued comes out as frames, in order, functions before the calls that need them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from test_future import Slow

from worldos.lanes import wire
from worldos.lanes.future import LaneFuture, Part
from worldos.lanes.link import BATCH_CALLS, Door, Link, Place
from worldos.lanes.pack import Function
from worldos.lanes.wire import Frame, FrameKind

DOUBLE = Function(5, b"", b"the pickle of double", "double")


@pytest.fixture
def ends() -> Iterator[tuple[Link, wire.Inbox]]:
    here, there = socket.socketpair()
    link = Link(here, Door(path="", local=False))
    yield link, wire.Inbox(there, takes_fds=False, data_bytes_max=1 << 40)
    link.close()
    there.close()


def call(number: int, data: bytes = b"args") -> LaneFuture:
    future = LaneFuture(Slow(), number, DOUBLE, 3)
    future.data = data
    return future


def came(ends: tuple[Link, wire.Inbox], count: int) -> list[Frame]:
    link, inbox = ends
    assert link.flush()
    frames: list[Frame] = []
    while len(frames) < count:
        frames.extend(inbox.receive())
    return frames


def test_a_function_travels_once_and_small_calls_together(ends: tuple[Link, wire.Inbox]) -> None:
    link = ends[0]
    assert not link.put_call(call(1))
    assert not link.put_call(call(2))
    frames = came(ends, 2)
    assert [(f.kind, f.meta) for f in frames] == [
        (FrameKind.FUNCTION, 5),
        (FrameKind.CALLS, [(1, 5, b"args"), (2, 5, b"args")]),
    ]
    assert frames[0].data == b"the pickle of double"
    link.put_call(call(3))
    assert [f.kind for f in came(ends, 1)] == [FrameKind.CALLS]


def test_a_batch_is_full_at_its_bound(ends: tuple[Link, wire.Inbox]) -> None:
    assert [ends[0].put_call(call(n)) for n in range(BATCH_CALLS)] == [False] * (BATCH_CALLS - 1) + [True]


def test_a_large_call_to_another_machine_carries_its_bytes(ends: tuple[Link, wire.Inbox]) -> None:
    future = call(1)
    future.parts = [Part(memoryview(b"pickle"), None), Part(memoryview(b"buffer"), None)]
    assert ends[0].put_call(future)
    _function, large = came(ends, 2)
    assert large.meta == wire.Call(call=1, function=5, places=[(0, 0, 6), (0, 0, 6)])
    assert large.data == b"picklebuffer"


def test_other_words_keep_their_place_among_calls(ends: tuple[Link, wire.Inbox]) -> None:
    link = ends[0]
    link.put_call(call(1))
    link.put(FrameKind.REVOKE, [1])
    link.put_call(call(2))
    kinds = [frame.kind for frame in came(ends, 4)]
    assert kinds == [FrameKind.FUNCTION, FrameKind.CALLS, FrameKind.REVOKE, FrameKind.CALLS]


def test_a_door_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        Place(Door(path="/nowhere/0.door")).knock()
