"""Paths: which of the links to a peer is used, which are asked for a sign of life, and when another way is looked for.

A closed link is easy; a silent one matters more. A way is *in doubt* when the far end owes an answer (to data or to
a ping) for ``DOUBT_NS``, or for three round trips where that is longer. Then every other way is asked, a relay is
looked for, and traffic moves to a way that has answered *since*: so a peer that is merely slow or stopped, and
answers nowhere, moves nothing. A way that stays silent for ``LINK_SILENT_NS_MAX`` is dropped; the session above is
not.

Traffic goes back from a relay to a direct link when that has been good for a while; the while doubles each time a direct link
fails soon after (hysteresis), so a flapping cable does not drag the session along. How often is asked: 1 Hz, or seldom where
the far end is heard anyway; 4 Hz while channels are open, since somebody waits for answers; 5 Hz in doubt; and at once when
data stays unacknowledged.

Pure: moments come in, actions come out. Times in ns of one steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from worldos.fabric.limits import (
    DOUBT_NS,
    FAILED_SOON_NS,
    LINK_SILENT_NS_MAX,
    PROBE_BUSY_NS,
    PROBE_DOUBT_NS,
    PROBE_HEARD_NS,
    PROBE_NS,
    SETTLE_NS,
    SETTLE_NS_MAX,
    SPARE_KEPT_NS,
    TOGETHER_NS,
    UNACKED_ASK_NS,
)


class Way(Protocol):
    """One link, as far as choosing needs to know it."""

    via: str  # empty: direct
    dialed: bool
    heard_ns: int
    asked_ns: int
    rtt_us: int

    def silent_ns(self, now_ns: int) -> int:
        """Return for how long the far end owes an answer."""


W = TypeVar("W", bound=Way)


@dataclass(frozen=True, slots=True)
class Ask(Generic[W]):
    """Send a ping on this way."""

    way: W


@dataclass(frozen=True, slots=True)
class Use(Generic[W]):
    """Send the session on this way from now on."""

    way: W


@dataclass(frozen=True, slots=True)
class Drop(Generic[W]):
    """Close this way."""

    way: W
    why: str


@dataclass(frozen=True, slots=True)
class SeekRelay:
    """Look for a node that reaches the peer."""


def _doubt_ns(way: Way) -> int:
    """After how much silence a way is in doubt: over half the planet an answer takes a while."""
    return max(DOUBT_NS, 3 * way.rtt_us * 1000)


def _doubtful(way: Way, now_ns: int) -> bool:
    return way.silent_ns(now_ns) >= _doubt_ns(way)


Action = Ask[W] | Use[W] | Drop[W] | SeekRelay


class Paths(Generic[W]):
    """The ways to one peer. ``first``: this node's id is the smaller of the two."""

    def __init__(self, *, first: bool) -> None:
        self.ways: list[W] = []
        self.active: W | None = None
        self._first = first
        self._up_ns: dict[int, int] = {}  # by id(way): since when it is up
        self._pinged_ns: dict[int, int] = {}
        self._settle_ns = SETTLE_NS
        self._needed_ns = 0  # when a spare was last good for something
        self._returned_ns = -FAILED_SOON_NS  # when traffic last went back to a direct way

    def add(self, way: W, now_ns: int) -> list[Action[W]]:
        """Count on a new way."""
        self.ways.append(way)
        self._up_ns[id(way)] = now_ns
        return [self._ask(way, now_ns), *self._choose(now_ns)]

    def remove(self, way: W, now_ns: int) -> list[Action[W]]:
        """Forget a way that is closed."""
        self.ways.remove(way)
        del self._up_ns[id(way)]
        self._pinged_ns.pop(id(way), None)
        if way is not self.active:
            return []
        self.active = None
        if not way.via:
            self._blame(now_ns)
        if not self.ways:
            return [SeekRelay()]
        return [*self._choose(now_ns), *(self._ask(other, now_ns) for other in self.ways)]

    def follow(self, way: W, now_ns: int) -> list[Action[W]]:
        """Go where the peer went: its data come on ``way``, and the active one is silent or was long not heard."""
        active = self.active
        if (
            active is None
            or way is active
            or now_ns - active.heard_ns < _doubt_ns(active)
            or way.heard_ns < active.heard_ns
        ):
            return []
        self._leave(active, now_ns)
        self.active = way
        return [Use(way)]

    def tick(self, now_ns: int, *, unacked: bool, busy: bool) -> list[Action[W]]:
        """Ask, drop, choose. ``unacked``: data wait for an acknowledgement; ``busy``: channels are open."""
        actions: list[Action[W]] = []
        if busy or self.active is None or self.active.via or self.in_doubt(now_ns):
            self._needed_ns = now_ns
        for way in self.ways:
            if way.silent_ns(now_ns) >= max(LINK_SILENT_NS_MAX, 2 * _doubt_ns(way)):
                actions.append(Drop(way, "silent for too long"))
            elif way.via and way is not self.active and now_ns - self._needed_ns >= SPARE_KEPT_NS:
                actions.append(Drop(way, "a spare that nobody needs"))
            elif now_ns - self._pinged_ns[id(way)] >= self._pause_ns(way, now_ns, unacked=unacked, busy=busy):
                actions.append(self._ask(way, now_ns))
        if self.active is None or self.in_doubt(now_ns) or (busy and not self.has_relay()):
            actions.append(SeekRelay())
        actions += self._choose(now_ns)
        return actions

    def in_doubt(self, now_ns: int) -> bool:
        """Whether the way in use may be dead."""
        return self.active is not None and _doubtful(self.active, now_ns)

    def has_direct(self) -> bool:
        """Whether a direct link is up."""
        return any(not way.via for way in self.ways)

    def has_relay(self) -> bool:
        """Whether a link through a relay is up."""
        return any(way.via for way in self.ways)

    def doubles(self, now_ns: int) -> list[W]:
        """Name the links that this end is to close, since another one that has answered takes their place.

        At no moment do both ends close: of two that cross the larger id closes its own, and of two that one end dialed nearly
        at once only that end knows which came later.
        """
        pairs = [(old, new) for place, old in enumerate(self.ways) for new in self.ways[place + 1 :]]
        goes = [self._double(old, new, now_ns) for old, new in pairs if bool(old.via) == bool(new.via)]
        return [way for way in self.ways if way in goes]

    # -- inside ------------------------------------------------------------------------------------

    def _double(self, old: W, new: W, now_ns: int) -> W | None:
        """Return which of two links of one sort this end is to close now."""
        if old.dialed != new.dialed:  # the one dialed by the smaller id stays
            goes, stays = (old, new) if new.dialed == self._first else (new, old)
            is_mine = goes.dialed
        elif not new.via or _doubtful(old, now_ns):  # it was dialed because the older one failed
            goes, stays = old, new
            is_mine = old.dialed or self._up_ns[id(new)] - self._up_ns[id(old)] >= TOGETHER_NS
        else:
            goes, stays = new, old
            is_mine = new.dialed
        is_sound = stays.heard_ns > self._up_ns[id(stays)] and not _doubtful(stays, now_ns)
        return goes if is_mine and is_sound else None

    def _ask(self, way: W, now_ns: int) -> Ask[W]:
        self._pinged_ns[id(way)] = now_ns
        return Ask(way)

    def _pause_ns(self, way: W, now_ns: int, *, unacked: bool, busy: bool) -> int:
        """How long after the last ping the next one is due."""
        if self.in_doubt(now_ns) or _doubtful(way, now_ns):
            return PROBE_DOUBT_NS
        if unacked and way is self.active and now_ns - way.heard_ns >= UNACKED_ASK_NS:
            return UNACKED_ASK_NS
        if busy:
            return PROBE_BUSY_NS
        return PROBE_HEARD_NS if way is self.active and now_ns - way.heard_ns < PROBE_NS else PROBE_NS

    def _settled(self, way: W, now_ns: int) -> bool:
        """Whether it has answered, and been good for a while, since it came up or was last left."""
        up_ns = self._up_ns[id(way)]
        return way.heard_ns > up_ns and now_ns - up_ns >= self._settle_ns

    def _rank(self, way: W) -> tuple[bool, bool, int]:
        """Direct before relay, the link that stays before the one that goes, then the quickest."""
        return bool(way.via), way.dialed != self._first, way.rtt_us

    def _choose(self, now_ns: int) -> list[Action[W]]:
        active = self.active
        sound = [way for way in self.ways if way is not active and not _doubtful(way, now_ns)]
        if active is None:
            sound = sound or self.ways
        elif _doubtful(active, now_ns):
            sound = [way for way in sound if way.heard_ns > active.asked_ns]
        elif active.via:
            sound = [way for way in sound if not way.via and self._settled(way, now_ns)]
        else:
            return []
        return self._use(min(sound, key=self._rank), now_ns) if sound else []

    def _use(self, way: W, now_ns: int) -> list[Action[W]]:
        old, self.active = self.active, way
        if old is not None:
            self._leave(old, now_ns)
            if not old.via:
                self._blame(now_ns)
            elif not way.via:
                self._returned_ns = now_ns
        return [Use(way)]

    def _leave(self, way: W, now_ns: int) -> None:
        self._up_ns[id(way)] = now_ns

    def _blame(self, now_ns: int) -> None:
        """Wait longer before the next return when a direct way failed soon after the last one."""
        soon = now_ns - self._returned_ns < FAILED_SOON_NS
        self._settle_ns = min(self._settle_ns * 2, SETTLE_NS_MAX) if soon else SETTLE_NS
