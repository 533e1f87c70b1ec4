"""The fabric on asyncio: sockets, timers and tasks around the sans-I/O parts.

How an agent uses it (all in one event loop; callbacks must not block)::

    fabric = Fabric(
        Identity(key=device_key, account=account_id, boot=boot),
        handler,                                    # peer.Handler: on_peer, on_peer_lost, on_message, on_undelivered,
                                                    #               on_path, on_beacon, on_channel
        members={node_id: root_der, ...},           # trust.certs.root_certificate of each member device
        listen=("", 0) or None,                     # "" = all addresses; port 0 = any; None = only dials
        beacon=True, relay=True)
    await fabric.start(); fabric.port; ...; await fabric.close()
    fabric.set_members({...})                       # new ones count at once; live links of removed ones close at once
    fabric.welcome(node, root_der, ("host:port",))  # a node of another account: linked when it welcomes us too
    fabric.part(node, "why")                        # ... no more: its links close, and its root is not believed
    fabric.connect(node, ("host:port", "[v6]:port"))  # remembered; tried with backoff as long as it is a member
    fabric.forget(node, "left")                     # close links, end the session, forget the addresses
    fabric.send(node, b"...", priority=0) -> bool   # reliable message <= 1 MiB; False: too much waits for that node
    channel = fabric.open_channel(node, b"hello", receiver, priority=1)   # channel.Channel; write at once
    fabric.set_facts(b"...")                        # at most 1200 opaque bytes that go out with each beacon

Members are the devices of this node's account; *kin* are nodes of other accounts that it was told to welcome. Both
prove themselves by the root that is believed of them, and who is neither is a stranger. Kin relay for nobody here,
nobody is relayed to them, and beacons are of the account alone.

A *session* to a node outlives its links: ``on_peer_lost`` means that no link is left, not that anything was lost.
Messages and channels wait (bounded) and go on when a link is back, each message exactly once. A session ends when
the node restarted, is forgotten, or was not reached for 60 s: then its channels close with ``Ending.BROKEN``, and
messages that may not have arrived come back by ``on_undelivered``.

A ``Channel`` (see channel.py): ``write``, ``writable``, ``eof``, ``close(reason)``, ``abort``, ``pause``/``resume``
of receiving; its ``Receiver`` gets ``accepted, data_received, eof_received, writable, closed``. The far end's
``Handler.on_channel(node, channel, hello)`` calls ``channel.accept(receiver)`` or ``channel.refuse(reason)``, now
or later. ``pump.py`` joins a channel and a socket.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from worldos.errors import NotAllowed
from worldos.fabric.beacon import Beacon
from worldos.fabric.channel import Channel, Receiver
from worldos.fabric.limits import (
    BEACON_INTERFACES_NS,
    DIAL_RETRY_NS_MAX,
    DIAL_RETRY_NS_MIN,
    DIAL_STAGGER_NS,
    HALF_OPEN_MAX,
    HALF_OPEN_PER_HOST_MAX,
    HANDSHAKE_NS_MAX,
    IDLE_TICKS,
    KIN_MAX,
    LATE_NS,
    LEAF_RENEW_NS,
    PEERS_MAX,
    SECOND,
    TICK_NS,
)
from worldos.fabric.link import Carrier, Link, State
from worldos.fabric.multicast import Multicast
from worldos.fabric.peer import Handler, Peer
from worldos.fabric.switchboard import Switchboard
from worldos.fabric.tcp import Address, TcpCarrier, format_address, listening_socket, parse_address
from worldos.fabric.tls import Credentials, TlsPipe
from worldos.model.ids import AccountId, NodeId
from worldos.trust.certs import fresh_leaf, node_of_certificate
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import check_root

__all__ = ["Fabric", "Handler", "Identity", "PeerStatistics", "Statistics"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is. ``boot`` counts its lives."""

    key: DeviceKey
    account: AccountId
    boot: int


class PeerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one peer. ``via`` is None without a link, empty for a direct one, else the relaying node."""

    node: NodeId
    boot: int
    via: str | None
    rtt_us: int
    links: int
    channels: int
    inflight_bytes: int
    sent_bytes: int
    received_bytes: int
    resent_frames: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the fabric does now, and how many strangers it turned away."""

    peers: tuple[PeerStatistics, ...]
    half_open: int
    refused: int
    relayed: int  # channels carried for others now


class Fabric:
    """All links, sessions and channels of one node."""

    def __init__(
        self,
        identity: Identity,
        handler: Handler,
        *,
        members: Mapping[NodeId, bytes],
        listen: Address | None = ("", 0),
        beacon: bool = False,
        relay: bool = True,
    ) -> None:
        self.handler = handler
        self.node = identity.key.node_id
        self.boot = identity.boot
        self.port = 0
        self._identity = identity
        self._listen = listen
        self._beacon_wanted = beacon and listen is not None
        self._beacon: Beacon | None = None
        self._multicast: Multicast | None = None
        self._facts = b""
        self._interfaces_ns = 0  # when was last looked for new ones
        self._switchboard = Switchboard(self, willing=relay)
        self._members = dict(members)
        self._kin: dict[NodeId, bytes] = {}
        self.peers: dict[NodeId, Peer] = {}
        self._dials: dict[NodeId, asyncio.Task[None]] = {}
        self._credentials = Credentials(*self._fresh_leaf(), self._members.values())
        self._handshakes: dict[Link, asyncio.TimerHandle] = {}
        self._door: dict[Link, str] = {}  # accepted, not yet up, and from which host
        self._settled: dict[Link, asyncio.Future[None]] = {}  # dialed, somebody waits
        self._dirty: list[Peer] = []
        self._flush_scheduled = False
        self._refused = 0
        self._server: asyncio.Server | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._ticked_ns = self._ticks = 0
        self._renewed_ns = time.time_ns()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dice = random.Random(secrets.randbits(64))
        self._ids = itertools.count(1 + secrets.randbits(62))

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the door and begin to look for the members."""
        loop = self._loop = asyncio.get_running_loop()
        if self._listen is not None:
            raw = listening_socket(self._listen)
            self.port = raw.getsockname()[1]
            self._server = await loop.create_server(self._accepting, sock=raw)
        if self._beacon_wanted:
            self._start_beacon()
        self._ticked_ns = self.now_ns()
        self._tick()
        for node in sorted(self.peers):
            self.dial(self.peers[node])

    async def close(self) -> None:
        """Close everything; nothing is called afterwards."""
        if self._server is not None:
            self._server.close()
        if self._multicast is not None:
            self._multicast.close()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        for task in (tasks := list(self._dials.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._handshakes):
            link.abort("this node stops")
        for node in sorted(self.peers):
            self.peers[node].end("this node stops")
        self.peers.clear()
        await asyncio.sleep(0)  # let the transports say good-bye

    # -- what the agent does -----------------------------------------------------------------------

    def set_members(self, members: Mapping[NodeId, bytes]) -> None:
        """Take the whole membership: node -> root certificate (DER)."""
        removed = sorted(self._members.keys() - members.keys())
        self._members = dict(members)
        self._kin = {node: root for node, root in self._kin.items() if node not in self._members}
        self._believe()
        for node in removed:
            self.forget(node, "no member any more")

    def welcome(self, node: NodeId, root_der: bytes, addresses: Iterable[str]) -> None:
        """Believe a node of another account, and keep a link to it; again: at these addresses too.

        Raises ``PeerBroke`` for a root that is not the node's, ``NotAllowed`` where too many are welcome already.
        """
        check_root(node, root_der)
        if node == self.node or node in self._members:
            return
        if node not in self._kin:
            if len(self._kin) >= KIN_MAX:
                raise NotAllowed(f"more than {KIN_MAX} nodes of other accounts")
            self._kin[node] = root_der
            self._credentials.add(root_der)
        self.connect(node, addresses)

    def part(self, node: NodeId, reason: str) -> None:
        """Take back a welcome: close all links at once, and let nobody prove to be this node any more."""
        if self._kin.pop(node, None) is not None:
            self._believe()
            self.forget(node, reason)

    def connect(self, node: NodeId, addresses: Iterable[str]) -> None:
        """Remember addresses of a member or kin, best first, and keep trying until a direct link is up."""
        if not self._knows(node):
            return
        peer = self._peer(node)
        peer.learn([format_address(parse_address(address)) for address in addresses])
        peer.news.set()
        self.dial(peer)

    def forget(self, node: NodeId, reason: str) -> None:
        """Close all links to a node and end its session; as a member or kin it may come back by itself."""
        dial = self._dials.pop(node, None)
        if dial is not None:
            dial.cancel()
        peer = self.peers.pop(node, None)
        if peer is not None:
            peer.end(reason)

    def send(self, node: NodeId, message: bytes, priority: int = 0, *, pressing: bool = True) -> bool:
        """Send a message exactly once, now or when the node can be reached. False: it was not taken.

        Not ``pressing`` is an answer whose arrival nobody waits for: it wakes nobody for an acknowledgement.
        """
        peer = self.peers.get(node)
        if peer is None:
            if not self._knows(node):
                return False
            peer = self._peer(node)
        return peer.session.send(message, priority, pressing=pressing)

    def open_channel(self, node: NodeId, hello: bytes, receiver: Receiver, priority: int = 1) -> Channel:
        """Open a byte stream to a node. Raises ``NotAllowed`` for a stranger."""
        if not self._knows(node):
            raise NotAllowed(f"{node} is a stranger")
        return self._peer(node).session.open(hello, priority, receiver)

    def set_facts(self, facts: bytes) -> None:
        """Let these bytes (at most 1200) go out with each beacon, the next one soon."""
        self._facts = facts
        if self._beacon is not None:
            self._beacon.set_facts(facts, self.now_ns())

    def statistics(self) -> Statistics:
        """Return a snapshot."""
        return Statistics(
            peers=tuple(_peer_statistics(self.peers[node]) for node in sorted(self.peers)),
            half_open=len(self._door),
            refused=self._refused,
            relayed=sum(self._switchboard.relayed.values()),
        )

    # -- what peers need (peer.PeerHost) -----------------------------------------------------------

    def now_ns(self) -> int:
        """Return the moment by the steady clock."""
        return time.monotonic_ns()

    def fresh_id(self) -> int:
        """Return a number above all that it returned in this life, not 0."""
        return next(self._ids)

    def later(self, delay_ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call after a while."""
        assert self._loop is not None, "the fabric has started"
        return self._loop.call_later(delay_ns / SECOND, call)

    def dirty(self, peer: Peer) -> None:
        """Flush this peer at the end of this turn of the loop."""
        self._dirty.append(peer)
        if not self._flush_scheduled and self._loop is not None:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_late)

    def flush_dirty(self) -> None:
        """Flush now all peers that are dirty."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for peer in dirty:
                peer.flush()

    def link_up(self, link: Link) -> None:
        """Note that it has proved itself: no timer runs any more."""
        self._settle(link)
        if not link.via:
            for peer in self.peers.values():
                if peer.active is None:
                    peer.relays.restart()

    def link_closed(self, link: Link) -> None:
        """Note that a link of a known node is over."""
        self._settle(link)

    def direct_lost(self, peer: Peer) -> None:
        """Hand on."""
        self._switchboard.direct_lost(peer.node)

    def relay_called(self, peer: Peer, channel: Channel, words: bytes) -> None:
        """Hand on."""
        self._switchboard.called(peer, channel, words)

    def seek_relay(self, peer: Peer) -> None:
        """Hand on."""
        self._switchboard.seek(peer)

    def dial(self, peer: Peer) -> None:
        """Keep trying a peer's addresses while no direct link is up."""
        if self._loop is not None and peer.node not in self._dials and peer.addresses:
            task = self._dials[peer.node] = self._loop.create_task(self._dial_forever(peer))
            task.add_done_callback(lambda task: self._dial_ended(peer.node, task))

    def is_member(self, node: NodeId) -> bool:
        """Whether a node is of our account: for such alone others relay, and beacons count."""
        return node in self._members

    def relayed_link(self, carrier: Carrier, node: NodeId, via: NodeId, *, dialed: bool) -> Link | None:
        """Make a link to a node through a relay; None where too many are half open."""
        link = self._new_link(carrier, dialed=True, via=via) if dialed else self._accept(carrier, via, via=via)
        if link is not None:
            link.expected = node
        return link

    # -- what links need (link.Door) ---------------------------------------------------------------

    def link_proved(self, link: Link, leaf_der: bytes) -> Peer:
        """Say whose link this is; raise for a stranger."""
        node = node_of_certificate(leaf_der)
        if not self._knows(node):
            raise NotAllowed(f"{node} is a stranger")
        if link.expected not in ("", node):
            raise NotAllowed(f"{node} is there, not {link.expected}")
        return self._peer(node)

    def link_refused(self, link: Link, reason: str) -> None:
        """Note that a stranger is gone."""
        self._refused += 1
        self._settle(link)

    # -- inside ------------------------------------------------------------------------------------

    def _knows(self, node: NodeId) -> bool:
        return node != self.node and (node in self._members or node in self._kin)

    def _believe(self) -> None:
        self._credentials.believe([*self._members.values(), *self._kin.values()])

    def _fresh_leaf(self) -> tuple[bytes, bytes]:
        return fresh_leaf(self._identity.key, int(time.time()), secrets.token_bytes(32))

    def _peer(self, node: NodeId) -> Peer:
        peer = self.peers.get(node)
        if peer is None:
            if len(self.peers) >= PEERS_MAX:
                raise NotAllowed(f"more than {PEERS_MAX} peers")
            peer = self.peers[node] = Peer(self, node)
        return peer

    def _flush_late(self) -> None:
        self._flush_scheduled = False
        self.flush_dirty()

    def _settle(self, link: Link) -> None:
        """Note that a link is up or over: stop its handshake timer and tell who dialed it."""
        self._door.pop(link, None)
        settled = self._settled.pop(link, None)
        if settled is not None and not settled.done():
            settled.set_result(None)
        timer = self._handshakes.pop(link, None)
        if timer is not None:
            timer.cancel()

    def _accepting(self) -> TcpCarrier:
        return TcpCarrier(self._accepted, self.now_ns)

    def _accepted(self, carrier: TcpCarrier, address: Address) -> Link | None:
        return self._accept(carrier, address[0])

    def _accept(self, carrier: Carrier, origin: str, via: str = "") -> Link | None:
        """Let somebody try to prove who it is; ``origin`` is a host or a relay, and each has a few tries at one time."""
        if len(self._door) >= HALF_OPEN_MAX or list(self._door.values()).count(origin) >= HALF_OPEN_PER_HOST_MAX:
            self._refused += 1
            return None
        link = self._new_link(carrier, dialed=False, via=via)
        link.host = "" if via else origin
        self._door[link] = origin
        return link

    def _new_link(self, carrier: Carrier, *, dialed: bool, via: str = "") -> Link:
        link = Link(self, TlsPipe(self._credentials, dialed=dialed), carrier, dialed=dialed, via=via)
        self._handshakes[link] = self.later(HANDSHAKE_NS_MAX, lambda: link.abort("no handshake in time"))
        return link

    def _tick(self) -> None:
        """Look after time. The next tick is set first: a fault in what is called must not stop the clock."""
        self._tick_timer = self.later(TICK_NS, self._tick)
        now_ns = self.now_ns()
        late_ns = now_ns - self._ticked_ns - TICK_NS
        self._ticked_ns = now_ns
        self._ticks += 1
        self._tick_beacon(now_ns)
        for peer in list(self.peers.values()):
            if late_ns > LATE_NS:  # we slept, not they
                for link in peer.links:
                    link.forgive(late_ns)
            if peer.at_work or not self._ticks % IDLE_TICKS:
                peer.tick(now_ns)
        if abs(time.time_ns() - self._renewed_ns) > LEAF_RENEW_NS:  # a certificate ages by the clock on the wall
            self._renewed_ns = time.time_ns()
            self._credentials.renew(*self._fresh_leaf())

    def _start_beacon(self) -> None:
        assert self._listen is not None, "a beacon says where to dial"
        host = self._listen[0]
        identity = self._identity
        self._beacon = Beacon(identity.key, identity.account, identity.boot, host=host, port=self.port)
        self._beacon.set_facts(self._facts, self.now_ns())
        self._multicast = Multicast(self._hear, host=host)
        self._multicast.start()

    def _hear(self, datagram: bytes, source: str) -> None:
        if self._beacon is None:
            return
        heard = self._beacon.hear(datagram, source, self.now_ns(), self.is_member)
        if heard is None:
            return
        address = format_address((heard.host, heard.port))
        if self.is_member(heard.node):
            self.connect(heard.node, [address])
        self.handler.on_beacon(heard.node, heard.account, address, heard.facts)

    def _tick_beacon(self, now_ns: int) -> None:
        if self._beacon is None or self._multicast is None:
            return
        datagram = self._beacon.emit(now_ns)
        if datagram is not None:
            self._multicast.send(datagram)
        if now_ns - self._interfaces_ns > BEACON_INTERFACES_NS:
            self._interfaces_ns = now_ns
            self._multicast.refresh()

    # -- dialing -----------------------------------------------------------------------------------

    async def _dial_forever(self, peer: Peer) -> None:
        """Try all addresses, again and again, while no direct link is up."""
        pause_ns = DIAL_RETRY_NS_MIN
        while True:
            if peer.paths.has_direct():
                await peer.unlinked.wait()
                pause_ns = DIAL_RETRY_NS_MIN
            await self._dial_all(peer)
            if not peer.paths.has_direct():
                await self._pause(peer, int(pause_ns * self._dice.uniform(0.8, 1.2)))
                pause_ns = min(pause_ns * 2, DIAL_RETRY_NS_MAX)

    def _dial_ended(self, node: NodeId, task: asyncio.Task[None]) -> None:
        """Dialing ends only when it is cancelled; a fault is told to the loop, and the next reason dials again."""
        if self._dials.get(node) is task:
            del self._dials[node]
        if not task.cancelled() and task.exception() is not None and self._loop is not None:
            self._loop.call_exception_handler({"message": f"dialing {node} broke", "exception": task.exception()})

    async def _pause(self, peer: Peer, pause_ns: int) -> None:
        """Wait before the next try, or until there is news of the peer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_ns / SECOND):
                await peer.news.wait()
        peer.news.clear()

    async def _dial_all(self, peer: Peer) -> None:
        """Try the addresses one shortly after the other; the first that leads to the peer wins."""
        tries = {
            asyncio.ensure_future(self._dial(peer, parse_address(address), turn * DIAL_STAGGER_NS))
            for turn, address in enumerate(peer.addresses)
        }
        linked = asyncio.ensure_future(peer.linked.wait())
        try:
            going = set(tries)
            while going and not linked.done():
                done, _ = await asyncio.wait({*going, linked}, return_when=asyncio.FIRST_COMPLETED)
                going -= done
        finally:
            for task in (*tries, linked):
                task.cancel()
            await asyncio.gather(*tries, linked, return_exceptions=True)

    async def _dial(self, peer: Peer, address: Address, wait_ns: int) -> None:
        """Try one address until a link is up or has failed."""
        assert self._loop is not None, "the fabric has started"
        await asyncio.sleep(wait_ns / SECOND)
        settled: asyncio.Future[None] = self._loop.create_future()
        links: list[Link] = []

        def connected(carrier: TcpCarrier, _: Address) -> Link:
            link = self._new_link(carrier, dialed=True)
            link.expected = peer.node
            link.host = format_address(address)
            links.append(link)
            self._settled[link] = settled
            return link

        try:
            async with asyncio.timeout(HANDSHAKE_NS_MAX / SECOND):
                await self._loop.create_connection(lambda: TcpCarrier(connected, self.now_ns), *address)
                await settled
        except ConnectionRefusedError:
            peer.refused(format_address(address))
        except OSError:
            return  # nobody there now; TimeoutError is one too
        finally:
            for link in links:
                if link.state is State.HANDSHAKE:  # on one that was greeted the far end may count by now
                    link.abort("given up")


def _peer_statistics(peer: Peer) -> PeerStatistics:
    active = peer.active
    return PeerStatistics(
        node=peer.node,
        boot=peer.boot,
        via=None if active is None else active.via,
        rtt_us=0 if active is None else active.rtt_us,
        links=len(peer.links),
        channels=len(peer.session.channels),
        inflight_bytes=peer.session.inflight_bytes,
        sent_bytes=sum(link.sent_bytes for link in peer.links),
        received_bytes=sum(link.received_bytes for link in peer.links),
        resent_frames=peer.session.resent_frames,
    )
