"""What a relay says and does, without links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fabric.fabrics import Ear
from tests.fabric.halves import Side, pair, settle
from worldos.errors import PeerBroke
from worldos.fabric.channel import Channel, Ending
from worldos.fabric.limits import CHANNEL_PENDING_HIGH_BYTES, CHANNEL_WINDOW_BYTES, MS, RELAY_RETRY_NS_MIN
from worldos.fabric.relay import Half, RelaySearch, called_by, reach, read_words, splice
from worldos.model.ids import NodeId


def test_the_words_of_a_relay_are_read_back() -> None:
    assert read_words(reach(NodeId("abc"))) == (False, NodeId("abc"))
    assert read_words(called_by(NodeId("abc"))) == (True, NodeId("abc"))


@given(st.binary(max_size=80))
def test_other_words_break_nothing_but_their_link(words: bytes) -> None:
    try:
        called, node = read_words(words)
    except PeerBroke:
        return
    assert words == (called_by(node) if called else reach(node))


class Three:
    """A caller and a target, and a relay between them with one half of a session to each."""

    def __init__(self) -> None:
        self.caller, self.at_caller = pair()
        self.at_target, self.target = pair()
        self.at_caller.accept = self.target.accept = False
        self.ended = 0
        self.ear = Ear()
        self.channel = self.caller.session.open(b"", 1, self.ear)
        settle(self.caller, self.at_caller)
        splice(self._incoming(self.at_caller), self._open, self._end)

    def settle(self) -> None:
        for _ in range(30):
            settle(self.caller, self.at_caller)
            settle(self.at_target, self.target)

    def far(self) -> Ear:
        return self.target.ears[0]

    def far_channel(self) -> Channel:
        return self._incoming(self.target)

    def _incoming(self, side: Side) -> Channel:
        channel = side.ears[0].channel
        assert channel is not None
        return channel

    def _open(self, half: Half) -> Channel:
        return self.at_target.session.open(b"", 1, half)

    def _end(self) -> None:
        self.ended += 1


def test_bytes_pass_both_ways_once_the_target_has_accepted() -> None:
    three = Three()
    three.channel.write(b"early")
    three.settle()
    assert not three.ear.was_accepted
    three.far_channel().accept(three.far())
    three.far_channel().write(b"answer")
    three.settle()
    assert three.ear.was_accepted
    assert (bytes(three.far().data), bytes(three.ear.data)) == (b"early", b"answer")
    three.channel.eof()
    three.settle()
    assert three.far().eof
    three.channel.close("done")
    three.settle()
    assert three.far().ending == (Ending.DONE, "done")
    assert three.ended


def test_a_refusal_of_the_target_reaches_the_caller() -> None:
    three = Three()
    three.settle()
    three.far_channel().refuse("busy")
    three.settle()
    assert three.ear.ending == (Ending.REFUSED, "busy")


def test_the_loss_of_either_session_ends_both_channels() -> None:
    for lost in ("at_caller", "at_target"):
        three = Three()
        three.settle()
        three.far_channel().accept(three.far())
        three.settle()
        getattr(three, lost).session.end("lost")
        three.settle()
        assert three.ended
        other = three.far() if lost == "at_caller" else three.ear
        assert other.ending is not None


def test_a_slow_target_holds_the_caller_and_the_relay_keeps_little() -> None:
    three = Three()
    three.settle()
    three.far_channel().accept(three.far())
    three.settle()
    three.far_channel().pause()
    total = 12 << 20
    three.channel.write(bytes(total))
    three.settle()
    relay_channel = next(iter(three.at_target.session.channels.values()))
    assert len(three.far().data) == CHANNEL_WINDOW_BYTES
    assert relay_channel.pending_bytes <= CHANNEL_WINDOW_BYTES + CHANNEL_PENDING_HIGH_BYTES
    three.far_channel().resume()
    three.settle()
    assert len(three.far().data) == total


@pytest.mark.parametrize("count", [1, 3, 5])
def test_each_candidate_is_asked_once_before_any_is_asked_again(count: int) -> None:
    search, now_ns, asked = RelaySearch(), 0, []
    candidates = [NodeId(str(number)) for number in range(count)]
    while len(asked) < count:
        picked = search.pick(candidates, now_ns)
        assert 0 < len(picked) <= 3
        asked += picked
        for node in picked:
            search.asked.discard(node)
            search.refused.add(node)
    assert sorted(asked) == sorted(candidates)
    assert search.pick(candidates, now_ns) == []
    assert search.pick(candidates, now_ns + RELAY_RETRY_NS_MIN - MS) == []
    assert search.pick(candidates, now_ns + RELAY_RETRY_NS_MIN) != []
