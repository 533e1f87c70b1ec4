"""Sessions: every message exactly once and in order between two lives of two nodes, whatever happens to the links.

A link (a TLS connection, direct or through a relay) comes and goes; a session stays. Each frame gets the next
sequence number at the moment it is first sent, so a higher priority overtakes what still waits. The receiver takes
only the frame that it expects next and drops any other; ``ack`` tells how far it came. What is not acknowledged is
kept and sent again, from its first frame on, when the session moves to another link (``rewind``), so on each link
the numbers rise without a gap.

A session is named by two numbers, one chosen by each end (``my_id``, ``peer_id``). Both travel in the Hello that
opens each link, with how far this end has received. ``meet`` decides: the same pair goes on where it was; another
``peer_id`` means that the peer lost its half (it restarted, or gave up), and then this half is lost too: its owner
makes a new one *with the same* ``my_id`` (the peer may already have bound to it). Who gives up by itself takes a
new ``my_id``, above all that it had in this life: so first words that were long on their way are known for old, and
their link is closed (peer.py). To obey them would begin one half anew under the other, which then waits for ever.

Pure: no clock, no socket. The owner is told what happened by calls, at once, in order. Sizes in bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from worldos.errors import BadRequest, PeerBroke
from worldos.fabric import frame
from worldos.fabric.channel import Bytes, Channel, Ending, Receiver, decode_reason
from worldos.fabric.limits import (
    ACK_EVERY_BYTES,
    ACK_EVERY_FRAMES,
    CHANNELS_MAX,
    FRAME_PAYLOAD_BYTES_MAX,
    HELLO_BYTES_MAX,
    INFLIGHT_BYTES_MAX,
    PRIORITIES,
    QUEUE_BYTES_MAX,
    QUEUE_MESSAGES_MAX,
)
from worldos.model.ids import NodeId

_HEADER_BYTES: Final = frame.HEADER_BYTES
_CHANNEL_NUMBER_MAX: Final = 2**32 - 1
AT_LEISURE: Final = 1  # in a message's field for the channel: nobody waits for its acknowledgement
_PRESSING_MESSAGE: Final = (frame.MESSAGE, 0)
_pack = frame.HEADER.pack

Item = tuple[int, int, int, Bytes]  # kind, priority, channel, payload
Sent = tuple[int, int, int, int, Bytes]  # seq, kind, priority, channel, payload


class Owner(Protocol):
    """Who is told what a session received."""

    def session_message(self, message: bytes) -> None:
        """Note that a message came on channel 0."""

    def session_opened(self, channel: Channel, hello: bytes) -> None:
        """Note that the peer opened a channel: accept or refuse it, now or later."""

    def session_relay(self, channel: Channel, words: bytes) -> None:
        """Note that the peer wants a channel to be relayed, or that it relays one to this node."""

    def session_ready(self) -> None:
        """There is something to take; called once until the next ``take``."""


class Session:
    """One half of a session with ``node``."""

    def __init__(self, node: NodeId, my_id: int, owner: Owner, *, odd: bool) -> None:
        self.node = node
        self.my_id = my_id
        self.peer_id = 0  # not yet known
        self.channels: dict[int, Channel] = {}
        self.inflight_bytes = 0
        self.resent_frames = 0
        self._owner = owner
        self._next_channel = 1 if odd else 2  # the two ends number their channels apart
        self._parity = self._next_channel & 1
        self._queues: tuple[deque[Item | Channel], ...] = tuple(deque() for _ in range(PRIORITIES))
        self._queued_messages = 0
        self._queued_bytes = 0
        self._sent: deque[Sent] = deque()  # not acknowledged
        self._again: deque[Sent] = deque()  # of these, to be sent on the present link
        self._seq = 0  # the last number given
        self._acked = 0  # the highest number the peer has received
        self._pressing = 0  # the last number whose acknowledgement is waited for
        self._received = 0  # the highest number received from the peer
        self._owed = 0  # ... and of those, the last whose acknowledgement is waited for
        self._told = 0  # ... and last told to it
        self._untold_bytes = 0
        self.asked = False  # there is something to take, and the owner knows
        self._twice = False  # a frame came again: the peer misses an acknowledgement

    # -- the names of a session --------------------------------------------------------------------

    @property
    def received(self) -> int:
        """The highest sequence number received in order."""
        return self._received

    @property
    def sent(self) -> int:
        """The highest sequence number given to a frame."""
        return self._seq

    @property
    def acked(self) -> int:
        """The highest sequence number that the peer acknowledged."""
        return self._acked

    @property
    def waits(self) -> bool:
        """Whether an acknowledgement is waited for: its absence tells that the way is broken."""
        return self._acked < self._pressing

    @property
    def busy(self) -> bool:
        """Whether these two nodes work together: a channel is open that is not somebody's relayed link."""
        return bool(self.channels) and any(not channel.relayed for channel in self.channels.values())

    def meet(self, peer_id: int, known: int, ack: int) -> bool:
        """Take the peer's Hello of a link. False: the peer lost its half, so this one is void."""
        if peer_id == 0:
            raise PeerBroke("a session without a name")
        if self.peer_id not in (0, peer_id):
            return False
        self.peer_id = peer_id
        if known == self.my_id:  # else the peer wrote this before it knew us, and has received nothing
            self._settle(ack)
        return True

    # -- sending -----------------------------------------------------------------------------------

    def send(self, message: bytes, priority: int, *, pressing: bool = True) -> bool:
        """Queue a message. False: too much waits already, and the message is not taken.

        One that is not ``pressing`` is an answer whose arrival nobody waits for: it is as reliable, but its acknowledgement
        comes with the next thing that the peer says.
        """
        size = len(message)
        if size > FRAME_PAYLOAD_BYTES_MAX:
            raise BadRequest(f"a message of {size} bytes", hint="send what is large on a channel")
        if self._queued_bytes + size > QUEUE_BYTES_MAX or self._queued_messages >= QUEUE_MESSAGES_MAX:
            return False
        self._queued_bytes += size
        self._queued_messages += 1
        self.queue(frame.MESSAGE, priority, 0 if pressing else AT_LEISURE, message)
        return True

    def open(self, hello: bytes, priority: int, receiver: Receiver, kind: int = frame.OPEN) -> Channel:
        """Open a channel; what is written goes out at once, before the far end has accepted. ``kind``: OPEN or RELAY."""
        if len(hello) > HELLO_BYTES_MAX:
            raise BadRequest(f"a channel hello of {len(hello)} bytes")
        if len(self.channels) >= CHANNELS_MAX:
            raise BadRequest(f"more than {CHANNELS_MAX} channels to one node")
        number = self._next_channel
        if number > _CHANNEL_NUMBER_MAX:
            raise BadRequest("all channel numbers of this session are used up")
        self._next_channel += 2
        channel = self.channels[number] = Channel(self, number, priority, receiver)
        channel.relayed = kind == frame.RELAY
        self.queue(kind, priority, number, hello)
        return channel

    def queue(self, kind: int, priority: int, channel: int, payload: Bytes) -> None:
        """Queue one frame behind those of its priority."""
        self._queues[priority].append((kind, priority, channel, payload))
        if not self.asked:
            self.asked = True
            self._owner.session_ready()

    def ready(self, channel: Channel) -> None:
        """Queue a channel that has something to give; it takes turns with the others of its priority."""
        self._queues[channel.priority].append(channel)
        if not self.asked:
            self.asked = True
            self._owner.session_ready()

    def rewind(self) -> None:
        """Send all that is not acknowledged again: the session moved to another link, or made no progress."""
        self._again = deque(self._sent)
        self.resent_frames += len(self._again)
        self.asked = True

    def take(self, budget: int) -> list[Bytes]:
        """Return headers and payloads to write on the present link, about ``budget`` bytes, highest priority first."""
        out: list[Bytes] = []
        ack = self._received
        again, sent, queues = self._again, self._sent, self._queues
        while budget > 0:
            if again:
                seq, kind, priority, number, payload = again.popleft()
                if seq <= self._acked:
                    continue
                size = len(payload)
            else:
                item = self._next(queues)
                if item is None:
                    self.asked = False
                    break
                kind, priority, number, payload = item
                size = len(payload)
                self._seq = seq = self._seq + 1
                if kind != frame.MESSAGE or number != AT_LEISURE:
                    self._pressing = seq
                sent.append((seq, kind, priority, number, payload))
                self.inflight_bytes += size + _HEADER_BYTES
            out.append(_pack(size, kind, priority, number, seq, ack))
            if size:
                out.append(payload)
            budget -= size + _HEADER_BYTES
        if out:
            self._told, self._untold_bytes, self._twice = ack, 0, False
        return out

    # -- receiving ---------------------------------------------------------------------------------

    def receive(self, kind: int, priority: int, channel: int, seq: int, ack: int, payload: memoryview) -> None:
        """Take one frame from any link. ``seq`` 0 is a bare acknowledgement."""
        if ack > self._acked:
            self._settle(ack)
        if seq != self._received + 1:
            if 0 < seq <= self._received:
                self._twice = True
            return
        self._received = seq
        if kind != frame.MESSAGE or channel != AT_LEISURE:
            self._owed = seq
        self._untold_bytes += len(payload)
        if kind == frame.DATA:
            taker = self.channels.get(channel)
            if taker is not None:
                taker.on_data(payload)
        elif kind == frame.MESSAGE:
            self._owner.session_message(bytes(payload))
        else:
            self._receive_rest(kind, priority, channel, payload)

    def ack_owed(self) -> bool:
        """Whether the peer has not been told all that came and that it waits for."""
        return self._owed > self._told or self.ack_urgent()

    def ack_urgent(self) -> bool:
        """Whether the peer should be told at once."""
        return self._untold_bytes >= ACK_EVERY_BYTES or self._received - self._told >= ACK_EVERY_FRAMES or self._twice

    def ack_frame(self) -> bytes:
        """Make a bare acknowledgement."""
        self._told, self._untold_bytes, self._twice = self._received, 0, False
        return frame.link_frame(frame.ACK, self._received, b"")

    # -- the end -----------------------------------------------------------------------------------

    def end(self, reason: str) -> list[bytes]:
        """End all channels; return the pressing messages that the peer may not have received, oldest first."""
        lost = [bytes(payload) for _, kind, _, number, payload in self._sent if (kind, number) == _PRESSING_MESSAGE]
        for queue in self._queues:
            items = (item for item in queue if isinstance(item, tuple))
            lost += [bytes(payload) for kind, _, number, payload in items if (kind, number) == _PRESSING_MESSAGE]
            queue.clear()
        self._sent.clear()
        self._again.clear()
        channels, self.channels = self.channels, {}
        for number in sorted(channels):
            channels[number].on_end(Ending.BROKEN, reason)
        return lost

    # -- inside ------------------------------------------------------------------------------------

    def _next(self, queues: tuple[deque[Item | Channel], ...]) -> Item | None:
        """Return the next new frame, None where nothing may be sent now."""
        full = self.inflight_bytes >= INFLIGHT_BYTES_MAX
        for priority, queue in enumerate(queues):
            if full and priority:
                return None  # control goes on; it is bounded by its own queue
            while queue:
                head = queue.popleft()
                if isinstance(head, tuple):
                    if head[0] == frame.MESSAGE:
                        self._queued_messages -= 1
                        self._queued_bytes -= len(head[3])
                    return head
                given = head.take()
                if given is None:
                    continue
                if head.queued:
                    queue.append(head)
                kind, payload = given
                if kind in (frame.CLOSE, frame.REFUSE):
                    self.channels.pop(head.number, None)
                elif kind == frame.DATA:
                    head.wake()
                return kind, head.priority, head.number, payload
        return None

    def _settle(self, ack: int) -> None:
        """Forget what the peer has received."""
        if ack > self._seq:
            raise PeerBroke("acknowledges what was never sent")
        self._acked = max(self._acked, ack)
        sent = self._sent
        while sent and sent[0][0] <= ack:
            self.inflight_bytes -= len(sent.popleft()[4]) + _HEADER_BYTES
        if not self.asked and self.inflight_bytes < INFLIGHT_BYTES_MAX and any(self._queues):
            self.asked = True
            self._owner.session_ready()

    def _receive_rest(self, kind: int, priority: int, number: int, payload: memoryview) -> None:
        if kind in (frame.OPEN, frame.RELAY):
            self._receive_open(kind, number, priority, bytes(payload))
            return
        channel = self.channels.get(number)
        if channel is None:
            return  # it has ended here while this was on its way
        if kind == frame.CREDIT:
            channel.on_credit(payload)
        elif kind == frame.ACCEPT:
            channel.on_accept()
        elif kind == frame.EOF:
            channel.on_eof()
        else:
            del self.channels[number]
            ending = Ending.REFUSED if kind == frame.REFUSE else Ending.DONE
            channel.on_end(ending, decode_reason(payload))

    def _receive_open(self, kind: int, number: int, priority: int, hello: bytes) -> None:
        if number & 1 == self._parity or not number or number in self.channels:
            raise PeerBroke(f"opens channel {number}, which is not its to open")
        if len(hello) > HELLO_BYTES_MAX:
            raise PeerBroke(f"a channel hello of {len(hello)} bytes")
        channel = Channel(self, number, priority, None)
        if len(self.channels) >= CHANNELS_MAX:
            channel.refuse("too many channels")
            return
        self.channels[number] = channel
        channel.relayed = kind == frame.RELAY
        if channel.relayed:
            self._owner.session_relay(channel, hello)
        else:
            self._owner.session_opened(channel, hello)
