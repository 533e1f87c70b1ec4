"""Links: one authenticated byte path to a node, over any carrier of bytes (TCP, or a channel through a relay).

States: handshake (TLS, both ends show certificates) -> greeting (each end sends one Hello) -> up -> closed. Nothing
is read from or told to a far end before it has proved that it is a member: in TLS 1.3 the dialer is done first, so
the link counts as up only when the far end's Hello has come. Whatever breaks the rules is closed without a word.
The host bounds the time.

Sans-I/O: ``feed`` takes bytes and the moment; bytes go out through the ``Carrier``.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import Final, Protocol

import msgspec

from worldos.errors import PeerBroke, WorldError
from worldos.fabric import frame
from worldos.fabric.channel import Bytes
from worldos.fabric.tls import LinkEnded, TlsPipe

_HELLO: Final = Struct("<BQQQQH")
_HELLO_VERSION: Final = 1
_QUESTION: Final = Struct("<QQ")  # moment, highest sequence number sent before


class Hello(msgspec.Struct, frozen=True):
    """What each end says first: which life it is in, which session it has, and how far it received."""

    boot: int
    session: int
    known: int  # the session number of the far end, 0 where none is known
    received: int
    port: int  # where it listens; 0: nowhere

    def encode(self) -> bytes:
        """Make the payload of a Hello frame."""
        return _HELLO.pack(_HELLO_VERSION, self.boot, self.session, self.known, self.received, self.port)


def decode_hello(payload: memoryview) -> Hello:
    """Read the payload of a Hello frame; more bytes may follow in a later version."""
    if len(payload) < _HELLO.size:
        raise PeerBroke("a Hello that is too short")
    version, boot, session, known, received, port = _HELLO.unpack_from(payload)
    if version != _HELLO_VERSION:
        raise PeerBroke(f"speaks version {version} of the fabric")
    return Hello(boot, session, known, received, port)


class State(Enum):
    """Where a link is in its life."""

    HANDSHAKE = 0
    GREETING = 1
    UP = 2
    CLOSED = 3


class Carrier(Protocol):
    """What carries the bytes of a link."""

    def write(self, data: bytes) -> None:
        """Send these bytes."""

    def close(self) -> None:
        """End after what was written."""

    def abort(self) -> None:
        """End now."""


class Sink(Protocol):
    """Takes the frames of the session (``Session.receive``)."""

    def __call__(self, kind: int, priority: int, channel: int, seq: int, ack: int, payload: memoryview, /) -> None:
        """Take one frame."""


class Door(Protocol):
    """Decides who is let in."""

    def link_proved(self, link: Link, leaf_der: bytes) -> LinkOwner:
        """Return whose link it is: the far end holds this certificate's key. Raise ``WorldError`` to close it."""

    def link_refused(self, link: Link, reason: str) -> None:
        """Note that it ended before it belonged to anybody."""


class LinkOwner(Protocol):
    """Who is told what happens to a link of a known node."""

    def link_hello(self, link: Link) -> Hello:
        """Return what this end says first."""

    def link_greeted(self, link: Link, hello: Hello) -> Sink:
        """Note that the far end said Hello: the link is up. Returns who takes its frames."""

    def link_fed(self, link: Link) -> None:
        """All frames of one batch of bytes were handed on."""

    def link_state(self) -> tuple[int, int]:
        """Return the highest sequence number sent in the session, and the highest received."""

    def link_measured(self, link: Link, asked_ns: int, sent: int) -> None:
        """Note that a ping was answered: when it was sent, and the highest sequence number sent before it."""

    def link_writable(self, link: Link) -> None:
        """Note that the carrier takes bytes again."""

    def link_closed(self, link: Link, reason: str) -> None:
        """Note that it is over."""


class Link:
    """One end of a link. ``via`` is empty for a direct one, else the id of the node that relays."""

    def __init__(self, door: Door, pipe: TlsPipe, carrier: Carrier, *, dialed: bool, via: str = "") -> None:
        self._door = door
        self._owner: LinkOwner | None = None
        self.via = via
        self.expected = ""  # the node that must be at the far end, where that is known before
        self.host = ""  # the host that the far end dialed from, or the address at which we dialed it
        self.session = 0  # which one our first words named
        self.dialed = dialed
        self.state = State.HANDSHAKE
        self.writable = True
        self.heard_ns = 0  # when the last bytes came
        self.asked_ns = 0  # when the first bytes went out that wait for an answer
        self.rtt_us = 0  # smoothed; 0 until measured
        self.received_bytes = 0
        self.sent_bytes = 0
        self._pipe = pipe
        self._carrier = carrier
        self._reader = frame.Reader()
        self._sink: Sink | None = None
        self._now_ns = 0

    def start(self, now_ns: int) -> None:
        """Begin the handshake: the dialer speaks first."""
        self.heard_ns = now_ns
        if self.dialed:
            self._pipe.handshake()
            self._flush()

    def feed(self, data: bytes | memoryview, now_ns: int) -> None:
        """Take bytes from the carrier."""
        if self.state is State.CLOSED:
            return
        self.heard_ns = self._now_ns = now_ns
        self.received_bytes += len(data)
        self._pipe.feed(data)
        try:
            if self.state is State.HANDSHAKE and not self._shake():
                return
            self._read()
        except LinkEnded:
            self.close("closed by the far end")
        except WorldError as error:
            self._flush()  # the TLS alert, if there is one: it says what is wrong with a certificate
            self.abort(str(error))

    def write(self, buffers: list[Bytes], now_ns: int) -> None:
        """Send frames of the session."""
        if self.asked_ns <= self.heard_ns:
            self.asked_ns = now_ns
        self._pipe.write(b"".join(buffers))
        self._flush()

    def ping(self, now_ns: int) -> None:
        """Ask for a sign of life."""
        if self._owner is not None and self.state is State.UP:
            sent, received = self._owner.link_state()
            self.write([frame.link_frame(frame.PING, received, _QUESTION.pack(now_ns, sent))], now_ns)

    def tell(self, data: bytes) -> None:
        """Send a frame that wants no answer."""
        self._pipe.write(data)
        self._flush()

    def silent_ns(self, now_ns: int) -> int:
        """How long the far end owes an answer: 0 when it has spoken since it was first asked."""
        return now_ns - self.asked_ns if self.asked_ns > self.heard_ns else 0

    def forgive(self, late_ns: int) -> None:
        """Do not count a pause of our own as silence of the far end."""
        self.heard_ns += late_ns
        self.asked_ns += late_ns

    def pause(self) -> None:
        """Note that the carrier has enough for now."""
        self.writable = False

    def resume(self) -> None:
        """Note that the carrier takes bytes again."""
        self.writable = True
        if self._owner is not None and self.state is State.UP:
            self._owner.link_writable(self)

    def close(self, reason: str) -> None:
        """End in good order."""
        if self.state in (State.UP, State.GREETING):
            self._pipe.end()
            self._flush()
        if self.state is not State.CLOSED:
            self._carrier.close()
            self._closed(reason)

    def abort(self, reason: str) -> None:
        """End now."""
        if self.state is not State.CLOSED:
            self._carrier.abort()
            self._closed(reason)

    def lost(self, reason: str) -> None:
        """Note that the carrier is gone."""
        if self.state is not State.CLOSED:
            self._closed(reason)

    # -- inside ------------------------------------------------------------------------------------

    def _closed(self, reason: str) -> None:
        self.state = State.CLOSED
        self._sink = None
        if self._owner is None:
            self._door.link_refused(self, reason)
        else:
            self._owner.link_closed(self, reason)

    def _flush(self) -> None:
        data = self._pipe.take()
        if data:
            self.sent_bytes += len(data)
            self._carrier.write(data)

    def _shake(self) -> bool:
        done = self._pipe.handshake()
        if done:
            self._owner = self._door.link_proved(self, self._pipe.peer_leaf())
            self.state = State.GREETING
            self._pipe.write(frame.link_frame(frame.HELLO, 0, self._owner.link_hello(self).encode()))
        self._flush()
        return done

    def _read(self) -> None:
        pipe, reader = self._pipe, self._reader
        while pipe.more() and self.state is not State.CLOSED:
            count = pipe.read_into(reader.room())
            if not count:
                break
            reader.wrote(count)
            while (item := reader.next()) is not None:
                sink = self._sink
                if sink is not None and (item[3] or item[0] == frame.ACK):
                    sink(*item)
                else:
                    self._receive(item)
        if self._owner is not None and self.state is State.UP:
            self._owner.link_fed(self)

    def _receive(self, item: frame.Frame) -> None:
        """Take a frame of the link itself."""
        kind, _, _, _, ack, payload = item
        if self.state is State.CLOSED or self._owner is None:
            return
        if kind == frame.HELLO and self.state is State.GREETING:
            hello = decode_hello(payload)
            self.state = State.UP
            self._sink = self._owner.link_greeted(self, hello)
        elif self._sink is None:
            raise PeerBroke("speaks before its Hello")
        elif kind == frame.PING:
            self._sink(frame.ACK, 0, 0, 0, ack, payload)
            _, received = self._owner.link_state()
            self.tell(frame.link_frame(frame.PONG, received, bytes(payload[: _QUESTION.size])))
        elif kind == frame.PONG:
            self._sink(frame.ACK, 0, 0, 0, ack, payload)
            self._measure(self._owner, payload)
        else:
            raise PeerBroke(f"a second frame of kind {kind}")

    def _measure(self, owner: LinkOwner, payload: memoryview) -> None:
        """Smooth the round trip: up quickly, as a queue fills, and down slowly."""
        if len(payload) != _QUESTION.size:
            raise PeerBroke("a pong of the wrong size")
        asked_ns, sent = _QUESTION.unpack(payload)
        rtt_us = max(1, (self._now_ns - asked_ns) // 1000)
        if not 0 < asked_ns <= self._now_ns:
            raise PeerBroke("answers what was not asked")
        if not self.rtt_us:
            self.rtt_us = rtt_us
        else:
            self.rtt_us = (self.rtt_us + rtt_us) // 2 if rtt_us > 2 * self.rtt_us else (self.rtt_us * 7 + rtt_us) // 8
        owner.link_measured(self, asked_ns, sent)
