"""What is said at the door of private networks: between a lease's helper, its agent, and the program that holds the lease.

A message is a 4-byte little-endian length and msgpack. Who connects to the door says one ``Word`` and gets one ``Reply``; after
``Met`` or ``Joined`` the connection is a plain stream, or a descriptor that came with the reply is (both ends on one machine:
then the agent is on the way no more). A *key* proves which lease one speaks for. ``net`` is the secret of its members.

Between members the stream is IPv4 packets, back to back: each says its own length. Between the holder and a helper it begins
with a ``Wish``, ``Through`` or ``Admit``, and its ``Reply``.
"""

from __future__ import annotations

import socket
import struct
from typing import Annotated, Final

import msgspec

from worldos.errors import PeerBroke
from worldos.model.ids import LeaseId, NodeId

DOOR_NAME: Final = "WORLDOS_NET_DOOR"  # in a lane's environment: the Unix socket of its agent's net door
KEY_NAME: Final = "WORLDOS_NET_KEY"  # ... and the key of the lease
LENGTH: Final = struct.Struct("<I")
MESSAGE_BYTES_MAX: Final = 128 * 1024
MEMBERS_MAX: Final = 250  # one /24
NET_BYTES: Final = 16
FD_REPLY: Final = 1

Key = Annotated[bytes, msgspec.Meta(min_length=16, max_length=64)]
Net = Annotated[bytes, msgspec.Meta(min_length=NET_BYTES, max_length=NET_BYTES)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Text = Annotated[str, msgspec.Meta(max_length=300)]


class Mate(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a private network: a lease, the node that granted it, and what it is called there."""

    node: Annotated[NodeId, msgspec.Meta(max_length=64)]
    lease: Annotated[LeaseId, msgspec.Meta(max_length=200)]
    name: Text = ""
    left: bool = False  # it is a member no more, and its address nobody's


class Wait(msgspec.Struct, frozen=True, kw_only=True, tag="wait"):
    """A helper waits for the program that holds its lease."""

    lease: LeaseId
    key: Key


class WaitForMates(msgspec.Struct, frozen=True, kw_only=True, tag="mates"):
    """A helper waits for any of these members."""

    lease: LeaseId
    key: Key
    net: Net
    mates: Annotated[tuple[Mate, ...], msgspec.Meta(max_length=MEMBERS_MAX)]


class Call(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """A helper wants to reach another member."""

    lease: LeaseId
    key: Key
    net: Net
    mate: Mate


class Enter(msgspec.Struct, frozen=True, kw_only=True, tag="enter"):
    """The program that holds a lease wants to reach its helper."""

    lease: LeaseId
    key: Key


Word = Wait | WaitForMates | Call | Enter


class Met(msgspec.Struct, frozen=True, kw_only=True, tag="met"):
    """Somebody came: a member, or (an empty lease) the holder."""

    node: NodeId
    lease: LeaseId


class Joined(msgspec.Struct, frozen=True, kw_only=True, tag="joined"):
    """You are through."""


class Shut(msgspec.Struct, frozen=True, kw_only=True, tag="shut"):
    """There is no way, and why."""

    why: Text


Reply = Met | Joined | Shut


class Through(msgspec.Struct, frozen=True, kw_only=True, tag="through"):
    """The holder wants to reach a port in the lease's network."""

    port: Port


class Admit(msgspec.Struct, frozen=True, kw_only=True, tag="admit"):
    """The holder says who the members are now: those that were, in their places, and those that came after them."""

    members: Annotated[tuple[Mate, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]


Wish = Through | Admit


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """What a helper is told: the net, all its members in order, and which one of them it is."""

    net: Net
    prefix: Annotated[bytes, msgspec.Meta(min_length=3, max_length=3)]  # 10.x.y of 10.x.y.0/24
    members: Annotated[tuple[Mate, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]
    me: Annotated[int, msgspec.Meta(ge=0, lt=MEMBERS_MAX)]

    def address(self, member: int) -> str:
        """Return the address of a member."""
        return ".".join(str(number) for number in (*self.prefix, member + 1))


words: Final[msgspec.msgpack.Decoder[Word]] = msgspec.msgpack.Decoder(Word)
replies: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)
wishes: Final[msgspec.msgpack.Decoder[Wish]] = msgspec.msgpack.Decoder(Wish)
begins: Final[msgspec.msgpack.Decoder[Begin]] = msgspec.msgpack.Decoder(Begin)
encode: Final = msgspec.msgpack.Encoder().encode


def framed(message: msgspec.Struct) -> bytes:
    """Return a message as it travels."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body


def size_of(head: bytes) -> int:
    """Return how long the message after this head is."""
    (size,) = LENGTH.unpack(head)
    if not 0 < size <= MESSAGE_BYTES_MAX:
        raise PeerBroke(f"a message of {size} bytes at the door of a network")
    return int(size)


def decode_word(body: bytes) -> Word:
    """Read what somebody wants at the door."""
    try:
        return words.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerBroke(f"that is no word at the door of a network: {error}") from None


def decode_reply(body: bytes) -> Reply:
    """Read what the door answers."""
    try:
        return replies.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerBroke(f"that is no answer of a network's door: {error}") from None


def decode_wish(body: bytes) -> Wish:
    """Read where the holder wants to go, or whom it lets in."""
    try:
        return wishes.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerBroke(f"that is no wish of a network's holder: {error}") from None


def decode_begin(body: bytes) -> Begin:
    """Read what net a helper is to begin; one that is none of its members is no net."""
    try:
        begin = begins.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerBroke(f"that is no private network: {error}") from None
    if begin.me >= len(begin.members) or begin.prefix[0] != 10:
        raise PeerBroke("that is no private network: it has no such member, or no such addresses")
    return begin


def receive(sock: socket.socket) -> tuple[bytes, int]:
    """Read one message of a blocking socket, and the descriptor that came with it (-1: none). Raises EOFError at the end."""
    head, fds, _flags, _from = socket.recv_fds(sock, LENGTH.size, FD_REPLY)
    while 0 < len(head) < LENGTH.size:
        more = sock.recv(LENGTH.size - len(head))
        if not more:
            break
        head += more
    if len(head) < LENGTH.size:
        raise EOFError
    body = b""
    size = size_of(head)
    while len(body) < size:
        piece = sock.recv(size - len(body))
        if not piece:
            raise EOFError
        body += piece
    return body, fds[0] if fds else -1


def ask(door: str, word: Word, timeout_s: float | None) -> tuple[socket.socket, Reply]:
    """Say one word at the door; return the stream that it leads to, and the answer. The socket is blocking, without a timeout."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(door)
        sock.sendall(framed(word))
        body, fd = receive(sock)
        reply = decode_reply(body)
    except BaseException:
        sock.close()
        raise
    if fd >= 0:
        sock.close()
        sock = socket.socket(fileno=fd)
    sock.settimeout(None)
    return sock, reply
