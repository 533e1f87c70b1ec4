"""The carrier of a private network: one process a lease that reads packets from the TUN device and brings them to other members.

Each pair of members has one stream, opened by the one that stands earlier in the list, with IPv4 packets back to back. What comes
from a member must bear its address and ours; a packet for nobody is dropped, and so is one for a member that is behind by
``BEHIND_BYTES_MAX``: what runs above repeats it, as on any network. Packets are moved in batches: as many as the kernel has
become one write. A stream that ends is opened again, ever later up to ``AGAIN_S_MAX``, for as long as both are members: who comes
later stands behind all others in the list, so they call it, and it waits for them.

It has one thread and allocates little; everything else of a network is elsewhere (private_net.py).
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from worldos.errors import PeerBroke
from worldos.lanes import net_wire
from worldos.lanes.net_reset import reset_for
from worldos.lanes.net_wire import Admit, Begin, Call, Joined, Met, Reply, Shut, WaitForMates

PACKET_BYTES_MAX: Final = 65_535
BATCH_BYTES: Final = 8 * PACKET_BYTES_MAX
INBOX_BYTES: Final = 1024 * 1024
BEHIND_BYTES_MAX: Final = 4 * 1024 * 1024
WAITING: Final = 2  # connections that wait at the door for those who call us
AGAIN_S_MIN: Final = 0.05
AGAIN_S_MAX: Final = 2.0
HEADER_BYTES_MIN: Final = 20
STREAM_BYTES: Final = 1024 * 1024  # what the kernel may keep of a stream on its way to the agent

Told = Callable[[int, str], None]


class _Stream:
    """A connection to the door: first one that asks, then, with a mate, the stream of packets."""

    def __init__(self, sock: socket.socket, mate: int, waited_s: float = 0.0) -> None:
        self.sock = sock
        self.waited_s = waited_s  # before it was tried
        self.mate = mate  # whom it leads to; -1: whoever comes
        self.asking = True
        self.inbox = memoryview(bytearray(INBOX_BYTES if mate >= 0 else 4096))
        self.filled = 0
        self.outbox: deque[bytes] = deque()
        self.behind_bytes = 0
        self.blocked = False


class Carrier:
    """All streams of one member. ``tun``: the device, non-blocking. ``told`` hears of each way to a member: why not, or empty."""

    def __init__(self, begin: Begin, door: str, key: bytes, tun: int, told: Told = lambda _member, _why: None) -> None:
        self._told = told
        self._begin = begin
        self._me = begin.me
        self._lease = begin.members[begin.me].lease
        self._door = door
        self._key = key
        self._tun = tun
        self._net = bytes(begin.prefix)
        self._batch = memoryview(bytearray(BATCH_BYTES + PACKET_BYTES_MAX))
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Stream] = {}
        self._mates: dict[int, _Stream] = {}  # by member: the stream that carries
        self._due_s: dict[int, tuple[float, float]] = {}  # members to call: when, and how long was waited
        self._waiters = WAITING if begin.me else 0  # who come before us call us
        self._wait_s = 0.0  # ... and when a place at the door is taken again
        self.dropped = 0

    def run(self, parent: socket.socket) -> None:
        """Carry until the other end of ``parent``, a socket of the process that started this one, closes.

        It keeps messages apart, and one is a ``Wish``: who the members are now.
        """
        self._epoll.register(self._tun, select.EPOLLIN)
        self._epoll.register(parent, select.EPOLLIN)
        for member in range(self._me + 1, len(self._begin.members)):
            if not self._begin.members[member].left:
                self._due_s[member] = (0.0, 0.0)
        while True:
            self._ask_due()
            for fd, event in self._epoll.poll(self._timeout_s()):
                if fd == self._tun:
                    self._from_tun()
                elif fd == parent.fileno():
                    if not self._heard(parent):
                        return
                else:
                    self._stir(self._by_fd.get(fd), event)

    # -- packets ----------------------------------------------------------------------------------------------------------

    def _from_tun(self) -> None:
        """Read what the device has, at most a batch, and send it on: neighbours for one mate as one piece."""
        batch, tun, net, me = self._batch, self._tun, self._net, self._me
        end = begun = 0
        toward = -1
        while end < BATCH_BYTES:
            try:
                size = os.readv(tun, [batch[end : end + PACKET_BYTES_MAX]])
            except OSError:  # EAGAIN: that was all
                break
            member = -1
            if size >= HEADER_BYTES_MIN and batch[end] >> 4 == 4 and batch[end + 16 : end + 19] == net:
                member = batch[end + 19] - 1
            if 0 <= member < len(self._begin.members) and self._begin.members[member].left:
                self._refuse(bytes(batch[end : end + size]))
                member = -1
            if member == me or not 0 <= member < len(self._begin.members):
                member = -1  # not ours to carry; its room in the batch is used again
            if member != toward and end > begun:
                self._send(toward, batch[begun:end])
                begun = end
            toward = member
            if member >= 0:
                end += size
            else:
                self.dropped += 1
        if end > begun:
            self._send(toward, batch[begun:end])

    def _refuse(self, packet: bytes) -> None:
        """Answer for who has left, as a host where nobody listens."""
        reset = reset_for(packet)
        if reset is not None:
            with suppress(OSError):  # the device's queue is full: it is asked again
                os.write(self._tun, reset)

    def _send(self, member: int, packets: memoryview) -> None:
        stream = self._mates.get(member)
        if stream is None or (stream.outbox and stream.behind_bytes + len(packets) > BEHIND_BYTES_MAX):
            self.dropped += 1
            return
        sent = 0
        if not stream.outbox:
            try:
                sent = stream.sock.send(packets)
            except BlockingIOError:
                pass
            except OSError:
                self._lose(stream)
                return
        if sent < len(packets):
            rest = bytes(packets[sent:])  # a packet that was begun must be ended
            stream.outbox.append(rest)
            stream.behind_bytes += len(rest)
            self._mind(stream)

    def _flush(self, stream: _Stream) -> None:
        while stream.outbox:
            head = stream.outbox[0]
            try:
                sent = stream.sock.send(head)
            except BlockingIOError:
                return
            except OSError:
                self._lose(stream)
                return
            stream.behind_bytes -= sent
            if sent < len(head):
                stream.outbox[0] = head[sent:]
                return
            stream.outbox.popleft()
        self._mind(stream)

    def _mind(self, stream: _Stream) -> None:
        blocked = bool(stream.outbox)
        if blocked != stream.blocked:
            stream.blocked = blocked
            self._epoll.modify(stream.sock, select.EPOLLIN | select.EPOLLOUT if blocked else select.EPOLLIN)

    def _from_mate(self, stream: _Stream) -> None:
        inbox = stream.inbox
        try:
            size = stream.sock.recv_into(inbox[stream.filled :])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._lose(stream)
            return
        filled = stream.filled + size
        at = 0
        sender = bytes((*self._net, stream.mate + 1, *self._net, self._me + 1))
        while filled - at >= HEADER_BYTES_MIN:
            size = inbox[at + 2] << 8 | inbox[at + 3]
            if inbox[at] >> 4 != 4 or size < HEADER_BYTES_MIN:
                self._lose(stream)  # what is no packet has no end: nothing after it can be found
                return
            if filled - at < size:
                break
            if inbox[at + 12 : at + 20] == sender:
                with suppress(OSError):  # the device's queue is full: dropped
                    os.write(self._tun, inbox[at : at + size])
            else:
                self.dropped += 1
            at += size
        if at:
            inbox[: filled - at] = inbox[at:filled]
        stream.filled = filled - at

    # -- members ----------------------------------------------------------------------------------------------------------

    def _heard(self, parent: socket.socket) -> bool:
        """Hear what the process that started this one says; False when it is gone."""
        try:
            body = parent.recv(net_wire.MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return True
        if not body:
            return False
        wish = net_wire.decode_wish(body)
        if isinstance(wish, Admit):
            self._admit(wish)
        return True

    def _admit(self, admit: Admit) -> None:
        """Call who is new, and hang up on who has left."""
        known = len(self._begin.members)
        if len(admit.members) < known:
            return  # overtaken by a later word
        self._begin = replace(self._begin, members=admit.members)
        for member, mate in enumerate(admit.members):
            if mate.left:
                self._due_s.pop(member, None)
                if member in self._mates:
                    self._lose(self._mates[member])
            elif member >= known and member > self._me:
                self._due_s[member] = (0.0, 0.0)

    # -- streams ----------------------------------------------------------------------------------------------------------

    def _stir(self, stream: _Stream | None, event: int) -> None:
        if stream is None:
            return
        if stream.asking:
            self._answered(stream)
            return
        if event & select.EPOLLOUT:
            self._flush(stream)
        if event & ~select.EPOLLOUT and self._by_fd.get(stream.sock.fileno()) is stream:
            self._from_mate(stream)

    def _connect(self, word: WaitForMates | Call, mate: int, waited_s: float = 0.0) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BYTES)
        try:
            sock.connect(self._door)
            sock.sendall(net_wire.framed(word))
        except OSError:
            sock.close()
            return False
        sock.setblocking(False)  # noqa: FBT003
        self._add(_Stream(sock, mate, waited_s))
        return True

    def _add(self, stream: _Stream) -> None:
        self._by_fd[stream.sock.fileno()] = stream
        self._epoll.register(stream.sock, select.EPOLLIN)

    def _ask_due(self) -> None:
        """Call those that are due, and wait at the door for those who call us."""
        if not self._due_s and not self._waiters:
            return
        now_s = time.monotonic()
        for member in [member for member, (due_s, _) in self._due_s.items() if due_s <= now_s]:
            _, waited_s = self._due_s.pop(member)
            word = Call(lease=self._lease, key=self._key, net=self._begin.net, mate=self._begin.members[member])
            if not self._connect(word, member, waited_s):
                self._call_later(member, waited_s)
        while self._waiters and self._wait_s <= now_s:
            mates = tuple(mate for mate in self._begin.members[: self._me] if not mate.left)
            if self._connect(WaitForMates(lease=self._lease, key=self._key, net=self._begin.net, mates=mates), -1):
                self._waiters -= 1
            else:
                self._wait_s = now_s + AGAIN_S_MAX

    def _timeout_s(self) -> float | None:
        due_s = [due_s for due_s, _ in self._due_s.values()]
        if self._waiters:
            due_s.append(self._wait_s)
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _answered(self, stream: _Stream) -> None:
        """Read the door's answer; it is small and comes whole, or the connection is of no use."""
        stream.sock.settimeout(1.0)
        try:
            body, fd = net_wire.receive(stream.sock)
            reply: Reply = net_wire.decode_reply(body)
        except (OSError, EOFError, PeerBroke):
            reply, fd = Shut(why="the door closed"), -1
        member = self._member(reply, stream)
        self._drop(stream)
        if isinstance(reply, Shut) and stream.mate >= 0:
            self._told(stream.mate, reply.why)
        if stream.mate < 0:
            self._waiters += 1
        if member < 0:
            stream.sock.close()
            if stream.mate >= 0:
                self._call_later(stream.mate, stream.waited_s)
            else:
                self._wait_s = time.monotonic() + AGAIN_S_MAX
            return
        sock = stream.sock
        if fd >= 0:
            sock.close()
            sock = socket.socket(fileno=fd)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BYTES)
        sock.setblocking(False)  # noqa: FBT003
        self._carry_by(sock, member)

    def _member(self, reply: Reply, stream: _Stream) -> int:
        if isinstance(reply, Joined) and stream.mate >= 0:
            return stream.mate
        if isinstance(reply, Met):
            for member, mate in enumerate(self._begin.members[: self._me]):
                if (mate.lease, mate.node) == (reply.lease, reply.node):
                    return member
        return -1

    def _carry_by(self, sock: socket.socket, member: int) -> None:
        known = self._mates.pop(member, None)
        if known is not None:
            self._drop(known)
            known.sock.close()
        stream = _Stream(sock, member)
        stream.asking = False
        self._mates[member] = stream
        self._add(stream)
        self._told(member, "")

    def _lose(self, stream: _Stream) -> None:
        self._drop(stream)
        stream.sock.close()
        if self._mates.get(stream.mate) is stream:
            del self._mates[stream.mate]
            if stream.mate > self._me:
                self._call_later(stream.mate)

    def _drop(self, stream: _Stream) -> None:
        fd = stream.sock.fileno()
        if self._by_fd.get(fd) is stream:
            del self._by_fd[fd]
            self._epoll.unregister(fd)

    def _call_later(self, member: int, waited_s: float = 0.0) -> None:
        """Try again to reach a member, ever later; not one that has left."""
        if not self._begin.members[member].left:
            wait_s = min(AGAIN_S_MAX, max(AGAIN_S_MIN, 2 * waited_s))
            self._due_s[member] = (time.monotonic() + wait_s, wait_s)
