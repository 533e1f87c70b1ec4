"""What is said at the door of networks: it comes back as it was, and garbage is nobody's word."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from worldos.errors import PeerBroke
from worldos.lanes import net_wire
from worldos.lanes.net_wire import Admit, Begin, Call, Enter, Joined, Mate, Met, Shut, Through, Wait, WaitForMates
from worldos.model.ids import LeaseId, NodeId

KEY = b"k" * 32
NET = b"n" * 16
MATE = Mate(node=NodeId("node"), lease=LeaseId("lease"), name="desk")
LEASE = LeaseId("mine")
BEGIN = Begin(net=NET, prefix=bytes((10, 7, 9)), members=(MATE, MATE), me=1)


@pytest.mark.parametrize(
    "word",
    [
        Wait(lease=LEASE, key=KEY),
        WaitForMates(lease=LEASE, key=KEY, net=NET, mates=(MATE,)),
        Call(lease=LEASE, key=KEY, net=NET, mate=MATE),
        Enter(lease=LEASE, key=KEY),
    ],
)
def test_a_word_is_read_as_it_was_written(word: net_wire.Word) -> None:
    assert net_wire.decode_word(net_wire.framed(word)[4:]) == word


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"x" * 500, net_wire.encode(Joined())])
def test_garbage_is_no_word_no_answer_and_no_net(data: bytes) -> None:
    for decode in (net_wire.decode_word, net_wire.decode_wish, net_wire.decode_begin):
        with pytest.raises(PeerBroke):
            decode(data)
    with pytest.raises(PeerBroke):
        net_wire.decode_reply(data[:-1])


def test_addresses_follow_the_order_of_members() -> None:
    told = net_wire.decode_begin(net_wire.encode(BEGIN))
    assert [told.address(member) for member in range(2)] == ["10.7.9.1", "10.7.9.2"]


@pytest.mark.parametrize("begin", [{"me": 2}, {"prefix": bytes((8, 8, 8))}])
def test_who_is_no_member_and_addresses_of_others_are_no_net(begin: dict[str, object]) -> None:
    wrong = Begin(**{"net": NET, "prefix": bytes((10, 7, 9)), "members": (MATE,), "me": 0, **begin})  # type: ignore[arg-type]
    with pytest.raises(PeerBroke):
        net_wire.decode_begin(net_wire.encode(wrong))


@pytest.mark.parametrize("size", [0, net_wire.MESSAGE_BYTES_MAX + 1, 2**32 - 1])
def test_a_message_has_a_length_within_its_bound(size: int) -> None:
    with pytest.raises(PeerBroke, match=str(size)):
        net_wire.size_of(net_wire.LENGTH.pack(size))


def test_an_answer_in_pieces_is_read_whole_and_nothing_after_it() -> None:
    one, other = socket.socketpair()
    with one, other:
        whole = net_wire.framed(Met(node=NodeId("n"), lease=LeaseId("l"))) + b"after"
        sender = threading.Thread(target=lambda: [one.send(whole[at : at + 1]) for at in range(len(whole))])
        sender.start()
        body, fd = net_wire.receive(other)
        sender.join()
        assert (net_wire.decode_reply(body), fd) == (Met(node=NodeId("n"), lease=LeaseId("l")), -1)
        assert other.recv(100).startswith(b"a")


def test_the_end_in_the_middle_is_the_end() -> None:
    one, other = socket.socketpair()
    with other:
        one.send(net_wire.framed(Shut(why="no"))[:-1])
        one.close()
        with pytest.raises(EOFError):
            net_wire.receive(other)


def test_a_stream_that_comes_with_the_answer_is_taken_instead(tmp_path: Path) -> None:
    door = str(tmp_path / "door")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen()

    def serve() -> None:
        sock, _ = listener.accept()
        body, _fd = net_wire.receive(sock)
        assert net_wire.decode_word(body) == Enter(lease=LEASE, key=KEY)
        ours, theirs = socket.socketpair()
        socket.send_fds(sock, [net_wire.framed(Joined())], [theirs.fileno()])
        for each in (sock, theirs):
            each.close()
        ours.sendall(os.path.basename(door).encode())
        ours.close()

    server = threading.Thread(target=serve)
    server.start()
    sock, reply = net_wire.ask(door, Enter(lease=LEASE, key=KEY), 5)
    with sock:
        assert reply == Joined()
        assert sock.recv(100) == b"door"
    server.join()
    listener.close()


@pytest.mark.parametrize("wish", [Through(port=80), Admit(members=(MATE, replace(MATE, left=True)))])
def test_a_wish_of_the_holder_is_read_as_it_was_written(wish: net_wire.Wish) -> None:
    assert net_wire.decode_wish(net_wire.encode(wish)) == wish


@pytest.mark.parametrize("wish", [Through(port=70000), Admit(members=()), Admit(members=(MATE,) * 251)])
def test_a_port_is_one_of_tcp_and_a_network_has_its_size(wish: net_wire.Wish) -> None:
    with pytest.raises(PeerBroke):
        net_wire.decode_wish(net_wire.encode(wish))
