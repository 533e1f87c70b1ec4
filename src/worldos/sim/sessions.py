"""What the fabric is to the nodes, without its bytes: sessions that outlive links, and links that come and go.

Between two lives of two nodes every message comes once and in order; while there is no way it waits, and after 60 s without one,
or when a node starts again, it is lost. A silent link is closed after 2 s, that of a crashed process at once. Where two machines
are cut off from each other and a third reaches both, it relays after half a second. What programs say to workers (``Word``)
goes the same way. In the harsh mode the messages of nodes go beside the sessions: each may be lost, doubled, overtaken.

A link stands where both nodes believe the other: they are of one account, or each welcomed the other. Inside a site it is a local
network, between sites light in fibre. *Cuts* close one direction between two machines, *walls* all ways into or out of a set.

Bounds are those of fabric/limits.py, rounded. Times in ns of true time.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from worldos.kernel.events import PathMeasured, PeerLinked, PeerUnlinked
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.wire import Message
from worldos.sim.machine import Machine
from worldos.sim.rules import Deliver, Drop, Duplicate, Parcel, Rules

if TYPE_CHECKING:
    from worldos.sim.world import World

LATENCY_NS: Final = 150_000  # a local network; by chance up to twice that
WAN_NS: Final = 2 * MS  # between two sites at the same place: the providers' own
WAN_JITTER_PART: Final = 16  # ... and by chance up to one part in so many more
HANDSHAKE_NS: Final = 4 * MS
CLOSED_NS: Final = 1 * MS  # a process that ended: its sockets say so
LINK_SILENT_NS: Final = 2 * SECOND
RELAY_NS: Final = 450 * MS  # until traffic goes by a relay
RESEND_NS: Final = 1 * SECOND
SESSION_SILENT_NS: Final = 60 * SECOND


@runtime_checkable
class Word(Protocol):
    """What a program and a lane say to each other: it knows what to do where it arrives."""

    def arrive(self, at: Machine) -> None:
        """Do it."""

    def undelivered(self) -> None:
        """Know that the session ended before it arrived."""


class Wall(NamedTuple):
    """Around these machines, by number: whether it stops what goes out of them, and what comes in."""

    inside: frozenset[int]
    stops_out: bool = True
    stops_in: bool = True

    def stops(self, source: int, target: int) -> bool:
        """Tell whether it stands in the way."""
        within = source in self.inside
        if within == (target in self.inside):
            return False
        return self.stops_out if within else self.stops_in


class Stream:
    """One direction of a session. ``flows``: something can get through now."""

    __slots__ = ("flows", "jitter_ns", "last_ns", "latency_ns", "queue", "session", "source", "target")

    def __init__(self, session: Session, source: Machine, target: Machine) -> None:
        self.session = session
        self.source = source
        self.target = target
        self.latency_ns, self.jitter_ns = latency_between(source, target)
        self.flows = False
        self.queue: deque[tuple[int, Any, bool]] = deque()  # when due, what, whether a Word
        self.last_ns = 0


class Session:
    """All that two machines have with each other in their present lives. ``up``: there is a link; ``via``: by a relay."""

    __slots__ = ("boots", "cut_ns", "flows_ns", "number", "one", "other", "streams", "up", "via")

    def __init__(self, one: Machine, other: Machine, number: int) -> None:
        self.one = one
        self.other = other
        self.number = number
        self.boots = (one.boot, other.boot)
        self.up = False
        self.via: Machine | None = None
        self.cut_ns = -1  # since when nothing gets through; -1: it does
        self.flows_ns = 0  # not before then: traffic is being moved to another way
        self.streams = (Stream(self, one, other), Stream(self, other, one))


class MachineWire:
    """The sessions of one machine, as its node's shell uses them."""

    def __init__(self, sessions: Sessions, machine: Machine) -> None:
        self._sessions = sessions
        self._machine = machine
        self._streams = machine.streams
        self._world = sessions.world
        self._chance = sessions.world.dice.random

    def send(self, node: NodeId, message: Message) -> None:
        """Let a message travel: here when nothing stands in its way, which is the path of nearly all."""
        stream = self._streams.get(node)
        sessions = self._sessions
        if stream is None or stream.session.via is not None or sessions.rules.rules or sessions.harsh:
            sessions.send(self._machine, node, message)
            return
        world = self._world
        due_ns = world.now_ns + stream.latency_ns + int(self._chance() * stream.jitter_ns)
        if due_ns <= stream.last_ns:
            due_ns = stream.last_ns + 1
        stream.last_ns = due_ns
        stream.queue.append((due_ns, message, False))
        world.call_at(due_ns, sessions.pump, stream)

    def forget(self, node: NodeId, why: str) -> None:
        """End the session with a node."""
        self._machine.unsent.pop(node, None)
        self._machine.welcomed.discard(node)
        stream = self._streams.get(node)
        if stream is not None and stream.flows:  # what was written still arrives, as bytes before a connection's end do
            self._world.later(CLOSED_NS, self._sessions.end, stream.session)
        elif stream is not None:
            self._sessions.end(stream.session)


class Sessions:
    """The network between all machines of a world."""

    def __init__(self, world: World, *, harsh: bool) -> None:
        self.world = world
        self.harsh = harsh
        self.rules = Rules()
        self.cuts: set[tuple[int, int]] = set()
        self.walls: list[Wall] = []
        self.relays = True
        self.sessions: dict[tuple[int, int], Session] = {}
        self.made = 0
        self.lost = 0

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, source: Machine, target: NodeId, what: Message | Word, *, is_word: bool = False) -> None:
        """Let something travel."""
        world = self.world
        stream = source.streams.get(target)
        if stream is None:
            self._keep(source, target, what, is_word=is_word)
            return
        due_ns = world.now_ns + stream.latency_ns + int(world.dice.random() * stream.jitter_ns)
        if stream.session.via is not None:
            due_ns += 2 * LATENCY_NS
        beside = self.harsh and not is_word
        if self.rules.rules:
            verdict = self.rules.judge(Parcel(world.now_ns, source.number, stream.target.number, what))
            if type(verdict) is Deliver:
                due_ns += verdict.delay_ns
            elif type(verdict) is Drop:
                if beside:
                    self.lost += 1
                    return
                due_ns += RESEND_NS
            elif type(verdict) is Duplicate and beside:
                world.call_at(due_ns + verdict.delay_ns, self._land, stream, what)
        if beside:
            world.call_at(due_ns, self._land, stream, what)
            return
        if due_ns <= stream.last_ns:
            due_ns = stream.last_ns + 1
        stream.last_ns = due_ns
        stream.queue.append((due_ns, what, is_word))
        world.call_at(due_ns, self.pump, stream)

    def _keep(self, source: Machine, target: NodeId, what: Message | Word, *, is_word: bool) -> None:
        """Without a session a message waits for the first link; a channel is broken."""
        if isinstance(what, Word) or self.harsh or not source.believes(target):
            self._lose(what, is_word=is_word)
        else:
            source.unsent.setdefault(target, deque()).append((self.world.now_ns, what))

    def _lose(self, what: Message | Word, *, is_word: bool) -> None:
        self.lost += 1
        if is_word:
            assert isinstance(what, Word)
            what.undelivered()

    def _land(self, stream: Stream, message: Message) -> None:
        """Let a message of the harsh mode arrive, whatever came before it."""
        source, target = stream.source, stream.target
        if source.streams.get(target.id) is not stream or self._is_closed(source, target):
            self.lost += 1
        elif target.running:
            self.world.said(source, target, message)
        else:
            target.waiting.append(lambda: self._land(stream, message))

    def pump(self, stream: Stream) -> None:
        """Deliver what is due, as long as it gets through."""
        world, queue, target = self.world, stream.queue, stream.target
        while queue and stream.flows and queue[0][0] <= world.now_ns and target.running:
            _, what, is_word = queue.popleft()
            if is_word:
                what.arrive(target)
            else:
                world.said(stream.source, target, what)

    def _set_flow(self, session: Session) -> None:
        """Work out anew in which directions something gets through, and let it."""
        ready = session.up and self.world.now_ns >= session.flows_ns
        for stream in session.streams:
            stream.flows = ready and (session.via is not None or not self._is_closed(stream.source, stream.target))
        for stream in session.streams:
            self.pump(stream)

    # -- ways -----------------------------------------------------------------------------------------------------------

    def cut(self, source: int, target: int) -> None:
        """Let nothing pass from one machine to another, in this direction."""
        self.cuts.add((source, target))
        self.reconsider()

    def heal(self, source: int, target: int) -> None:
        """Let it pass again."""
        self.cuts.discard((source, target))
        self.reconsider()

    def raise_wall(self, inside: Iterable[int], *, stops_out: bool = True, stops_in: bool = True) -> Wall:
        """Let nothing pass between these machines and all others."""
        wall = Wall(frozenset(inside), stops_out, stops_in)
        self.walls.append(wall)
        self.reconsider()
        return wall

    def take_down(self, wall: Wall) -> None:
        """Let it pass again."""
        self.walls = [each for each in self.walls if each is not wall]
        self.reconsider()

    def introduce(self, one: Machine, other: Machine) -> None:
        """Look at this pair from now on: they are of one site, or one of them was told to keep a link to the other."""
        if other not in one.peers:
            insort(one.peers, other, key=_number)
            insort(other.peers, one, key=_number)

    def reconsider(self) -> None:
        """Look at every pair: which links come, which go, now that something has changed."""
        self._look_at(self.world.machines)

    def reconsider_about(self, machine: Machine) -> None:
        """Look at the pairs of a machine, and at those for which it may be a relay."""
        if self.cuts or self.walls:
            self._look_at([machine, *machine.peers])
            return
        for peer in list(machine.peers):
            one, other = (machine, peer) if machine.number < peer.number else (peer, machine)
            self._reconsider(one, other)

    def _look_at(self, machines: Iterable[Machine]) -> None:
        for one in machines:
            for other in list(one.peers):
                if other.number > one.number:
                    self._reconsider(one, other)

    def _reconsider(self, one: Machine, other: Machine) -> None:
        world, number = self.world, (one.number, other.number)
        session = self.sessions.get(number)
        if session is not None and session.boots != (one.boot, other.boot):
            self.end(session)
            session = None
        if session is None or not session.up:
            if self._way(one, other) is not None:
                world.call_at(world.now_ns + _handshake_ns(one, other), self._try_link, one, other)
            return
        way = self._way(one, other)
        if way is None:
            self._set_flow(session)
            if session.cut_ns < 0:
                session.cut_ns = world.now_ns
            gone = not (one.up and other.up)
            wait_ns = CLOSED_NS if gone else LINK_SILENT_NS
            world.call_at(world.now_ns + wait_ns, self._try_unlink, session, session.cut_ns if not gone else -1)
            return
        session.cut_ns = -1
        if way[0] is not session.via:
            session.via = way[0]
            session.flows_ns = world.now_ns + (RELAY_NS if session.via else HANDSHAKE_NS)
            world.call_at(session.flows_ns, self._moved, session, session.via)
        self._set_flow(session)

    def _way(self, one: Machine, other: Machine) -> tuple[Machine | None] | None:
        """Return by whom two machines reach each other now: (None,) is directly, None not at all."""
        if not (one.running and other.running and _believe(one, other)):
            return None
        if self._open(one, other):
            return (None,)
        if self.relays:
            for relay in one.peers:
                if relay.running and relay is not other and self._relays(one, relay, other):
                    return (relay,)
        return None

    def _relays(self, one: Machine, relay: Machine, other: Machine) -> bool:
        legs = ((one, relay), (relay, other))
        return all(self._open(*leg) and _believe(*leg) for leg in legs)

    def _open(self, one: Machine, other: Machine) -> bool:
        return not (self.cuts or self.walls) or not (self._is_closed(one, other) or self._is_closed(other, one))

    def _is_closed(self, source: Machine, target: Machine) -> bool:
        way = (source.number, target.number)
        return way in self.cuts or any(wall.stops(*way) for wall in self.walls)

    def _of(self, one: Machine, other: Machine) -> Session | None:
        return self.sessions.get((min(one.number, other.number), max(one.number, other.number)))

    def _try_link(self, one: Machine, other: Machine) -> None:
        way = self._way(one, other)
        if way is None:
            return
        session = self._of(one, other)
        if session is None:
            self.made += 1
            session = self.sessions[one.number, other.number] = Session(one, other, self.made)
            one.streams[other.id], other.streams[one.id] = session.streams
            for stream in session.streams:
                for at_ns, what in stream.source.unsent.pop(stream.target.id, ()):
                    if self.world.now_ns - at_ns < SESSION_SILENT_NS:
                        self.send(stream.source, stream.target.id, what)
        if session.up:
            return
        session.up, session.via, session.cut_ns = True, way[0], -1
        session.flows_ns = self.world.now_ns
        for me, peer in ((one, other), (other, one)):
            self.world.feed(me, PeerLinked(now_ns=self.world.clock_of(me), node=peer.id, boot=peer.boot))
            self._measured(session, me, peer)
        self._set_flow(session)

    def _try_unlink(self, session: Session, cut_ns: int) -> None:
        world = self.world
        if self.sessions.get((session.one.number, session.other.number)) is not session or not session.up:
            return
        if cut_ns >= 0 and session.cut_ns != cut_ns:
            return
        session.up = False
        self._set_flow(session)
        for me, peer in ((session.one, session.other), (session.other, session.one)):
            self._unlinked(me, peer)
        world.call_at(world.now_ns + SESSION_SILENT_NS, self._give_up, session, session.cut_ns)
        self._reconsider(session.one, session.other)

    def _unlinked(self, me: Machine, peer: Machine) -> None:
        node = peer.id
        if me.running:
            self.world.feed(me, PeerUnlinked(now_ns=self.world.clock_of(me), node=node))
        elif me.up:
            me.waiting.append(lambda: self._unlinked(me, peer))

    def _give_up(self, session: Session, cut_ns: int) -> None:
        if not session.up and session.cut_ns == cut_ns:
            self.end(session)

    def of(self, machine: Machine) -> list[Session]:
        """Return the sessions of a machine."""
        return [stream.session for stream in machine.streams.values()]

    def end(self, session: Session) -> None:
        """End a session; what was under way in it is lost."""
        number = (session.one.number, session.other.number)
        if self.sessions.get(number) is not session:
            return
        del self.sessions[number]
        del session.one.streams[session.other.id], session.other.streams[session.one.id]
        for stream in session.streams:
            while stream.queue:
                _, what, is_word = stream.queue.popleft()
                self._lose(what, is_word=is_word)
        if session.up:
            session.up = False
            for me, peer in ((session.one, session.other), (session.other, session.one)):
                if me.boot == session.boots[me is session.other]:
                    self._unlinked(me, peer)

    def _moved(self, session: Session, via: Machine | None) -> None:
        if session.up and session.via is via:
            for me, peer in ((session.one, session.other), (session.other, session.one)):
                if me.running:
                    self._measured(session, me, peer)
            self._set_flow(session)

    def _measured(self, session: Session, me: Machine, peer: Machine) -> None:
        there_ns, _ = latency_between(me, peer)
        via, rtt_us = (
            ("", 3 * there_ns // 1000) if session.via is None else (session.via.id, (3 * there_ns + 650_000) // 1000)
        )
        event = PathMeasured(now_ns=self.world.clock_of(me), node=peer.id, rtt_us=rtt_us, via=via)
        self.world.feed(me, event)


def latency_between(one: Machine, other: Machine) -> tuple[int, int]:
    """Return how long a message takes at least, and how much more at most, by chance."""
    if one.site is other.site:
        return LATENCY_NS, LATENCY_NS
    here, there = one.site.place, other.site.place
    far_us = math.isqrt((here.east_us - there.east_us) ** 2 + (here.north_us - there.north_us) ** 2)
    latency_ns = WAN_NS + far_us * 1000
    return latency_ns, latency_ns // WAN_JITTER_PART


def _handshake_ns(one: Machine, other: Machine) -> int:
    if one.site is other.site:
        return HANDSHAKE_NS
    return HANDSHAKE_NS + 6 * latency_between(one, other)[0]  # TCP, TLS, hello: three times there and back


def _believe(one: Machine, other: Machine) -> bool:
    return one.believes(other.id) and other.believes(one.id)


def _number(machine: Machine) -> int:
    return machine.number
