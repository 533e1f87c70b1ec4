"""Links over carriers in memory."""

from __future__ import annotations

import random

import pytest

from tests.fabric.fabrics import device
from tests.fabric.test_tls import credentials
from worldos.errors import NotAllowed, PeerBroke
from worldos.fabric import frame
from worldos.fabric.limits import MS, SECOND
from worldos.fabric.link import Hello, Link, LinkOwner, Sink, State, decode_hello
from worldos.fabric.tls import TlsPipe
from worldos.trust.certs import node_of_certificate


class Wire:
    """A carrier that keeps what is written until it is moved by hand."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class End:
    """Door and owner of one link."""

    def __init__(self, number: int, *members: int, dialed: bool) -> None:
        self.key = device(number)
        self.members = {device(member).node_id for member in members}
        self.wire = Wire()
        pipe = TlsPipe(credentials(self.key, *(device(other) for other in (1, 2, 3))), dialed=dialed)
        self.link = Link(self, pipe, self.wire, dialed=dialed)
        self.said: list[object] = []
        self.frames: list[tuple[int, int, int, int, int, bytes]] = []

    def link_proved(self, link: Link, leaf_der: bytes) -> LinkOwner:
        node = node_of_certificate(leaf_der)
        if node not in self.members:
            raise NotAllowed("no member")
        self.said.append(("proved", node))
        return self

    def link_refused(self, link: Link, reason: str) -> None:
        self.said.append("refused")

    def link_hello(self, link: Link) -> Hello:
        return Hello(boot=self.key.public[0], session=5, known=0, received=0, port=77)

    def link_greeted(self, link: Link, hello: Hello) -> Sink:
        self.said.append(hello)
        return self.take

    def take(self, kind: int, priority: int, channel: int, seq: int, ack: int, payload: memoryview) -> None:
        self.frames.append((kind, priority, channel, seq, ack, bytes(payload)))

    def link_fed(self, link: Link) -> None:
        pass

    def link_state(self) -> tuple[int, int]:
        return 7, 9

    def link_measured(self, link: Link, asked_ns: int, sent: int) -> None:
        self.said.append(("measured", asked_ns, sent))

    def link_writable(self, link: Link) -> None:
        self.said.append("writable")

    def link_closed(self, link: Link, reason: str) -> None:
        self.said.append(("closed", reason))


def talk(a: End, b: End, now_ns: int = SECOND, piece: int = 1 << 20) -> None:
    """Move bytes until both are silent."""
    while a.wire.written or b.wire.written:
        for here, there in ((a, b), (b, a)):
            data, here.wire.written = bytes(here.wire.written), bytearray()
            for start in range(0, len(data), piece):
                there.link.feed(data[start : start + piece], now_ns)


def linked(piece: int = 1 << 20) -> tuple[End, End]:
    a, b = End(1, 2, dialed=True), End(2, 1, dialed=False)
    a.link.start(0)
    b.link.start(0)
    talk(a, b, piece=piece)
    return a, b


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_two_members_come_up_however_the_bytes_are_cut(piece: int) -> None:
    a, b = linked(piece)
    assert a.link.state is b.link.state is State.UP
    assert a.said == [("proved", b.key.node_id), Hello(b.key.public[0], 5, 0, 0, 77)]
    assert b.said == [("proved", a.key.node_id), Hello(a.key.public[0], 5, 0, 0, 77)]


def test_frames_pass_both_ways_and_the_round_trip_is_measured() -> None:
    a, b = linked()
    a.link.write([frame.HEADER.pack(3, frame.MESSAGE, 2, 0, 1, 0), b"abc"], SECOND)
    a.link.ping(SECOND)
    talk(a, b, SECOND + 2 * MS)
    assert b.frames[0] == (frame.MESSAGE, 2, 0, 1, 0, b"abc")
    assert b.frames[1][:5] == a.frames[0][:5] == (frame.ACK, 0, 0, 0, 9)
    assert a.link.rtt_us == 2000
    assert a.said[-1] == ("measured", SECOND, 7)


def test_silence_counts_from_the_first_question_and_ends_with_any_answer() -> None:
    a, b = linked()
    a.link.ping(2 * SECOND)
    a.link.ping(3 * SECOND)
    assert a.link.silent_ns(4 * SECOND) == 2 * SECOND
    a.link.forgive(SECOND)
    assert a.link.silent_ns(4 * SECOND) == SECOND
    talk(a, b, 4 * SECOND)
    assert a.link.silent_ns(9 * SECOND) == 0


def test_one_who_is_no_member_any_more_proves_itself_in_vain() -> None:
    a, b = End(1, 2, dialed=True), End(2, dialed=False)
    a.link.start(0)
    talk(a, b)
    assert b.link.state is State.CLOSED
    assert b.said == ["refused"]
    assert a.link.state is not State.UP


def test_a_good_bye_is_heard() -> None:
    a, b = linked()
    a.link.close("enough")
    talk(a, b)
    assert a.said[-1] == ("closed", "enough")
    assert b.said[-1] == ("closed", "closed by the far end")
    assert a.wire.closed
    assert b.wire.closed


@pytest.mark.parametrize(
    "words",
    [
        frame.HEADER.pack(0, frame.MESSAGE, 0, 0, 1, 0),
        frame.link_frame(frame.PING, 0, bytes(8)),
        frame.link_frame(frame.HELLO, 0, b"short"),
        frame.link_frame(frame.HELLO, 0, b"\x09" + bytes(60)),
        random.Random(5).randbytes(100_000),
    ],
)
def test_a_member_that_does_not_greet_first_is_closed(words: bytes) -> None:
    pipe = TlsPipe(credentials(device(1), device(1), device(2)), dialed=True)
    b = End(2, 1, dialed=False)
    while not pipe.handshake():
        b.link.feed(pipe.take(), 0)
        pipe.feed(bytes(b.wire.written))
        b.wire.written.clear()
    pipe.write(words)
    b.link.feed(pipe.take(), 0)
    assert b.link.state is State.CLOSED
    assert b.frames == []
    assert not any(isinstance(one, Hello) for one in b.said)


def test_a_second_hello_and_a_pong_that_answers_nothing_break_the_link() -> None:
    for words in (
        frame.link_frame(frame.HELLO, 0, bytes(60)),
        frame.link_frame(frame.PONG, 0, b"x"),
        frame.link_frame(frame.PONG, 0, b"\xff" * 16),
    ):
        a, b = linked()
        a.link.tell(words)
        talk(a, b)
        assert b.link.state is State.CLOSED


def test_random_bytes_at_the_door_are_closed_without_an_answer_worth_the_name() -> None:
    b = End(2, 1, dialed=False)
    b.link.feed(random.Random(1).randbytes(1 << 20), 0)
    assert b.link.state is State.CLOSED
    assert len(b.wire.written) <= 7  # one TLS alert
    b.link.feed(b"more", 0)
    assert b.said == ["refused"]


def test_a_hello_is_read_back_and_may_grow() -> None:
    hello = Hello(boot=1, session=2**64 - 1, known=3, received=4, port=65535)
    assert decode_hello(memoryview(hello.encode())) == hello
    assert decode_hello(memoryview(hello.encode() + b"more")) == hello
    with pytest.raises(PeerBroke):
        decode_hello(memoryview(hello.encode()[:-1]))
