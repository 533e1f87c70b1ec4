"""Two halves of a session without links between them: frames are moved by hand."""

from __future__ import annotations

from tests.fabric.fabrics import Ear
from worldos.fabric import frame
from worldos.fabric.channel import Channel
from worldos.fabric.session import Session
from worldos.model.ids import NodeId

Parsed = tuple[int, int, int, int, int, bytes]


class Side:
    """One half of a session and what it was given."""

    def __init__(self, name: str, my_id: int, *, odd: bool) -> None:
        self.session = Session(NodeId(name), my_id, self, odd=odd)
        self.messages: list[bytes] = []
        self.ears: list[Ear] = []
        self.accept = True

    def session_message(self, message: bytes) -> None:
        self.messages.append(message)

    def session_opened(self, channel: Channel, hello: bytes) -> None:
        ear = Ear()
        ear.channel = channel
        self.ears.append(ear)
        if self.accept:
            channel.accept(ear)

    def session_relay(self, channel: Channel, words: bytes) -> None:
        channel.refuse(f"no relay for {words!r}")

    def session_ready(self) -> None:
        pass

    def take(self, budget: int = 1 << 16) -> list[Parsed]:
        reader, parsed = frame.Reader(), []
        data = b"".join(self.session.take(budget))
        while data:
            room = reader.room()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            reader.wrote(count)
            while (item := reader.next()) is not None:
                parsed.append((*item[:5], bytes(item[5])))
        return parsed

    def receive(self, parsed: Parsed) -> None:
        kind, priority, channel, seq, ack, payload = parsed
        self.session.receive(kind, priority, channel, seq, ack, memoryview(payload))


def pair() -> tuple[Side, Side]:
    a, b = Side("b", 11, odd=True), Side("a", 22, odd=False)
    greet(a, b)
    return a, b


def greet(a: Side, b: Side) -> None:
    """Exchange the Hellos of a new link."""
    hellos = [(side.session.my_id, side.session.peer_id, side.session.received) for side in (a, b)]
    assert a.session.meet(*hellos[1])
    assert b.session.meet(*hellos[0])


def settle(a: Side, b: Side) -> None:
    """Move everything until nothing is left to say."""
    for _ in range(10_000):
        moved = False
        for here, there in ((a, b), (b, a)):
            for parsed in here.take():
                moved = True
                there.receive(parsed)
            if there.session.ack_owed():
                there_ack = there.session.received
                there.session.ack_frame()
                here.receive((frame.ACK, 0, 0, 0, there_ack, b""))
                moved = True
        if not moved:
            return
    raise AssertionError("it never ends")
