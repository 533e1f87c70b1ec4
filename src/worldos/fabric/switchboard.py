"""The switchboard of a node: asks others to relay, is called through relays, and relays where it is willing.

The rules are in relay.py; this joins them to the peers and links of one node. All three are of one account: kin are
reached directly or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worldos.errors import BadRequest
from worldos.fabric import frame
from worldos.fabric.channel import Channel
from worldos.fabric.limits import HANDSHAKE_NS_MAX, RELAY_CHANNELS_PER_PEER_MAX
from worldos.fabric.link import Carrier, Link
from worldos.fabric.peer import Peer
from worldos.fabric.relay import RELAY_PRIORITY, ChannelCarrier, called_by, reach, read_words, splice
from worldos.model.ids import NodeId


class SwitchboardHost(Protocol):
    """What a switchboard needs of the fabric."""

    node: NodeId
    peers: dict[NodeId, Peer]

    def now_ns(self) -> int:
        """Return the moment by the steady clock."""

    def is_member(self, node: NodeId) -> bool:
        """Whether a node is of our account."""

    def relayed_link(self, carrier: Carrier, node: NodeId, via: NodeId, *, dialed: bool) -> Link | None:
        """Make a link through a relay, with its handshake timer; None where too many are half open."""

    def later(self, delay_ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call after a while."""


@dataclass(frozen=True, eq=False, slots=True)
class Splice:
    """Two channels that are joined here, and between whom."""

    caller_node: NodeId
    target_node: NodeId
    caller: Channel
    target: Channel
    ended: Callable[[], None]


class Switchboard:
    """Relaying, from all three places."""

    def __init__(self, host: SwitchboardHost, *, willing: bool) -> None:
        self._host = host
        self._willing = willing
        self.relayed: dict[NodeId, int] = {}  # caller -> channels spliced for it now
        self._spliced: set[Splice] = set()

    def seek(self, peer: Peer) -> None:
        """Ask those who may reach a peer, the nearest first."""
        now_ns = self._host.now_ns()
        if not self._host.is_member(peer.node):
            return
        members = [other for node, other in self._host.peers.items() if self._host.is_member(node)]
        sound = [other for other in members if other is not peer and _sound(other, now_ns)]
        sound.sort(key=lambda other: (other.active.rtt_us if other.active else 0, other.node))
        for node in peer.relays.pick([other.node for other in sound], now_ns):
            self._ask(self._host.peers[node], peer)

    def called(self, peer: Peer, channel: Channel, words: bytes) -> None:
        """Take a channel that a peer opened: it relays somebody to us, or wants to be relayed."""
        called, node = read_words(words)
        if not self._host.is_member(peer.node) or not self._host.is_member(node):
            channel.refuse("not of one account")
        elif called:
            self._answer(peer, channel, node)
        else:
            self._pass_on(peer, channel, node)

    def direct_lost(self, node: NodeId) -> None:
        """Hang up what is relayed to or from a node that is not reached directly any more.

        Else two that relay to the same dead node for each other would believe it alive until it is silent for too long.
        """
        for joined in [each for each in self._spliced if node in (each.caller_node, each.target_node)]:
            self._spliced.discard(joined)
            for channel in (joined.caller, joined.target):
                if not channel.closed:
                    channel.abort("the relay does not reach the other end any more")
            joined.ended()

    # -- inside ------------------------------------------------------------------------------------

    def _ask(self, relay: Peer, peer: Peer) -> None:
        search = peer.relays

        def begin(carrier: ChannelCarrier) -> Link | None:
            search.asked.discard(relay.node)
            if peer.paths.has_relay() and not peer.paths.in_doubt(self._host.now_ns()):
                return None
            return self._host.relayed_link(carrier, peer.node, relay.node, dialed=True)

        def ended() -> None:
            search.asked.discard(relay.node)
            search.refused.add(relay.node)

        carrier = ChannelCarrier(self._host.now_ns, begin, ended)
        try:
            channel = relay.session.open(reach(peer.node), RELAY_PRIORITY, carrier, frame.RELAY)
        except BadRequest:
            ended()  # too many channels to this one
            return
        carrier.attach(channel)
        self._host.later(HANDSHAKE_NS_MAX, carrier.expire)

    def _answer(self, relay: Peer, channel: Channel, origin: NodeId) -> None:
        if origin in (self._host.node, relay.node):
            channel.refuse("not for this caller")
            return

        def begin(carrier: ChannelCarrier) -> Link | None:
            return self._host.relayed_link(carrier, origin, relay.node, dialed=False)

        carrier = ChannelCarrier(self._host.now_ns, begin, _nothing)
        carrier.attach(channel)
        carrier.begin()
        if not channel.closed:
            channel.accept(carrier)

    def _pass_on(self, caller: Peer, channel: Channel, target: NodeId) -> None:
        peer = self._host.peers.get(target)
        if not self._willing or peer is None or peer is caller or not _sound(peer, self._host.now_ns()):
            channel.refuse("does not reach that node")
            return
        if self.relayed.get(caller.node, 0) >= RELAY_CHANNELS_PER_PEER_MAX:
            channel.refuse("relays enough for you")
            return
        self.relayed[caller.node] = self.relayed.get(caller.node, 0) + 1
        live = [caller.node]
        spliced: list[Splice] = []

        def ended() -> None:
            if live:
                self.relayed[live.pop()] -= 1
            self._spliced.difference_update(spliced)

        words = called_by(caller.node)
        try:
            far = splice(channel, lambda half: peer.session.open(words, RELAY_PRIORITY, half, frame.RELAY), ended)
        except BadRequest:
            ended()
            channel.refuse("too many channels to that node")
            return
        spliced.append(Splice(caller.node, target, channel, far, ended))
        self._spliced.update(spliced)


def _sound(peer: Peer, now_ns: int) -> bool:
    """Whether there is a direct link to a peer that may be believed alive."""
    return peer.active is not None and not peer.active.via and not peer.paths.in_doubt(now_ns)


def _nothing() -> None:
    """Do nothing: who is called has nobody else to ask."""
