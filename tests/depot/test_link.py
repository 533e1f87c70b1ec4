import itertools
import random
import socket
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from worldos.depot import wire
from worldos.depot.limits import PAYLOAD_BYTES_MAX
from worldos.depot.link import StoreLink
from worldos.depot.stream import Inlet, send_all
from worldos.errors import BadRequest, OverQuota, PeerBroke, Unreachable
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

ID = bytes(range(32))
WAIT_S = 10
WHO = wire.Who(node="n", account="a", rights="own")


class Depot:
    """The other end of a link, by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()

    def meet(self) -> None:
        self.sock, _ = self.listener.accept()
        self.inlet = Inlet(self.sock, stall_s=5)

    def hear(self) -> tuple[wire.AnyRequest, bytes]:
        frame = self.inlet.next()
        assert frame is not None
        request = wire.read_request(frame[0])
        payload = memoryview(bytearray(frame[1]))
        self.inlet.payload_into(payload)
        return request, bytes(payload)

    def say(self, reply: wire.AnyReply, payload: bytes = b"") -> None:
        send_all(self.sock, [wire.frame_head(reply, len(payload)), payload])


@pytest.fixture
def depot(tmp_path):
    depot = Depot(tmp_path / "s")
    with depot.listener:
        yield depot


@pytest.fixture
def link(depot):
    with StoreLink.open(depot.path, WHO) as link:
        depot.meet()
        assert depot.hear() == (WHO, b"")
        yield link
    depot.sock.close()


def test_answers_find_their_questions_in_any_order(depot, link):
    futures = [link.have([bytes([number]) * 32]) for number in range(20)]
    heard = [depot.hear()[0] for _ in futures]
    random.Random(1).shuffle(heard)
    for request in heard:
        depot.say(wire.Held(id=request.id, sizes=(request.shares[0][0],)))
    assert [future.result(WAIT_S) for future in futures] == [(number,) for number in range(20)]
    assert link.rtt_us > 0


def test_every_call_says_what_it_means_and_reads_its_answer(depot, link):
    entry = sign_entry(DeviceKey.from_seed(bytes(32)), ID, 1, b"x")
    owned = (wire.Owned(owner="a", kind="share", size_bytes=1, count=1),)
    told = wire.UsageTold(id=0, capacity_bytes=2, free_bytes=1, disk_bytes=3, trash_bytes=4, damaged=5, owned=owned)
    cared, head = (
        wire.Cared(locator=ID, verify=ID, owner="a"),
        wire.LogHead(log=ID, seq=3, whole=3, digest=ID, register=False),
    )
    calls = (
        (link.put_share(ID, b"abc", owner="a", digests=ID), wire.PutShare, wire.Done(id=0, count=1), None),
        (link.drop([ID]), wire.Drop, wire.Done(id=0, count=1), 1),
        (link.restore([ID]), wire.Restore, wire.Done(id=0, count=1), 1),
        (link.append([entry]), wire.Append, wire.Done(id=0, count=1), 1),
        (link.read_log(ID), wire.ReadLog, wire.Entries(id=0, entries=(entry,)), (entry,)),
        (link.last([ID]), wire.Last, wire.Entries(id=0, entries=(entry,)), (entry,)),
        (link.heads(), wire.Heads, wire.HeadList(id=0, heads=(head,)), (head,)),
        (link.care(ID, ID, "a"), wire.Care, wire.Done(id=0), None),
        (link.cares(), wire.Cares, wire.CareList(id=0, cares=(cared,)), (cared,)),
        (link.forget(ID), wire.Forget, wire.Done(id=0), None),
        (link.usage(), wire.Usage, told, told),
    )
    for future, kind, answer, wanted in calls:
        request, payload = depot.hear()
        assert type(request) is kind
        assert payload == (b"abc" if kind is wire.PutShare else b"")
        depot.say(type(answer)(**{**{f: getattr(answer, f) for f in answer.__struct_fields__}, "id": request.id}))
        result = future.result(WAIT_S)
        assert (result.owned if kind is wire.Usage else result) == (owned if kind is wire.Usage else wanted)


def test_a_share_lands_in_the_buffer_of_its_caller(depot, link):
    buffer = memoryview(bytearray(100))
    future = link.get_share(ID, into=buffer, digests=True)
    request, _ = depot.hear()
    assert (request.offset, request.length, request.digests) == (0, -1, True)
    depot.say(wire.Got(id=request.id, digests=ID), b"share")
    fetched = future.result(WAIT_S)
    assert (fetched.digests, bytes(fetched.data), bytes(buffer[:5])) == (ID, b"share", b"share")
    assert fetched.data.obj is buffer.obj


def test_a_share_too_large_for_its_buffer_fails_alone(depot, link):
    future, other = link.get_share(ID, into=memoryview(bytearray(4))), link.have([])
    request, _ = depot.hear()
    depot.say(wire.Got(id=request.id), b"share")
    request, _ = depot.hear()
    depot.say(wire.Held(id=request.id, sizes=()))
    with pytest.raises(BadRequest, match="room for 4"):
        future.result(WAIT_S)
    assert other.result(WAIT_S) == ()


def test_a_cancelled_answer_is_passed_over_and_its_buffer_left_alone(depot, link):
    buffer = memoryview(bytearray(5))
    future, other = link.get_share(ID, into=buffer), link.get_share(ID)
    assert future.cancel()
    for _ in range(2):
        request, _ = depot.hear()
        depot.say(wire.Got(id=request.id), b"share")
    assert bytes(other.result(WAIT_S).data) == b"share"
    assert bytes(buffer) == bytes(5)
    with pytest.raises(CancelledError):
        future.result(0)


def test_a_refusal_is_raised_as_the_error_it_is_and_the_link_lives(depot, link):
    future = link.put_share(ID, b"x", digests=ID)
    request, _ = depot.hear()
    depot.say(wire.refusal(request.id, OverQuota("full", hint="wait")))
    with pytest.raises(OverQuota, match="full") as caught:
        future.result(WAIT_S)
    assert caught.value.hint == "wait"
    assert link.is_open


def test_a_depot_that_does_not_read_holds_nobody_up(depot, link):
    data = bytes(1 << 20)
    futures = [link.put_share(ID, data, digests=ID * 64) for _ in range(20)]  # returns, though nothing is read
    assert link.waiting_bytes > 15 << 20
    for _ in futures:
        request, payload = depot.hear()
        assert payload == data
        depot.say(wire.Done(id=request.id))
    assert [future.result(WAIT_S) for future in futures] == [None] * 20
    until_s = time.monotonic() + WAIT_S
    while link.waiting_bytes and time.monotonic() < until_s:  # the writing thread still counts
        time.sleep(0.001)
    assert link.waiting_bytes == 0


def test_many_threads_may_ask_at_once(depot, link):
    def ask(number: int) -> None:
        data = bytes([number]) * (number * 10_000 + 1)
        results[number] = bytes(link.get_share(ID).result(WAIT_S).data)
        link.put_share(ID, data, digests=ID * (number + 1)).result(WAIT_S)

    results: dict[int, bytes] = {}
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(16):
        request, payload = depot.hear()
        assert len(set(payload)) <= 1  # the frames of two threads were never mixed
        depot.say(wire.Got(id=request.id) if isinstance(request, wire.GetShare) else wire.Done(id=request.id))
    for thread in threads:
        thread.join(WAIT_S)
    assert results == dict.fromkeys(range(8), b"")


def test_a_lost_depot_fails_all_that_is_open_and_all_that_comes(depot, link):
    futures = [link.have([ID]) for _ in range(3)]
    depot.sock.shutdown(socket.SHUT_RDWR)
    for future in futures:
        with pytest.raises(Unreachable):
            future.result(WAIT_S)
    with pytest.raises(Unreachable):
        link.have([ID]).result(WAIT_S)
    assert not link.is_open


def test_a_closed_link_gives_the_buffers_back(depot):
    link = StoreLink.open(depot.path, WHO)
    depot.meet()
    future = link.put_share(ID, bytes(1 << 22), digests=ID * 256)
    link.close()
    with pytest.raises(Unreachable, match="closed"):
        future.result(0)
    assert link.waiting_bytes == 0
    depot.sock.close()


ANSWERS = (
    ("an answer to nothing", wire.frame_head(wire.Done(id=99))),
    ("garbage", wire.HEADER.pack(3, 0) + b"\xc1\xc1\xc1"),
    ("another kind of answer", wire.frame_head(wire.Got(id=1))),
    ("a frame without end", wire.HEADER.pack(2**32 - 1, 0)),
)


@pytest.mark.parametrize("answer", [data for _, data in ANSWERS], ids=[name for name, _ in ANSWERS])
def test_a_depot_that_breaks_the_protocol_is_left(depot, answer):
    with StoreLink.open(depot.path) as link:
        depot.meet()
        future = link.have([ID])
        depot.hear()
        depot.sock.sendall(answer)
        with pytest.raises(PeerBroke):
            future.result(WAIT_S)
        assert not link.is_open
        depot.sock.close()


def test_more_bytes_than_were_asked_for_break_the_protocol(depot, link):
    future = link.get_share(ID, 0, 4)
    request, _ = depot.hear()
    depot.say(wire.Got(id=request.id), b"share")
    with pytest.raises(PeerBroke):
        future.result(WAIT_S)


def test_a_refusal_of_the_whole_connection_is_the_reason_for_all(depot, link):
    future = link.have([ID])
    depot.hear()
    depot.say(wire.refusal(0, OverQuota("too many connections")))
    with pytest.raises(OverQuota, match="too many"):
        future.result(WAIT_S)
    with pytest.raises(OverQuota, match="too many"):
        link.have([ID]).result(WAIT_S)


@pytest.mark.parametrize("data", [b"", bytes(PAYLOAD_BYTES_MAX + 1)], ids=["empty", "too large"])
def test_a_share_that_cannot_be_is_refused_here(depot, link, data):
    with pytest.raises(BadRequest, match="bytes"):
        link.put_share(ID, data)


def test_where_no_depot_is_that_is_said(tmp_path):
    with pytest.raises(Unreachable, match="no depot"):
        StoreLink.open(tmp_path / "nothing")


def test_numbers_are_never_used_twice(depot, link):
    futures = [link.have([]) for _ in range(5)]
    numbers = [depot.hear()[0].id for _ in futures]
    assert all(a < b for a, b in itertools.pairwise(numbers))
