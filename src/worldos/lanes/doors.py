"""The doors of a lane and the connections through them: knocking, greeting, hanging up, and why a worker was lost.

A connection that ends is a worker that hung up: it gets nothing more, but its calls stay with it until somebody says why. Its
door is knocked at again at once; the greeting of the successor says how the predecessor ended, or ``VERDICT_SECONDS``
pass. A door that is closed is given up. All of this runs under the lane's lock and never waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Final, Protocol

from worldos.kernel.call_messages import Loss
from worldos.lanes import wire
from worldos.lanes.link import Door, Link, Place
from worldos.lanes.wire import FrameKind

VERDICT_SECONDS: Final = 0.02
LAST_VERDICT_SECONDS: Final = 0.5  # nothing to run elsewhere: the reason is all that the caller gets
KNOCK_SECONDS: Final = 0.05


class Owner(Protocol):
    """What the doors tell the lane."""

    def worker_joined(self, link: Link) -> None:
        """A worker has answered; the link has its number."""

    def worker_hung_up(self, link: Link) -> bool:
        """A worker is gone, why is not known yet; return whether any of its calls could run elsewhere."""

    def worker_lost(self, number: int, loss: Loss, why: str) -> None:
        """A worker is lost, for this reason. Number 0: a door is gone behind which nobody had answered."""


class Doors:
    """All connections of a lane, in one epoll. ``workers``: those that have answered, by their number."""

    def __init__(self, owner: Owner, forgotten: Callable[[Link], None]) -> None:
        self._owner = owner
        self._forgotten = forgotten
        self._epoll = select.epoll()
        self._places: dict[str, Place] = {}
        self._timed: set[str] = set()
        self._by_fd: dict[int, Link] = {}
        self._unflushed: set[Link] = set()
        self._numbers = 0
        self.workers: dict[int, Link] = {}
        self.any_local = False

    def __len__(self) -> int:
        """Return how many doors there are."""
        return len(self._places)

    @property
    def links(self) -> list[Link]:
        """All connections."""
        return list(self._by_fd.values())

    def far_memory(self) -> list[int]:
        """Return the memory of the workers on other machines."""
        links = list(self.workers.values())
        return [link.welcome.memory_bytes for link in links if link.welcome and not link.door.local]

    def add(self, door: Door) -> None:
        """Knock at a door."""
        if door.path not in self._places:
            self.any_local = self.any_local or door.local
            self._places[door.path] = Place(door)
            self._knock(self._places[door.path])

    def lose(self, path: str, why: str, loss: Loss = Loss.NODE_GONE) -> None:
        """Give a door up for good."""
        place = self._places.pop(path, None)
        if place is None:
            return
        self._timed.discard(path)
        lost = place.lost
        if place.link is not None:
            lost = lost or place.link.number
            self._forget(place.link)
        self._owner.worker_lost(lost, loss, why)

    def number_at(self, path: str) -> int:
        """Return the number of the worker behind a door; 0 while none has answered."""
        place = self._places.get(path)
        return place.link.number if place is not None and place.link is not None else 0

    def close(self) -> list[Door]:
        """Hang up everywhere, saying nothing; return the doors."""
        doors = [place.door for place in self._places.values()]
        for link in self.links:
            self._forget(link)
        self._places.clear()
        self._timed.clear()
        self._unflushed.clear()
        self.workers.clear()
        return doors

    # -- sending and waiting --------------------------------------------------------------------------------------

    def later(self, link: Link) -> None:
        """Note that something is queued on a link."""
        self._unflushed.add(link)

    def tell_all(self, kind: FrameKind, numbers: list[int]) -> None:
        """Let workers forget segments or functions that they have."""
        for link in self.links:
            has = link.told if kind == FrameKind.DROP else link.functions
            known = [number for number in numbers if number in has]
            has.difference_update(known)
            if known:
                link.put(kind, known)
                self.later(link)

    def flush(self, link: Link) -> None:
        """Send what a worker takes now; the rest follows when it takes more."""
        if link.dead:
            return
        try:
            done = link.flush()
        except OSError:
            self.hung_up(link)
            return
        if done == link.blocked:
            link.blocked = not done
            self._epoll.modify(link.fd, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)

    def flush_all(self) -> None:
        """Send what is queued anywhere."""
        while self._unflushed:
            self.flush(self._unflushed.pop())

    def flush_releases(self) -> None:
        """Let workers have back the memory of results that nobody looks at any more."""
        for link in self.links:
            if link.windows.released:
                self.flush(link)

    def wait(self, timeout_s: float) -> list[tuple[Link, int]]:
        """Wait until a connection can be read or written. The lock is not held here."""
        found = []
        for fd, event in self._epoll.poll(timeout_s):
            link = self._by_fd.get(fd)
            if link is not None:
                found.append((link, event))
        return found

    # -- coming and going -----------------------------------------------------------------------------------------

    def _knock(self, place: Place) -> None:
        """Connect to a door, now or a little later; a door that is not there any more is given up."""
        path = place.door.path
        try:
            link = place.knock()
        except OSError as error:
            self._places.pop(path, None)
            self._timed.discard(path)
            self._owner.worker_lost(place.lost, Loss.NODE_GONE, f"its door is closed ({error.strerror})")
            return
        if link is None:
            place.knock_s = time.monotonic() + KNOCK_SECONDS
            self._timed.add(path)
            return
        self._by_fd[link.fd] = link
        self._epoll.register(link.fd, select.EPOLLIN)
        self.flush(link)

    def welcomed(self, link: Link, welcome: wire.Welcome) -> None:
        """A worker is ready; it says how its predecessor ended."""
        place = self._places[link.door.path]
        if place.lost:
            lost, place.lost = place.lost, 0
            loss = Loss.OVER_QUOTA if welcome.over_quota else Loss.CRASHED if welcome.why else Loss.NODE_GONE
            self._owner.worker_lost(lost, loss, welcome.why or "hung up")
        self._timed.discard(link.door.path)
        self._numbers += 1
        link.welcome = welcome
        link.number = self._numbers
        self.workers[link.number] = link
        self._owner.worker_joined(link)

    def hung_up(self, link: Link) -> None:
        """A connection ended, or is of no use."""
        if link.dead:
            return
        self._forget(link)
        place = self._places.get(link.door.path)
        if place is None or place.link is not link:
            return
        place.link = None
        self._timed.add(link.door.path)
        now_s = time.monotonic()
        if not link.number:
            place.knock_s = now_s + KNOCK_SECONDS  # it never greeted us: no hurry
            return
        place.lost = link.number
        again = self._owner.worker_hung_up(link)
        place.verdict_s = now_s + (VERDICT_SECONDS if again else LAST_VERDICT_SECONDS)
        self._knock(place)

    def attend(self, now_s: float) -> bool:
        """Do what is due at doors; return whether anything will be soon."""
        for path in sorted(self._timed):
            place = self._places.get(path)
            if place is None:
                self._timed.discard(path)
                continue
            if place.lost and now_s >= place.verdict_s:
                lost, place.lost = place.lost, 0
                if place.door.local:
                    self._owner.worker_lost(lost, Loss.CRASHED, "ended")
                else:  # a far worker that ended has a successor that says so
                    self._owner.worker_lost(lost, Loss.NODE_GONE, "nothing answers there")
            if place.link is None and now_s >= place.knock_s:
                self._knock(place)
            if not place.lost and place.link is not None:
                self._timed.discard(path)
        return bool(self._timed)

    def _forget(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(link.fd)
        self._by_fd.pop(link.fd, None)
        self.workers.pop(link.number, None)
        self._unflushed.discard(link)
        self._forgotten(link)
        link.close()

    def orphan(self) -> None:
        """Hold nothing of the parent's in a forked child."""
        for link in self.links:
            os.close(link.sock.detach())
        self._epoll.close()
        self._by_fd.clear()
        self.workers.clear()
        self._places.clear()
