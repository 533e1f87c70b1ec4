"""Channels between two halves of a session."""

from __future__ import annotations

import pytest

from tests.fabric.fabrics import Ear
from tests.fabric.halves import pair, settle
from worldos.errors import OverQuota
from worldos.fabric.channel import Ending
from worldos.fabric.limits import CHANNEL_PENDING_BYTES_MAX, CHANNEL_WINDOW_BYTES, DATA_BYTES_MAX


def test_a_sender_stops_at_the_window_and_goes_on_with_credit() -> None:
    a, b = pair()
    ear = Ear()
    channel = a.session.open(b"", 2, ear)
    settle(a, b)
    far = b.ears[0]
    assert far.channel is not None
    far.channel.pause()
    total = CHANNEL_WINDOW_BYTES + 3 * (1 << 20)
    channel.write(bytes(total))
    assert not channel.writable
    settle(a, b)
    assert len(far.data) == CHANNEL_WINDOW_BYTES
    assert channel.pending_bytes == 3 << 20
    far.channel.resume()
    settle(a, b)
    assert len(far.data) == total
    assert ear.writable_calls == 1


def test_bytes_before_the_accept_are_kept() -> None:
    a, b = pair()
    b.accept = False
    channel = a.session.open(b"hello", 1, Ear())
    channel.write(b"early")
    channel.eof()
    settle(a, b)
    far = b.ears[0]
    assert far.channel is not None
    far.channel.accept(far)
    assert (bytes(far.data), far.eof) == (b"early", True)


def test_a_refusal_says_why() -> None:
    a, b = pair()
    b.accept = False
    ear = Ear()
    channel = a.session.open(b"hello", 1, ear)
    settle(a, b)
    assert b.ears[0].channel is not None
    b.ears[0].channel.refuse("no such lease")
    settle(a, b)
    assert ear.ending == (Ending.REFUSED, "no such lease")
    assert channel.closed
    assert not a.session.channels
    assert not b.session.channels


def test_an_abort_drops_what_waits_and_a_close_does_not() -> None:
    a, b = pair()
    first, second = a.session.open(b"1", 1, Ear()), a.session.open(b"2", 1, Ear())
    settle(a, b)
    first.write(b"x" * 1000)
    first.close("done")
    second.write(b"x" * 1000)
    second.abort("changed my mind")
    settle(a, b)
    assert [(len(ear.data), ear.ending) for ear in b.ears] == [
        (1000, (Ending.DONE, "done")),
        (0, (Ending.DONE, "changed my mind")),
    ]


def test_what_was_closed_is_said_even_when_it_is_aborted_afterwards() -> None:
    a, b = pair()
    channel = a.session.open(b"", 1, Ear())
    settle(a, b)
    channel.write(b"x" * 1000)
    channel.close("done")
    channel.abort("now")
    settle(a, b)
    assert b.ears[0].ending == (Ending.DONE, "done")
    assert not a.session.channels
    assert not b.session.channels


def test_both_ends_may_close_at_once() -> None:
    a, b = pair()
    channel = a.session.open(b"", 1, Ear())
    settle(a, b)
    far = b.ears[0].channel
    assert far is not None
    channel.close("mine")
    far.close("yours")
    settle(a, b)
    assert not a.session.channels
    assert not b.session.channels


def test_a_writer_that_never_stops_is_refused() -> None:
    a, _ = pair()
    channel = a.session.open(b"", 1, Ear())
    piece = bytes(1 << 20)
    for _ in range(CHANNEL_PENDING_BYTES_MAX >> 20):
        channel.write(piece)
    with pytest.raises(OverQuota):
        channel.write(b"x")


def test_small_writes_leave_in_one_frame_and_large_ones_in_many() -> None:
    a, b = pair()
    channel = a.session.open(b"", 1, Ear())
    settle(a, b)
    for _ in range(100):
        channel.write(b"0123456789")
    assert [len(parsed[5]) for parsed in a.take()] == [1000]
    channel.write(bytes(3 * DATA_BYTES_MAX + 1))
    assert [len(parsed[5]) for parsed in a.take(1 << 30)] == [DATA_BYTES_MAX] * 3 + [1]


def test_channels_of_one_priority_take_turns() -> None:
    a, b = pair()
    channels = [a.session.open(b"", 2, Ear()) for _ in range(3)]
    settle(a, b)
    for channel in channels:
        channel.write(bytes(2 * DATA_BYTES_MAX))
    assert [parsed[2] for parsed in a.take(1 << 30)] == [1, 3, 5, 1, 3, 5]
