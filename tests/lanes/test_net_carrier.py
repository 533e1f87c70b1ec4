"""The carrier: packets reach the member they are for, whole and in order, and nobody speaks for another.

In place of a TUN device each carrier has an end of a packet socket: one packet a read and a write, as the device gives them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from worldos.errors import PeerBroke
from worldos.lanes import net_carrier, net_wire
from worldos.lanes.net_carrier import Carrier
from worldos.lanes.net_wire import Admit, Begin, Call, Joined, Mate, Met, WaitForMates
from worldos.model.ids import LeaseId, NodeId

KEY = b"k" * 32
NET = b"n" * 16
PREFIX = bytes((10, 1, 2))


def packet(source: int, target: int, body: bytes, prefix: bytes = PREFIX) -> bytes:
    """An IPv4 packet between members, by their numbers; a checksum is the kernel's matter."""
    size = 20 + len(body)
    head = bytes((0x45, 0, size >> 8, size & 255, 0, 0, 0, 0, 64, 17, 0, 0))
    return head + bytes((*PREFIX, source + 1, *prefix, target + 1)) + body


class Door:
    """A door where members meet. It keeps what it was given, so that a test can cut it or speak on it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.waiting: list[tuple[WaitForMates, socket.socket]] = []
        self.calls: list[tuple[Call, socket.socket]] = []
        self.streams: list[socket.socket] = []
        self.met = 0
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                with contextlib.suppress(EOFError, PeerBroke):
                    word = net_wire.decode_word(net_wire.receive(sock)[0])
                    assert isinstance(word, WaitForMates | Call)
                    with self.changed:
                        if isinstance(word, Call):
                            self.calls.append((word, sock))
                        else:
                            self.waiting.append((word, sock))
                        self._join()
                        self.changed.notify_all()

    def _join(self) -> None:
        for call in list(self.calls):
            word, caller = call
            for place in self.waiting:
                if place[0].lease == word.mate.lease:
                    one, other = socket.socketpair()
                    met = Met(node=NodeId(word.lease), lease=word.lease)
                    socket.send_fds(place[1], [net_wire.framed(met)], [one.fileno()])
                    socket.send_fds(caller, [net_wire.framed(Joined())], [other.fileno()])
                    for each in (place[1], caller):
                        each.close()
                    self.streams += [one, other]
                    self.waiting.remove(place)
                    self.calls.remove(call)
                    self.met += 1
                    break

    def until(self, condition: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: eval(condition, {"door": self}), 30), condition

    def cut(self) -> None:
        """Break every stream."""
        with self.changed:
            for stream in self.streams:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
                stream.close()
            self.streams.clear()

    def close(self) -> None:
        self.cut()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(15)
        for _, sock in (*self.waiting, *self.calls):
            sock.close()


def mates(count: int) -> tuple[Mate, ...]:
    return tuple(Mate(node=NodeId(f"l{i}"), lease=LeaseId(f"l{i}")) for i in range(count))


class Member:
    """A carrier in a thread, and the program's side of its device."""

    def __init__(self, door: Door, me: int, count: int) -> None:
        self.program, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self.program, device):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.program.settimeout(30)
        device.setblocking(False)
        self.device = device
        self.lifeline, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        begin = Begin(net=NET, prefix=PREFIX, members=mates(count), me=me)
        self.carrier = Carrier(begin, door.path, KEY, device.fileno())
        self.its = its
        self.thread = threading.Thread(target=self.carrier.run, args=(its,))
        self.thread.start()

    def told(self, *now: Mate) -> None:
        """Hear of the holder who the members are now."""
        self.lifeline.send(net_wire.encode(Admit(members=now)))

    def hears(self) -> bytes:
        return self.program.recv(70_000)

    def close(self) -> None:
        self.lifeline.close()
        self.thread.join(30)
        assert not self.thread.is_alive()
        for each in (self.program, self.device, self.its):
            each.close()


@contextlib.contextmanager
def members(folder: Path, count: int) -> Iterator[tuple[Door, list[Member]]]:
    door = Door(folder / "door")
    found = [Member(door, me, count) for me in range(count)]
    try:
        door.until(f"door.met >= {count * (count - 1) // 2}")
        yield door, found
    finally:
        for each in found:
            each.close()
        door.close()


def meet(one: Member, other: Member, source: int, target: int) -> None:
    """Send until one arrives: streams are joined a moment before their carriers know."""
    other.program.settimeout(0.1)
    for _ in range(100):
        one.program.send(packet(source, target, b"hello?"))
        with contextlib.suppress(TimeoutError):
            other.hears()
            break
    else:
        pytest.fail(f"{source} never reached {target}")
    with contextlib.suppress(TimeoutError):
        while True:
            other.hears()
    other.program.settimeout(30)


def test_packets_come_whole_and_in_order_to_the_one_they_are_for(tmp_path: Path) -> None:
    with members(tmp_path, 3) as (_, (a, b, c)):
        for one, other, source, target in ((a, b, 0, 1), (b, a, 1, 0), (a, c, 0, 2), (c, b, 2, 1)):
            meet(one, other, source, target)
        sent = {1: [], 2: []}
        for number in range(200):
            target = 1 + number % 2
            each = packet(0, target, number.to_bytes(2, "big") * (1 + number * 3))
            sent[target].append(each)
            a.program.send(each)
        assert [b.hears() for _ in sent[1]] == sent[1]
        assert [c.hears() for _ in sent[2]] == sent[2]
        largest = packet(2, 1, bytes(65_515))
        c.program.send(largest)
        assert b.hears() == largest


def test_what_is_for_nobody_or_from_somebody_else_is_dropped(tmp_path: Path) -> None:
    with members(tmp_path, 2) as (_, (a, b)):
        meet(a, b, 0, 1)
        other_net = packet(0, 1, b"x", prefix=bytes((8, 8, 8)))
        for wrong in (
            packet(0, 7, b"x"),
            packet(0, 0, b"x"),
            other_net,
            b"\x60" + bytes(60),
            b"short",
            packet(1, 1, b"x"),
        ):
            a.program.send(wrong)
        a.program.send(packet(0, 1, b"right"))
        assert b.hears() == packet(0, 1, b"right")


def test_a_stream_that_breaks_is_opened_again(tmp_path: Path) -> None:
    with members(tmp_path, 2) as (door, (a, b)):
        meet(a, b, 0, 1)
        for turn in range(2):
            door.cut()
            door.until(f"door.met >= {2 + turn}")
            meet(a, b, 0, 1)
            meet(b, a, 1, 0)


def test_a_mate_that_sends_no_packets_is_hung_up_on_and_met_again(tmp_path: Path) -> None:
    with members(tmp_path, 2) as (door, (a, b)):
        meet(a, b, 0, 1)
        door.cut()
        door.until("door.met >= 2")
        door.streams[0].sendall(b"\x17" * 100)  # as if the mate said it
        door.until("door.met >= 3")
        meet(a, b, 0, 1)


def test_a_mate_that_is_behind_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    door = Door(tmp_path / "door")
    word = WaitForMates(lease=LeaseId("l1"), key=KEY, net=NET, mates=())
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(door.path)
        silent.sendall(net_wire.framed(word))
        a, c = Member(door, 0, 3), Member(door, 2, 3)
        door.until("door.met >= 2")
        _, stream = net_wire.receive(silent)  # and nobody ever reads from it
        meet(a, c, 0, 2)
        big = packet(0, 1, bytes(60_000))
        for _ in range(3 * net_carrier.BEHIND_BYTES_MAX // len(big)):
            a.program.send(big)
        a.program.send(packet(0, 2, b"still here"))
        assert c.hears() == packet(0, 2, b"still here")
        assert a.carrier.dropped > 0
        os.close(stream)
        for each in (a, c):
            each.close()
        door.close()


def test_who_comes_later_is_called_by_all_and_who_has_left_by_nobody(tmp_path: Path) -> None:
    with members(tmp_path, 2) as (door, (a, b)):
        c = Member(door, 2, 3)
        for each in (a, b):
            each.told(*mates(3))
        door.until("door.met >= 3")
        for one, other, source, target in ((a, c, 0, 2), (b, c, 1, 2), (c, a, 2, 0), (a, b, 0, 1)):
            meet(one, other, source, target)
        gone = replace(mates(3)[2], left=True)
        for each in (a, b):
            each.told(*mates(2), gone)
        c.close()
        door.cut()
        door.until("door.met >= 4")  # only the two call each other again
        meet(a, b, 0, 1)
        assert {word.mate.lease for word, _ in door.calls} == set()
        for each in (a, b):
            each.told(*mates(1))  # a word that was overtaken
        meet(b, a, 1, 0)


def test_it_ends_when_its_parent_does(tmp_path: Path) -> None:
    door = Door(tmp_path / "door")
    member = Member(door, 0, 2)
    member.close()
    door.close()
