"""Large arguments are kept as they were at submit, for as long as anybody needs them."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from worldos.errors import BadRequest, PeerBroke
from worldos.lanes import stowage
from worldos.lanes.link import Door, Link
from worldos.lanes.stowage import Stowage


@pytest.fixture
def link() -> Link:
    here, there = socket.socketpair()
    there.close()
    return Link(here, Door(path=""))


def held(link: Link, number: int) -> None:
    link.held[number] = link.held.get(number, 0) + 1


def test_an_argument_is_copied_at_submit() -> None:
    kept = Stowage(threading.RLock())
    data = bytearray(os.urandom(300_000))
    before = bytes(data)
    for share in (True, False):
        (part,) = kept.stow([memoryview(data)], [], share=share)
        data[:5] = b"later"
        assert part.bytes == before
        assert (part.segment is not None) == share
        data[:] = before
    kept.close()


def test_what_cannot_change_is_not_copied() -> None:
    data = os.urandom(100_000)
    (part,) = Stowage(threading.RLock()).stow([memoryview(data)], [], share=False)
    assert part.bytes.obj is data


def test_a_segment_is_free_when_its_call_its_workers_and_its_results_are_done(link: Link) -> None:
    kept = Stowage(threading.RLock())
    (part,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    segment = part.segment
    assert segment is not None
    segment.uses += 1
    held(link, segment.number)
    result = kept.result(link, segment.number, 10, 100)
    kept.release([part])
    kept.released(link, [segment.number, segment.number, 77])
    (other,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    assert other.segment is not segment, "the result is still looked at"
    del result
    assert kept.untidy
    assert kept.tidy() == []
    (again,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    assert again.segment is segment
    kept.close()


def test_a_worker_that_hangs_up_gives_back_what_it_had(link: Link) -> None:
    kept = Stowage(threading.RLock())
    (part,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    assert part.segment is not None
    part.segment.uses += 2
    held(link, part.segment.number)
    held(link, part.segment.number)
    kept.release([part])
    kept.hung_up(link)
    (again,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    assert again.segment is part.segment
    kept.close()


def test_a_result_in_a_segment_that_the_worker_does_not_have_is_refused(link: Link) -> None:
    kept = Stowage(threading.RLock())
    (part,) = kept.stow([memoryview(bytes(300_000))], [], share=True)
    assert part.segment is not None
    for place in ((part.segment.number, 0, 10), (99, 0, 10)):
        with pytest.raises(PeerBroke):
            kept.result(link, *place)
    held(link, part.segment.number)
    for place in ((part.segment.number, -1, 10), (part.segment.number, 0, 10**9)):
        with pytest.raises(PeerBroke):
            kept.result(link, *place)
    kept.close()


def test_too_large_is_said_before_anything_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    stowage.check_size(5_000, [0, 100])
    stowage.check_size(5_000, [])
    with pytest.raises(BadRequest, match="memory leased"):
        stowage.check_size(5_000_000_000, [1_000_000_000, 2_000_000_000])
    monkeypatch.setattr(stowage, "memory_free_bytes", lambda: 1_000_000_000)
    with pytest.raises(BadRequest, match="memory free"):
        stowage.check_size(5_000_000_000, [])
    assert stowage.memory_free_bytes() > 0
