"""What the fuzzers throw bytes at between processes: messages of nodes and programs, frames, beacons, lanes, charters."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from tests.fabric.fabrics import Ear
from tests.fabric.halves import pair
from tests.fuzz.samples import samples
from tests.fuzz.target import Target, refused
from tests.model.test_wire import EXAMPLES
from worldos.agent.local_api import FromClient
from worldos.fabric import frame, link, relay
from worldos.fabric.beacon import Beacon
from worldos.kernel import charter
from worldos.kernel.work import look, words
from worldos.kernel.work.state import Work
from worldos.lanes import net_wire
from worldos.lanes import wire as lane_wire
from worldos.model import wire
from worldos.model.ids import AccountId, NodeId
from worldos.model.need import Need
from worldos.model.realm import Level, RealmId
from worldos.model.work import (
    Ack,
    Attempt,
    Finished,
    JobSpec,
    Message,
    Outcome,
    Put,
    QueueMade,
    Submit,
    Take,
    WorkCommand,
)
from worldos.trust.keys import DeviceKey, id_of

KEY, OTHER = DeviceKey.from_seed(b"k" * 32), DeviceKey.from_seed(b"o" * 32)
ACCOUNT = AccountId(id_of(b"a" * 32))
WORK = WorkCommand(
    said=(
        QueueMade(queue="q"),
        Put(queue="q", messages=(Message(b"12345678", b"body"),)),
        Submit(job="job-1", spec=JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000)), by=NodeId("a")),
    ),
    wall_ms=1000,
)


def message(data: bytes) -> None:
    """A message of another node: what passes is written again and read as the same."""

    def read() -> None:
        said = wire.decode(data)
        assert wire.decode(wire.encode(said)) == said

    refused(read)


def program(data: bytes) -> None:
    """What a program says to its agent: the door catches what msgspec raises, so nothing else may come."""
    try:
        said = msgspec.msgpack.decode(data, type=FromClient)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    assert msgspec.msgpack.encode(said)


def work(data: bytes) -> None:
    """A command to a site's work, its answers, and what is seen of it; what was applied is read again from a snapshot."""

    def do() -> None:
        command = words.decode_command(data)
        assert words.decode_command(words.encode_command(command)) == command
        state = Work()
        state.apply(WORK)
        assert len(state.apply(command)) == len(command.said)
        assert Work.restore(state.snapshot()).snapshot() == state.snapshot()

    refused(do)
    for read in (words.decode_answers, look.read_jobs, look.read_job, look.read_queues, look.read_queue, Work.restore):
        refused(lambda read=read: read(data))


def frames(data: bytes) -> None:
    """The stream of a link, once it is open."""
    reader = frame.Reader()
    room = reader.room()
    count = min(len(room), len(data))
    room[:count] = data[:count]
    reader.wrote(count)

    def read() -> None:
        while (found := reader.next()) is not None:
            assert len(found[5]) <= len(data)

    refused(read)
    refused(lambda: link.decode_hello(memoryview(data)))
    refused(lambda: relay.read_words(data))


KINDS = sorted(frame.SESSION_KINDS)


def hostile_session(data: bytes) -> None:
    """A guest on an open link: every frame whole and in turn, and each of any kind, about any channel, with any payload."""
    side, _ = pair()
    session = side.session
    channel = session.open(b"hello", 1, Ear())
    channel.write(b"x" * 100)

    def read() -> None:
        at = 0
        while at + 5 <= len(data):
            kind, priority, number, odd, size = data[at : at + 5]
            payload = data[at + 5 : at + 5 + size % 24]
            at += 5 + len(payload)
            seq = session.received + 1 if odd < 0xF0 else odd
            ack = odd % (session.sent + 1) if odd < 0xF8 else odd
            session.receive(KINDS[kind % len(KINDS)], priority % 4, number % 6, seq, ack, memoryview(payload))
            side.take(1000)

    refused(read)
    assert session.inflight_bytes >= 0
    session.end("over")


def beacon(data: bytes) -> None:
    """A datagram on the local network: only a genuine one of a member is news."""
    hearer = Beacon(KEY, ACCOUNT, 1, host="", port=1)
    heard = hearer.hear(data, "10.0.0.1", 1_000_000_000, lambda node: node == OTHER.node_id)
    if heard is not None:
        assert data == BEACON
        assert heard.node == OTHER.node_id


def _beacon() -> bytes:
    teller = Beacon(OTHER, ACCOUNT, 7, host="10.0.0.2", port=4000)
    teller.set_facts(b"facts", 1)
    said = teller.emit(1 << 62)
    assert said is not None
    return said


BEACON = _beacon()


def law(data: bytes) -> None:
    """A command of a council, and the state that it makes: both come from other nodes."""
    refused(lambda: charter.decode_command(data))
    refused(lambda: charter.decode_state(data))


def lane(data: bytes) -> None:
    """A stream of a lane: the bytes are there at once, and then the other end is gone."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data[: 64 * 1024])
        there.close()
        inbox = lane_wire.Inbox(here, takes_fds=False, data_bytes_max=1 << 16)

        def read() -> None:
            while True:
                for found in inbox.receive():
                    assert len(found.data) <= len(data)

        assert refused(read, EOFError)


def net_door(data: bytes) -> None:
    """What is said at the door of private networks, by programs and by lanes; and a network that a helper is told of."""
    for decode in (net_wire.decode_word, net_wire.decode_reply, net_wire.decode_wish, net_wire.decode_begin):

        def read(decode: Callable[[bytes], msgspec.Struct] = decode) -> None:
            said = decode(data)
            assert decode(net_wire.encode(said)) == said

        refused(read)
    if len(data) >= net_wire.LENGTH.size:
        refused(lambda: net_wire.size_of(data[: net_wire.LENGTH.size]))


_LANE = lane_wire.frame(lane_wire.FrameKind.SIGNAL, 9) + lane_wire.frame(lane_wire.FrameKind.RELEASE, [1, 2])

_AFTER = WorkCommand(
    said=(
        Take(queue="q", consumer="cons", request=1),
        Ack(queue="q", consumer="cons", ids=(b"12345678",)),
        Finished(attempt=Attempt("job-1", 0, 1), outcome=Outcome(code=0)),
    ),
    wall_ms=2000,
)
_WORK = (words.encode_command(WORK), words.encode_command(_AFTER))
TARGETS: dict[str, Target] = {
    "message": Target(message, tuple(wire.encode(each) for each in EXAMPLES)),
    "program": Target(program, samples(FromClient)),
    "frames": Target(
        frames, (frame.link_frame(sorted(frame.LINK_KINDS)[0], 0, b"abc"), relay.reach(NodeId(KEY.node_id)))
    ),
    "session": Target(
        hostile_session,
        tuple(bytes([kind, 0, number, 0, 8]) + (5).to_bytes(8, "little") for kind in range(9) for number in range(4)),
        slow=True,
    ),
    "beacon": Target(beacon, (BEACON,)),
    "law": Target(law, (charter.encode_state(charter.Charter(realm=RealmId("r"), name="r", level=Level.GROUP)),)),
    "work": Target(work, (*_WORK, *samples(WorkCommand)), slow=True),  # it is applied, and a snapshot taken
    "net-door": Target(net_door, (*samples(net_wire.Word), *samples(net_wire.Reply), *samples(net_wire.Begin))),
    "lane": Target(lane, (_LANE,), slow=True),
}
