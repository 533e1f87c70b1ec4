"""Sessions over links that break, switch, lose and repeat."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fabric.fabrics import Ear
from tests.fabric.halves import Parsed, Side, greet, pair, settle
from worldos.errors import BadRequest, PeerBroke
from worldos.fabric import frame
from worldos.fabric.channel import Ending
from worldos.fabric.limits import (
    ACK_EVERY_FRAMES,
    CHANNEL_WINDOW_BYTES,
    FRAME_PAYLOAD_BYTES_MAX,
    INFLIGHT_BYTES_MAX,
    QUEUE_MESSAGES_MAX,
)
from worldos.fabric.session import Session
from worldos.model.ids import NodeId


class AnyLinks(RuleBasedStateMachine):
    """Whatever happens to links and frames, each message and each byte comes once and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = pair()
        self.sent: tuple[list[list[bytes]], list[list[bytes]]] = ([[], [], [], []], [[], [], [], []])
        self.written = (bytearray(), bytearray())
        self.channels = [side.session.open(b"", 2, Ear()) for side in self.sides]
        self.wires: list[tuple[deque[Parsed], deque[Parsed]]] = [(deque(), deque())]
        self.past: list[tuple[int, Parsed]] = []
        self.active = [0, 0]
        self.count = 0

    @rule(who=st.integers(0, 1), priority=st.integers(0, 3), size=st.integers(0, 300), pressing=st.booleans())
    def send(self, who: int, priority: int, size: int, *, pressing: bool) -> None:
        self.count += 1
        message = b"%d/%d/" % (priority, self.count) + bytes(size)
        assert self.sides[who].session.send(message, priority, pressing=pressing)
        self.sent[who][priority].append(message)

    @rule(who=st.integers(0, 1), data=st.binary(min_size=1, max_size=200))
    def write(self, who: int, data: bytes) -> None:
        self.channels[who].write(data)
        self.written[who].extend(data)

    @rule(who=st.integers(0, 1), budget=st.integers(1, 2000))
    def flush(self, who: int, budget: int) -> None:
        self.wires[self.active[who]][who].extend(self.sides[who].take(budget))

    @rule(who=st.integers(0, 1), wire=st.integers(0, 100), count=st.integers(1, 20))
    def deliver(self, who: int, wire: int, count: int) -> None:
        queue = self.wires[wire % len(self.wires)][who]
        for _ in range(min(count, len(queue))):
            parsed = queue.popleft()
            self.past.append((who, parsed))
            self.sides[1 - who].receive(parsed)

    @rule(who=st.integers(0, 1), wire=st.integers(0, 100))
    def lose_one(self, who: int, wire: int) -> None:
        queue = self.wires[wire % len(self.wires)][who]
        if queue:
            queue.popleft()

    @rule(which=st.integers(0, 10_000))
    def repeat_one(self, which: int) -> None:
        if self.past:
            who, parsed = self.past[which % len(self.past)]
            self.sides[1 - who].receive(parsed)

    @rule(who=st.integers(0, 1))
    def acknowledge(self, who: int) -> None:
        session = self.sides[who].session
        ack = session.received
        session.ack_frame()
        self.wires[self.active[who]][who].append((frame.ACK, 0, 0, 0, ack, b""))

    @rule(who=st.integers(0, 1), wire=st.integers(0, 100))
    def switch(self, who: int, wire: int) -> None:
        self.active[who] = wire % len(self.wires)
        self.sides[who].session.rewind()

    @precondition(lambda self: len(self.wires) < 4)
    @rule()
    def another_link(self) -> None:
        greet(*self.sides)
        self.wires.append((deque(), deque()))

    @rule(wire=st.integers(0, 100))
    def cut(self, wire: int) -> None:
        for queue in self.wires[wire % len(self.wires)]:
            queue.clear()

    @invariant()
    def nothing_came_twice_or_out_of_order(self) -> None:
        for who, side in enumerate(self.sides):
            for priority in range(4):
                came = [message for message in side.messages if message.startswith(b"%d/" % priority)]
                assert came == self.sent[1 - who][priority][: len(came)]
            for ear in side.ears:
                assert self.written[1 - who].startswith(ear.data)

    def teardown(self) -> None:
        """Heal: a fresh link and time; then all must have come."""
        greet(*self.sides)
        for side in self.sides:
            side.session.rewind()
        settle(*self.sides)
        for who, side in enumerate(self.sides):
            assert sorted(side.messages) == sorted(message for queue in self.sent[1 - who] for message in queue)
            assert [bytes(ear.data) for ear in side.ears] == [bytes(self.written[1 - who])]
            assert side.session.inflight_bytes == 0
        self.nothing_came_twice_or_out_of_order()


AnyLinks.TestCase.settings = settings(
    max_examples=40, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyLinks = AnyLinks.TestCase


def test_control_overtakes_bulk_that_waits() -> None:
    a, b = pair()
    for number in range(10):
        a.session.send(b"bulk %d" % number, 3)
    a.session.send(b"now", 0)
    settle(a, b)
    assert b.messages[0] == b"now"
    assert b.messages[1:] == [b"bulk %d" % number for number in range(10)]


def test_a_peer_that_restarted_makes_this_half_void_and_a_new_one_with_the_same_name_is_met() -> None:
    a, _ = pair()
    a.session.send(b"lost?", 1)
    ear = Ear()
    a.session.open(b"", 1, ear)
    reborn = Side("a", 33, odd=False)
    hello_of_a = (a.session.my_id, a.session.peer_id, a.session.received)
    assert not a.session.meet(33, 0, 0)
    assert a.session.end("restarted") == [b"lost?"]
    assert ear.ending == (Ending.BROKEN, "restarted")
    a.session = Session(NodeId("b"), 11, a, odd=True)
    assert a.session.meet(33, 0, 0)
    assert reborn.session.meet(*hello_of_a)  # written before a knew of the new life
    a.session.send(b"again", 1)
    settle(a, reborn)
    assert reborn.messages == [b"again"]


def test_no_more_is_in_flight_than_its_bound_but_control_goes_on() -> None:
    a, _ = pair()
    channel = [a.session.open(b"", 2, Ear()) for _ in range(4)]
    for one in channel:
        one.write(bytes(CHANNEL_WINDOW_BYTES))
    taken = sum(len(parsed[5]) for parsed in a.take(1 << 30))
    assert INFLIGHT_BYTES_MAX <= taken + 1000 * frame.HEADER_BYTES <= INFLIGHT_BYTES_MAX + 2 * FRAME_PAYLOAD_BYTES_MAX
    a.session.send(b"control", 0)
    assert [parsed[5] for parsed in a.take(1 << 30)] == [b"control"]


def test_a_full_queue_refuses_and_a_large_message_is_a_mistake() -> None:
    side = Side("b", 1, odd=True)
    with pytest.raises(BadRequest):
        side.session.send(bytes(FRAME_PAYLOAD_BYTES_MAX + 1), 1)
    accepted = sum(side.session.send(b"", 1) for _ in range(QUEUE_MESSAGES_MAX + 5))
    assert accepted == QUEUE_MESSAGES_MAX


@pytest.mark.parametrize(
    "frames",
    [
        [(frame.ACK, 0, 0, 0, 5, b"")],  # acknowledges what was never sent
        [(frame.OPEN, 1, 1, 1, 0, b"")],  # a number of ours
        [(frame.OPEN, 1, 2, 1, 0, b""), (frame.OPEN, 1, 2, 2, 0, b"")],  # twice
        [(frame.OPEN, 1, 2, 1, 0, bytes(70_000))],
        [(frame.OPEN, 1, 2, 1, 0, b""), (frame.ACCEPT, 1, 2, 2, 0, b"")],  # accepts its own
        [(frame.OPEN, 1, 2, 1, 0, b""), (frame.CREDIT, 1, 2, 2, 0, b"\xff" * 8)],
        [(frame.OPEN, 1, 2, 1, 0, b""), (frame.CREDIT, 1, 2, 2, 0, b"")],
        [(frame.OPEN, 1, 2, 1, 0, b""), (frame.EOF, 1, 2, 2, 0, b""), (frame.DATA, 1, 2, 3, 0, b"x")],
        [(frame.OPEN, 1, 2, 1, 0, b""), *((frame.DATA, 1, 2, 2 + n, 0, bytes(1 << 20)) for n in range(5))],
    ],
)
def test_a_peer_that_breaks_the_rules_is_told_so(frames: list[Parsed]) -> None:
    side = Side("b", 1, odd=True)
    side.accept = False  # nothing is consumed
    for parsed in frames[:-1]:
        side.receive(parsed)
    with pytest.raises(PeerBroke):
        side.receive(frames[-1])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(frame.SESSION_KINDS)), st.integers(0, 3), st.integers(0, 6), st.binary(max_size=12)
        ),
        max_size=30,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_frames_in_any_order_give_nothing_worse_than_peer_broke(
    frames: list[tuple[int, int, int, bytes]],
) -> None:
    side = Side("b", 1, odd=True)
    side.session.open(b"", 1, Ear())
    side.session.take(1 << 16)
    try:
        for seq, (kind, priority, channel, payload) in enumerate(frames, 1):
            side.receive((kind, priority, channel, seq, 0, payload))
    except PeerBroke:
        return


def test_an_answer_that_nobody_waits_for_is_acknowledged_with_the_next_thing_that_is_said() -> None:
    a, b = pair()
    a.session.send(b"asked", 0)
    (asked,) = a.take()
    b.receive(asked)
    assert b.session.ack_owed(), "who asked waits for it"
    b.session.send(b"answer", 0, pressing=False)
    (answer,) = b.take()
    assert not b.session.waits
    a.receive(answer)
    assert a.messages == [b"answer"]
    assert not a.session.ack_owed(), "it wakes nobody"
    assert not a.session.waits, "and the question was acknowledged by it"
    a.session.send(b"next", 0)
    (after,) = a.take()
    b.receive(after)
    assert b.session.acked == b.session.sent


def test_answers_that_nobody_waits_for_are_acknowledged_before_there_are_many() -> None:
    a, b = pair()
    for number in range(ACK_EVERY_FRAMES):
        assert not b.session.ack_owed()
        a.session.send(b"%d" % number, 0, pressing=False)
        for parsed in a.take():
            b.receive(parsed)
    assert b.session.ack_owed()
    assert b.session.ack_urgent()


def test_what_nobody_waited_for_is_not_among_what_was_lost() -> None:
    a, _ = pair()
    a.session.send(b"asked", 0)
    a.session.send(b"answer", 0, pressing=False)
    a.take()
    a.session.send(b"later", 0, pressing=False)
    assert a.session.end("over") == [b"asked"]
