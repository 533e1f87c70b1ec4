"""A crew: the leases of one runner for tasks of one need, and the attempts that wait for one of them.

Leases are asked for one after another while more attempts wait than berths are free, on this node by preference. One that was
granted serves attempt after attempt and is given back when none came for ``BERTH_IDLE_S``. When nothing is granted and nothing
runs for ``REFUSED_WAIT_S``, the attempts that wait are handed back to the line with the reason: another node may have room.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Protocol

import msgspec

from worldos.errors import LeaseEnded, NoCapacity, Unreachable, WorldError
from worldos.jobs.attempt import Run
from worldos.jobs.berth import Berth
from worldos.jobs.limits import (
    ASK_AGAIN_S,
    BARRED_MAX,
    BERTH_IDLE_S,
    BERTHS_MAX,
    BREAKS_MAX,
    LEASE_TTL_NS,
    LEASE_WAIT_S,
    REFUSED_WAIT_S,
)
from worldos.jobs.stay import More
from worldos.kernel.line.rooms import amounts
from worldos.lanes.link import Door
from worldos.model.ids import NodeId
from worldos.model.local import Doors, LeaseAdded, LeaseLost, Use, UseGranted, UseRefused
from worldos.model.need import All, Compare, LeaseTerms, Need
from worldos.sdk.connection import Connection, UseMessage

OURS: Final = ""  # among owners


class Works(Protocol):
    """Who knows what to do with an attempt at a berth."""

    def at_berth(self, run: Run, berth: Berth, terms: LeaseTerms, more: More) -> bool:
        """Carry an attempt out, and ``more`` of its job if it likes; return whether the berth is good for another."""

    def nowhere(self, run: Run, why: str) -> None:
        """No lease for this one can be had."""

    def admits(self, node: NodeId, apart: tuple[str, ...]) -> bool:
        """Tell whether the machine of another account may do what these machines and owners have done already."""


class _Lease:
    """One lease of this program: asked for, opened, given back."""

    def __init__(self, agent: Connection, need: Need) -> None:
        self._agent = agent
        self._messages: SimpleQueue[UseMessage | WorldError] = SimpleQueue()
        self._use = agent.next_use(self)
        self.terms: LeaseTerms | None = None
        agent.send(Use(use=self._use, needs=(need,), ttl_ns=LEASE_TTL_NS))

    def heard(self, message: UseMessage) -> None:
        """Take in a message."""
        if isinstance(message, LeaseLost):
            self.give_back()  # whoever is at its berth sees the connection end; no other lease is wanted in its place
        self._messages.put(message)

    def cut(self, why: WorldError) -> None:
        """Take in that the agent has ended."""
        self._messages.put(why)

    def door(self) -> Door:
        """Wait for the grant and the door; NoCapacity if it is refused."""
        answer = self._wait(UseGranted, UseRefused)
        if isinstance(answer, UseRefused):
            raise NoCapacity(answer.reason, hint=answer.hint)
        assert isinstance(answer, UseGranted)
        self.terms = answer.leases[0]
        self._agent.open_doors(self._use, self.terms.lease)
        doors = self._wait(Doors)
        assert isinstance(doors, Doors)
        if doors.error or not doors.paths:
            raise Unreachable(doors.error or "the lease has no worker")
        return Door(path=doors.paths[0], node=doors.node, local=doors.local, is_own=doors.is_own)

    def is_at(self, node: NodeId) -> bool:
        """Whether it is a lease of this node."""
        return self.terms is not None and self.terms.node == node

    def give_back(self) -> None:
        """Give it back; twice is once."""
        with suppress(WorldError):
            self._agent.release(self._use, [self.terms.lease] if self.terms else [])

    def _wait(self, *kinds: type[object]) -> UseMessage:
        until_s = time.monotonic() + LEASE_WAIT_S
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, until_s - time.monotonic()))
            except Empty:
                raise Unreachable("the agent does not answer") from None
            if isinstance(message, WorldError):
                raise message
            if isinstance(message, kinds):
                return message
            if isinstance(message, LeaseLost | LeaseAdded):
                raise LeaseEnded("the lease was lost before anything ran there")


class Crew:
    """The berths for one need. Threads: one that asks, while something waits; one for each lease."""

    def __init__(
        self,
        agent: Connection,
        works: Works,
        need: Need,
        node: NodeId,
        ended: Callable[[], None],
        apart: tuple[str, ...] = (),
    ) -> None:
        self._agent = agent
        self._works = works
        self._need = msgspec.structs.replace(need, workers=1, near=need.near or node)
        self._node = node
        self._ended = ended
        self._apart = apart
        self._barred: dict[NodeId, None] = {}  # machines that are not to do this
        self._breaks: Counter[NodeId] = Counter()
        self._refusals = 0
        self._waiting: deque[Run] = deque()
        self._changed = threading.Condition()
        self._berths = 0  # leases that are manned
        self._here = 0  # of them, those on this node
        self._idle = 0  # of them, those that wait for an attempt
        self._asking = False
        self._closed = False

    def add(self, runs: list[Run]) -> None:
        """Take attempts in."""
        with self._changed:
            self._waiting.extend(runs)
            self._changed.notify(len(runs))
            self._seek()

    def withdraw(self, run: Run) -> bool:
        """Take an attempt out, if it still waits for a berth."""
        with self._changed:
            if run not in self._waiting:
                return False
            self._waiting.remove(run)
            return True

    def close(self) -> None:
        """Ask for no more, and let the berths go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def leased(self) -> dict[str, int]:
        """What there are leases for on this node, by kind, used or idle."""
        with self._changed:
            return {kind: amount * self._here for kind, amount in amounts(self._need).items()} if self._here else {}

    @property
    def empty(self) -> bool:
        """Whether there is nothing left of it."""
        with self._changed:
            return not (self._waiting or self._berths or self._asking)

    # -- asking --------------------------------------------------------------------------------------------------------------

    def _seek(self) -> None:
        """See that somebody asks, if more wait than are served at once. Called with the lock."""
        if not self._asking and not self._closed and len(self._waiting) > self._idle and self._berths < BERTHS_MAX:
            self._asking = True
            threading.Thread(target=self._ask, name="asks for leases", daemon=True).start()

    def _ask(self) -> None:
        refused_s = 0.0  # since when nothing was granted and nothing ran
        while True:
            with self._changed:
                if self._closed or len(self._waiting) <= self._idle or self._berths >= BERTHS_MAX:
                    self._asking = False
                    break
            try:
                lease = _Lease(self._agent, self._wanted())
            except WorldError:  # the agent has ended, and this runner does with it
                with self._changed:
                    self._asking = False
                break
            try:
                door = self._admitted(lease)
            except WorldError as error:
                lease.give_back()
                refused_s = self._refused(error, refused_s)
                continue
            if door is None:
                lease.give_back()
                self._refusals += 1
                continue
            refused_s = 0.0
            with self._changed:
                self._berths += 1
                self._here += lease.is_at(self._node)
                self._idle += 1
            self._ended()  # which tells what is leased, too
            threading.Thread(target=self._man, args=(lease, door), name="berth", daemon=True).start()
        self._ended()

    def _wanted(self) -> Need:
        """Return what to ask for: not the machines that may not; what others did, now of others, now of our own."""
        need = self._need
        ours = OURS in self._apart or (self._apart and self._refusals % 2)
        if ours and need.realm:
            need = msgspec.structs.replace(need, realm="", near=self._node)
        if self._barred:
            kept = tuple([Compare(fact="node", op="!=", value=node) for node in self._barred])
            need = msgspec.structs.replace(need, where=All(parts=(*([need.where] if need.where else []), *kept)))
        return need

    def _admitted(self, lease: _Lease) -> Door | None:
        """Return the door of a lease; None if its machine may not do this, which from now on is not asked."""
        door = lease.door()
        assert lease.terms is not None
        node = lease.terms.node
        if door.is_own or self._works.admits(node, self._apart):
            return door
        if node in self._barred:
            raise NoCapacity("a machine was free whose owner's word is not enough")
        self._bar(node)
        return None

    def _bar(self, node: NodeId) -> None:
        """Ask for a machine no more; the longest barred is forgotten."""
        self._barred[node] = None
        if len(self._barred) > BARRED_MAX:
            del self._barred[next(iter(self._barred))]

    def _broke(self, node: NodeId) -> None:
        """Take in that a berth at a machine of others was lost; often enough, and others are asked: a task bears few losses."""
        self._breaks[node] += 1
        if self._breaks[node] >= BREAKS_MAX:
            self._bar(node)

    def _refused(self, error: WorldError, since_s: float) -> float:
        """Wait a little after a refusal; hand back what waits when that went on for long."""
        self._refusals += 1
        now_s = time.monotonic()
        with self._changed:
            if self._berths:
                since_s = 0.0  # others of the kind run here: what waits follows them
            elif not since_s:
                since_s = now_s
            elif now_s > since_s + REFUSED_WAIT_S:
                since_s = 0.0
                hopeless, self._waiting = list(self._waiting), deque()
                for run in hopeless:
                    self._works.nowhere(run, str(error))
            if self._waiting:
                self._changed.wait(ASK_AGAIN_S)
        return since_s

    # -- berths --------------------------------------------------------------------------------------------------------------

    def _man(self, lease: _Lease, door: Door) -> None:
        """Serve attempts behind one lease until none comes, or it is lost. It is counted as idle until the first."""
        berth: Berth | None = None
        idle = broke = True
        try:
            berth = Berth(door)
            assert lease.terms is not None
            while (run := self._next()) is not None:
                idle = False
                if not self._works.at_berth(run, berth, lease.terms, functools.partial(self._more, run.attempt.job)):
                    break
                with self._changed:
                    self._idle += 1
                idle = True
            else:
                broke = False
        except WorldError:
            time.sleep(ASK_AGAIN_S)  # a worker that does not answer: what waits is served by others, or asks again
        finally:
            if berth is not None:
                berth.close()
            lease.give_back()
            if broke and not door.is_own and lease.terms is not None:
                self._broke(lease.terms.node)
            with self._changed:
                self._berths -= 1
                self._here -= lease.is_at(self._node)
                self._idle -= idle
                self._seek()
                self._changed.notify_all()
            self._ended()

    def _more(self, job: str, most: int) -> list[Run]:
        """Return up to so many attempts of a job that are next, as far as there are enough for the other berths."""
        with self._changed:
            count = min(most, -(-len(self._waiting) // max(1, self._berths)))
            found: list[Run] = []
            while len(found) < count and self._waiting[0].attempt.job == job:
                found.append(self._waiting.popleft())
            return found

    def _next(self) -> Run | None:
        """Return the next attempt, or None if none came for a while."""
        until_s = time.monotonic() + BERTH_IDLE_S
        with self._changed:
            while not self._waiting and not self._closed:
                if not self._changed.wait(until_s - time.monotonic()) and time.monotonic() >= until_s:
                    return None
            if self._closed:
                return None
            self._idle -= 1
            return self._waiting.popleft()
