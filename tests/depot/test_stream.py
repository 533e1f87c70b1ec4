import random
import socket
import threading

import pytest

from worldos.depot import wire
from worldos.depot.limits import READ_BYTES
from worldos.depot.stream import Idle, Inlet, send_all, time_limits
from worldos.errors import PeerBroke, Unreachable

ID = bytes(range(32))


@pytest.fixture
def ends():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with near, far:
        yield near, far


def sent(
    sock: socket.socket, frames: list[tuple[wire.AnyRequest, bytes]], pieces: random.Random | None = None
) -> threading.Thread:
    """Write frames from a thread, all at once or in pieces of any size."""
    data = b"".join(wire.frame_head(head, len(payload)) + payload for head, payload in frames)

    def write() -> None:
        begin = 0
        while begin < len(data):
            end = begin + (pieces.randint(1, 30_000) if pieces else len(data))
            sock.sendall(data[begin:end])
            begin = end
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("seed", range(8))
def test_frames_of_all_sizes_are_read_however_they_were_cut(ends, seed):
    dice = random.Random(seed)
    frames = [
        (
            wire.Have(id=number, shares=(ID,) * dice.choice((0, 1, 3, 511, 4000))),
            dice.randbytes(dice.choice((0, 0, 5, 70_000, 1 << 20))),
        )
        for number in range(20)
    ]
    near, far = ends
    thread = sent(near, frames, dice)
    inlet = Inlet(far, stall_s=5)
    for head, payload in frames:
        frame = inlet.next()
        assert frame is not None
        assert wire.read_request(frame[0]) == head
        assert frame[1] == len(payload)
        if dice.random() < 0.8:  # others are passed over
            target = memoryview(bytearray(len(payload)))
            inlet.payload_into(target)
            assert target == payload
    assert inlet.next() is None
    thread.join()


def test_a_frame_that_is_cut_off_is_no_clean_end(ends):
    near, far = ends
    near.sendall(wire.frame_head(wire.Have(id=1, shares=()))[:5])
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(Unreachable, match="middle"):
        Inlet(far, stall_s=5).next()


def test_a_payload_that_is_cut_off_is_told(ends):
    near, far = ends
    near.sendall(wire.frame_head(wire.Have(id=1, shares=()), 100) + b"x" * 40)
    near.shutdown(socket.SHUT_WR)
    inlet = Inlet(far, stall_s=5)
    assert inlet.next() is not None
    with pytest.raises(Unreachable, match="middle"):
        inlet.payload_into(memoryview(bytearray(100)))


def test_between_frames_a_silent_peer_is_idle_and_within_one_it_has_stalled(ends):
    near, far = ends
    time_limits(far, receive_s=0.01, send_s=1)
    inlet = Inlet(far, stall_s=0)
    with pytest.raises(Idle):
        inlet.next()
    near.sendall(b"\1")
    with pytest.raises(Unreachable, match="stopped"):
        inlet.next()


def test_another_length_than_was_told_is_refused(ends):
    near, far = ends
    near.sendall(wire.frame_head(wire.Have(id=1, shares=()), 10) + bytes(10))
    inlet = Inlet(far, stall_s=5)
    inlet.next()
    with pytest.raises(PeerBroke):
        inlet.payload_into(memoryview(bytearray(11)))


def test_more_is_seen_without_being_read(ends):
    near, far = ends
    inlet = Inlet(far, stall_s=5)
    assert not inlet.has_more()
    near.sendall(wire.frame_head(wire.Usage(id=1)))
    assert inlet.has_more()
    assert inlet.next() is not None
    assert not inlet.has_more()
    near.close()
    assert not inlet.has_more()


def test_large_parts_are_sent_whole(ends):
    near, far = ends
    parts = [b"a" * 3, b"", bytearray(b"b" * (1 << 20)), memoryview(b"c" * READ_BYTES)]
    thread = threading.Thread(target=send_all, args=(near, parts))
    thread.start()
    wanted = b"".join(parts)
    got = bytearray()
    while len(got) < len(wanted):
        got += far.recv(100_000)
    thread.join()
    assert got == wanted


def test_who_takes_nothing_is_given_up(ends):
    near, _ = ends
    time_limits(near, receive_s=1, send_s=0.01)
    with pytest.raises(Unreachable, match="no more"):
        send_all(near, [bytes(1 << 22)])


def test_a_closed_peer_is_told_as_such(ends):
    near, far = ends
    far.close()
    with pytest.raises(Unreachable, match="broke"):
        send_all(near, [b"x"])
