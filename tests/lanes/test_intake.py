"""What comes from a worker is results, memory, or other words; what is none of these is PeerBroke."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator

import pytest

from worldos.errors import PeerBroke
from worldos.lanes import wire
from worldos.lanes.intake import Intake
from worldos.lanes.link import Door, Link
from worldos.lanes.stowage import Stowage
from worldos.lanes.wire import Frame, FrameKind, Status


@pytest.fixture
def link() -> Iterator[Link]:
    here, there = socket.socketpair()
    made = Link(here, Door(path=""))
    yield made
    made.close()
    there.close()


@pytest.fixture
def intake() -> Intake:
    return Intake(Stowage(threading.RLock()), {})


def result(places: list[wire.Where], data: bytes) -> Frame:
    meta = wire.Result(busy_ns=5, call=7, status=Status.RETURNED, places=places)
    return Frame(FrameKind.RESULT, meta, bytearray(data))


def test_small_results_come_many_at_a_time(intake: Intake, link: Link) -> None:
    results = [(n, int(Status.RETURNED), pickle.dumps(n * n)) for n in range(3)]
    other = Frame(FrameKind.REVOKED, [9], bytearray())
    outcomes, busy_ns, others = intake.sort(link, [Frame(FrameKind.RESULTS, (50, results), bytearray()), other])
    assert outcomes == [(0, 0, None), (1, 1, None), (2, 4, None)]
    assert (busy_ns, others) == (50, [other])


def test_a_large_result_lies_in_its_frame(intake: Intake, link: Link) -> None:
    data = pickle.dumps("x" * 100)
    outcomes, busy_ns, _others = intake.sort(link, [result([(0, 0, len(data))], data)])
    assert outcomes == [(7, "x" * 100, None)]
    assert busy_ns == 5


@pytest.mark.parametrize(
    "bad",
    [
        result([], b""),
        result([(0, 0, 100)], b"short"),
        result([(0, 0, -1)], b"short"),
        result([(3, 0, 10)], b""),
        result([(-3, 0, 10)], b""),
        Frame(FrameKind.SEGMENT, (1, 4096), bytearray()),
    ],
)
def test_places_that_do_not_exist_are_refused(intake: Intake, link: Link, bad: Frame) -> None:
    with pytest.raises(PeerBroke):
        intake.sort(link, [bad])
