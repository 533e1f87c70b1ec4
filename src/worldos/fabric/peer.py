"""Peers: all that this node has with one other node: a session, the links under it, and which of them is in use.

The session stays while links come and go. Each end chooses the link that it sends on; it receives on all. Two
direct links at once happen when both ends dial: the one dialed by the smaller id stays, and only the dialer of the
other closes it, when the one that stays has answered: so the ends never close both, and neither is without a link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, assert_never

from worldos.errors import NotAllowed
from worldos.fabric.channel import Channel
from worldos.fabric.limits import (
    ACK_DELAY_NS,
    ADDRESSES_PER_PEER_MAX,
    FLUSH_BYTES,
    REFUSED_NS,
    RTT_NOISE_US,
    SESSION_SILENT_NS_MAX,
    SESSIONS_PER_LIFE,
)
from worldos.fabric.link import Hello, Link, Sink
from worldos.fabric.paths import Action, Ask, Drop, Paths, SeekRelay, Use
from worldos.fabric.relay import RelaySearch
from worldos.fabric.session import Session
from worldos.fabric.tcp import format_address, is_near
from worldos.model.ids import NodeId


class Handler(Protocol):
    """Who is told what the fabric sees. All calls come from the event loop and must not block."""

    def on_peer(self, node: NodeId, boot: int, via: str, rtt_us: int) -> None:
        """Note that a node can be reached. ``via``: empty for direct, else the relaying node; 0 us: not measured."""

    def on_peer_lost(self, node: NodeId, reason: str) -> None:
        """No link is left. A hint: the session waits for a new one, and what was sent is kept."""

    def on_message(self, node: NodeId, message: bytes) -> None:
        """Note that a message came: exactly once, in the order of its priority."""

    def on_undelivered(self, node: NodeId, messages: list[bytes]) -> None:
        """Take back what may not have arrived when a session ended; some may have, without the news of it."""

    def on_path(self, node: NodeId, via: str, rtt_us: int) -> None:
        """Note that the way to a node changed, or was measured and differs."""

    def on_beacon(self, node: NodeId, account: str, address: str, facts: bytes) -> None:
        """Note that a member's signed beacon was heard (not yet believed: a link proves it)."""

    def on_channel(self, node: NodeId, channel: Channel, hello: bytes) -> None:
        """Note that a node opened a channel: ``accept`` or ``refuse`` it, now or later."""


class PeerHost(Protocol):
    """What a peer needs of the fabric that it belongs to."""

    node: NodeId
    boot: int
    port: int
    handler: Handler

    def now_ns(self) -> int:
        """Return the moment by the node's steady clock."""

    def fresh_id(self) -> int:
        """Return a number above all that it returned in this life, not 0."""

    def later(self, delay_ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call after a while."""

    def dirty(self, peer: Peer) -> None:
        """Flush this peer at the end of this turn of the loop."""

    def flush_dirty(self) -> None:
        """Flush now all peers that are dirty."""

    def link_up(self, link: Link) -> None:
        """Note that a link needs no handshake timer any more."""

    def link_closed(self, link: Link) -> None:
        """Note that a link of a known node is over."""

    def direct_lost(self, peer: Peer) -> None:
        """Note that the last direct link to a peer is over."""

    def relay_called(self, peer: Peer, channel: Channel, words: bytes) -> None:
        """Note that the peer wants to be relayed, or relays somebody to this node."""

    def seek_relay(self, peer: Peer) -> None:
        """Look for a node that reaches this peer."""

    def dial(self, peer: Peer) -> None:
        """Keep trying the peer's addresses."""


class Peer:
    """One other node."""

    def __init__(self, host: PeerHost, node: NodeId) -> None:
        self._host = host
        self.node = node
        self.boot = 0  # not yet known
        self.paths: Paths[Link] = Paths(first=host.node < node)
        self.addresses: list[str] = []
        self.news = asyncio.Event()  # there is a reason to dial now
        self.linked = asyncio.Event()  # a direct link is up
        self.unlinked = asyncio.Event()  # no direct link is up
        self.unlinked.set()
        self.relays = RelaySearch()
        self._lost_ns = host.now_ns()  # when the last link went
        self._told_rtt_us = 0
        self._told_via: str | None = None
        self._received = 0  # in the session, when the last batch ended
        self._ended = False
        self._proved: set[str] = set()  # addresses at which it was met in this life of ours
        self._refused_ns = -REFUSED_NS
        self._rewound_ns = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self.session = self._new_session(host.fresh_id())

    # -- what the owner does -----------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the session has, as long as the link takes it."""
        link = self.active
        if link is None or not link.writable:
            return
        session, now_ns = self.session, self._host.now_ns()
        while session.asked and link.writable:
            out = session.take(FLUSH_BYTES)
            if out and session.waits:
                link.write(out, now_ns)
            elif out:
                link.tell(b"".join(out))

    def tick(self, now_ns: int) -> None:
        """Look after time: called every ``TICK_NS``."""
        session = self.session
        self._act(self.paths.tick(now_ns, unacked=session.waits, busy=session.busy))
        if not self.links and now_ns - self._lost_ns > SESSION_SILENT_NS_MAX:
            self._lost_ns = now_ns
            self._restart_session(self._host.fresh_id(), "not reached for too long")

    def end(self, reason: str) -> None:
        """Close all links and end the session; nothing begins again here."""
        self._ended = True
        for link in list(self.links):
            link.close(reason)
        self._restart_session(self._host.fresh_id(), reason)
        if self._ack_timer is not None:
            self._ack_timer.cancel()

    @property
    def at_work(self) -> bool:
        """Whether something is under way with it, or it owes an answer: every tick counts."""
        session, active = self.session, self.active
        if session.waits or session.channels:
            return True
        return active is not None and active.asked_ns > active.heard_ns

    @property
    def links(self) -> list[Link]:
        """The links that are up."""
        return self.paths.ways

    @property
    def active(self) -> Link | None:
        """The link in use."""
        return self.paths.active

    def learn(self, addresses: list[str]) -> None:
        """Remember addresses, the newest first."""
        known = [address for address in self.addresses if address not in addresses]
        self.addresses[:] = [*dict.fromkeys(addresses), *known][:ADDRESSES_PER_PEER_MAX]

    def refused(self, address: str) -> None:
        """Note that nobody listens any more where the peer did: with no link left, its process has ended."""
        if address in self._proved:
            self._refused_ns = self._host.now_ns()
            self._bury()

    # -- what the session says ---------------------------------------------------------------------

    def session_message(self, message: bytes) -> None:
        """Hand on."""
        self._host.handler.on_message(self.node, message)

    def session_opened(self, channel: Channel, hello: bytes) -> None:
        """Hand on."""
        self._host.handler.on_channel(self.node, channel, hello)

    def session_ready(self) -> None:
        """Write at the end of this turn."""
        self._host.dirty(self)

    def session_relay(self, channel: Channel, words: bytes) -> None:
        """Hand on."""
        self._host.relay_called(self, channel, words)

    # -- what a link says --------------------------------------------------------------------------

    def link_hello(self, link: Link) -> Hello:
        """Return our first words."""
        session = self.session
        link.session = session.my_id
        return Hello(self._host.boot, session.my_id, session.peer_id, session.received, self._host.port)

    def link_greeted(self, link: Link, hello: Hello) -> Sink:
        """Note that the peer lives and knows us."""
        self._check_first_words(link, hello)
        if not self.session.meet(hello.session, hello.known, hello.received):
            for other in list(self.links):
                other.abort("the node restarted")
            self._restart_session(self.session.my_id, "the node restarted")
            self.session.meet(hello.session, 0, 0)
        if self._ended:
            raise NotAllowed(f"{self.node} was forgotten")
        self.boot = hello.boot
        first = not self.links
        now_ns = self._host.now_ns()
        self._host.link_up(link)
        if not link.via:
            self.linked.set()
            self.unlinked.clear()
            self._note_address(link, hello.port)
        self._act(self.paths.add(link, now_ns))
        if first:
            self._host.handler.on_peer(self.node, self.boot, link.via, link.rtt_us)
        return self.session.receive

    def link_fed(self, link: Link) -> None:
        """Write the answers of this batch, and tell what came."""
        self._host.flush_dirty()
        session = self.session
        if session.received != self._received:
            self._received = session.received
            if link is not self.active:  # data came on a way that is not ours
                self._act(self.paths.follow(link, self._host.now_ns()))
        if session.ack_owed():
            if session.ack_urgent():
                (self.active or link).tell(session.ack_frame())
            elif self._ack_timer is None:
                self._ack_timer = self._host.later(ACK_DELAY_NS, self._ack)

    def link_state(self) -> tuple[int, int]:
        """Return the highest number sent, and the highest received."""
        return self.session.sent, self.session.received

    def link_measured(self, link: Link, asked_ns: int, sent: int) -> None:
        """Send again what did not get through; tell the owner when the way differs by more than noise."""
        if link is self.active and sent > self.session.acked and asked_ns > self._rewound_ns:
            self._rewind()  # it was written before the question on the same link, and yet was not taken
        noise_us = max(self._told_rtt_us // 3, RTT_NOISE_US) if self._told_rtt_us else 0
        if link is self.active and abs(link.rtt_us - self._told_rtt_us) > noise_us:
            self._told_rtt_us = link.rtt_us
            self._host.handler.on_path(self.node, link.via, link.rtt_us)
        if len(self.links) > 1:
            for useless in self.paths.doubles(self._host.now_ns()):
                useless.close("another link stays")

    def link_writable(self, link: Link) -> None:
        """Go on writing."""
        if link is self.active:
            self.flush()

    def link_closed(self, link: Link, reason: str) -> None:
        """One way less."""
        self._host.link_closed(link)
        if link not in self.links:
            return
        self._act(self.paths.remove(link, self._host.now_ns()))
        self.relays.restart()
        if not self.paths.has_direct():
            self.linked.clear()
            self.unlinked.set()
            if not link.via:
                self._host.direct_lost(self)
        if not self.links:
            self._lost_ns = self._host.now_ns()
            self._told_rtt_us = 0
            self._told_via = None
            self._host.handler.on_peer_lost(self.node, reason)
            self._bury()

    # -- inside ------------------------------------------------------------------------------------

    def _check_first_words(self, link: Link, hello: Hello) -> None:
        """Refuse a link on which one of us named a session that is over: the other would begin anew what goes on.

        First words may be long on their way, and what they name may end meanwhile. Who comes again names what is. A copy of
        its disk in the same life names what nobody knows, and must be seen.
        """
        is_late = hello.boot == self.boot and 0 < self.session.peer_id - hello.session < SESSIONS_PER_LIFE
        if is_late or link.session != self.session.my_id:
            raise NotAllowed("first words of a session that is over")

    def _new_session(self, my_id: int) -> Session:
        return Session(self.node, my_id, self, odd=self._host.node < self.node)

    def _restart_session(self, my_id: int, reason: str) -> None:
        old, self.session = self.session, self._new_session(my_id)
        self._received = 0
        self._proved.clear()
        lost = old.end(reason)
        if lost:
            self._host.handler.on_undelivered(self.node, lost)

    def _note_address(self, link: Link, port: int) -> None:
        """Remember where the peer listens, as seen from here."""
        if link.dialed:
            self._proved.add(link.host)
        elif port and link.host:
            address = format_address((link.host, port))
            if is_near(link.host):
                self._proved.add(address)
            self.learn([*self.addresses, address])  # the last resort: it may be a gateway's
            self._host.dial(self)

    def _bury(self) -> None:
        """End the session of a process that has ended, without waiting for it to come back."""
        now_ns = self._host.now_ns()
        if not self.links and self.session.peer_id and now_ns - self._refused_ns < REFUSED_NS:
            self._lost_ns = now_ns
            self._restart_session(self._host.fresh_id(), "the node is gone")

    def _ack(self) -> None:
        self._ack_timer = None
        if self.active is not None and self.session.ack_owed():
            self.active.tell(self.session.ack_frame())

    def _act(self, actions: list[Action[Link]]) -> None:
        for action in actions:
            match action:
                case Ask(way):
                    way.ping(self._host.now_ns())
                case Use(way):
                    self._use(way)
                case Drop(way, why):
                    way.abort(why)
                case SeekRelay():
                    self._host.seek_relay(self)
                case _:
                    assert_never(action)

    def _rewind(self) -> None:
        self._rewound_ns = self._host.now_ns()
        self.session.rewind()
        self.flush()

    def _use(self, link: Link) -> None:
        self._rewind()
        if self._told_via is not None and self._told_via != link.via:
            self._host.handler.on_path(self.node, link.via, link.rtt_us)
            self._told_rtt_us = link.rtt_us
        self._told_via = link.via
