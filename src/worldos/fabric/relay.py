"""Relays: any willing member carries bytes between two others that do not reach each other.

A asks R with a channel whose first words are ``0x00 || id of X``; R opens one to X with ``0x01 || id of A`` and splices the
two. Inside runs a whole link between A and X, mutual TLS included, so R sees two ids and sizes, and can neither read nor
forge. R takes part only where X is a member to which it has a sound direct link (so relays never chain), for a bounded
number of channels per member, and refuses at once otherwise. Both channels have credit, so R never buffers more than a window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worldos.errors import PeerBroke
from worldos.fabric.channel import Channel, Ending
from worldos.fabric.limits import RELAY_RETRY_NS_MAX, RELAY_RETRY_NS_MIN, RELAYS_ASKED_AT_ONCE
from worldos.fabric.link import Link
from worldos.model.ids import NodeId

_REACH: Final = 0
_CALLED: Final = 1
_NODE_ID_CHARS_MAX: Final = 64
RELAY_PRIORITY: Final = 1


def reach(target: NodeId) -> bytes:
    """Make the words by which a relay is asked to reach ``target``."""
    return bytes((_REACH,)) + target.encode()


def called_by(origin: NodeId) -> bytes:
    """Make the words by which a relay tells the target who calls."""
    return bytes((_CALLED,)) + origin.encode()


def read_words(words: bytes) -> tuple[bool, NodeId]:
    """Read either: (whether this node is the one called, the node named)."""
    if not 1 < len(words) <= 1 + _NODE_ID_CHARS_MAX or words[0] not in (_REACH, _CALLED) or not words.isascii():
        raise PeerBroke("asks a relay for what no relay does")
    return words[0] == _CALLED, NodeId(words[1:].decode("ascii"))


class Half:
    """What is received from one of two joined channels goes into the other (``channel.Receiver``)."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._source: Channel | None = None
        self._sink: Channel | None = None
        self._reverse: Half | None = None

    def join(self, source: Channel, sink: Channel, reverse: Half) -> None:
        """Set both channels; ``reverse`` is the half of the other direction."""
        self._source, self._sink, self._reverse = source, sink, reverse

    def accepted(self) -> None:
        """Take the caller's channel now that the target took ours: bytes may already wait in it."""
        if self._sink is not None and self._reverse is not None:
            self._sink.accept(self._reverse)

    def data_received(self, data: memoryview) -> None:
        """Pass on; hold the source while the sink has enough."""
        if self._sink is not None and self._source is not None:
            self._sink.write(bytes(data))
            if not self._sink.writable:
                self._source.pause()

    def eof_received(self) -> None:
        """Pass on."""
        if self._sink is not None:
            self._sink.eof()

    def writable(self) -> None:
        """Let the other direction flow again: it ends in our source."""
        if self._sink is not None:
            self._sink.resume()

    def closed(self, ending: Ending, reason: str) -> None:
        """End the other channel the same way."""
        sink = self._sink
        if sink is not None and ending is Ending.REFUSED:
            sink.refuse(reason)
        elif sink is not None and ending is Ending.BROKEN:
            sink.abort(reason)
        elif sink is not None:
            sink.close(reason)
        self._ended()


def splice(caller: Channel, open_target: Callable[[Half], Channel], ended: Callable[[], None]) -> Channel:
    """Join a caller's channel to one that is opened to the target; return this. ``ended`` may be called twice."""
    forth, back = Half(ended), Half(ended)
    target = open_target(back)
    back.join(target, caller, forth)
    forth.join(caller, target, back)
    return target


class RelaySearch:
    """Which relays were asked for one peer, and when the next may be: each refusal rules one out until all have refused."""

    def __init__(self) -> None:
        self.refused: set[NodeId] = set()
        self.asked: set[NodeId] = set()  # no answer yet
        self._next_ns = 0
        self._pause_ns = RELAY_RETRY_NS_MIN

    def restart(self) -> None:
        """Ask again without a pause: something has changed."""
        self.refused.clear()
        self._next_ns, self._pause_ns = 0, RELAY_RETRY_NS_MIN

    def pick(self, candidates: list[NodeId], now_ns: int) -> list[NodeId]:
        """Return whom to ask now, best first, and count them as asked."""
        if now_ns < self._next_ns:
            return []
        fresh = [node for node in candidates if node not in self.refused and node not in self.asked]
        if not fresh and not self.asked:
            self.refused.clear()
            self._next_ns = now_ns + self._pause_ns
            self._pause_ns = min(self._pause_ns * 2, RELAY_RETRY_NS_MAX)
        picked = fresh[: max(0, RELAYS_ASKED_AT_ONCE - len(self.asked))]
        self.asked.update(picked)
        return picked


class ChannelCarrier:
    """Carries a link over a channel through a relay: the relay's channel on one side, ``Link`` on the other."""

    def __init__(
        self, now_ns: Callable[[], int], begin: Callable[[ChannelCarrier], Link | None], ended: Callable[[], None]
    ) -> None:
        self._now_ns = now_ns
        self._begin = begin
        self._ended = ended
        self._channel: Channel | None = None
        self._link: Link | None = None

    def attach(self, channel: Channel) -> None:
        """Set the channel; its owner has opened it or is about to accept it."""
        self._channel = channel

    def expire(self) -> None:
        """Give up waiting for the far end to take the call."""
        if self._link is None and self._channel is not None and not self._channel.closed:
            self._channel.abort("no answer in time")
            self._ended()

    def begin(self) -> None:
        """Start the link; without one the channel is closed."""
        self._link = self._begin(self)
        if self._link is None:
            self.close()
        else:
            self._link.start(self._now_ns())

    # -- what the channel calls --------------------------------------------------------------------

    def accepted(self) -> None:
        """Speak: the far end has taken the call."""
        self.begin()

    def data_received(self, data: memoryview) -> None:
        """Hand on."""
        if self._link is not None:
            self._link.feed(data, self._now_ns())

    def eof_received(self) -> None:
        """End."""
        self.close()

    def writable(self) -> None:
        """Go on."""
        if self._link is not None:
            self._link.resume()

    def closed(self, ending: Ending, reason: str) -> None:
        """End the link."""
        self._ended()
        if self._link is not None:
            self._link.lost(reason or "the relay closed the way")

    # -- what the link calls -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send."""
        channel = self._channel
        if channel is not None:
            channel.write(data)
            if not channel.writable and not channel.closed and self._link is not None:
                self._link.pause()

    def close(self) -> None:
        """End after what was written."""
        if self._channel is not None:
            self._channel.close()

    def abort(self) -> None:
        """End now."""
        if self._channel is not None:
            self._channel.abort()
