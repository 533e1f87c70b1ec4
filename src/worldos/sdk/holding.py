"""A use as this program holds it: parts, their leases as they come and go, and the lane to the workers behind each part.

A use has one part per need. The node may serve a part by several leases, and puts another in place of one that is lost;
the part keeps its lane in step: doors in, doors out, a silent node doubted and trusted again. What was granted is given
back once, however often and from wherever ``close`` is called.
Invariant: a lane has exactly the doors of the leases that its part holds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from worldos.errors import LeaseEnded, NoCapacity, Unreachable, WorldError
from worldos.kernel.call_messages import Loss
from worldos.lanes.client import Door, Lane
from worldos.model.ids import LeaseId, NodeId
from worldos.model.local import (
    Doors,
    LeaseAdded,
    LeaseDoubted,
    LeaseLost,
    LeaseWanted,
    Use,
    UseGranted,
    UseRefused,
)
from worldos.model.need import LeaseTerms, Need
from worldos.model.resource import Kind
from worldos.sdk.connection import Connection, UseMessage
from worldos.sdk.events import Events


class Growth(Protocol):
    """What makes a part grow and shrink (elastic.py)."""

    def close(self) -> None:
        """Give back all that was added."""


class Part:
    """What a program has for one need. ``sought``: leases that were lost and for which another is looked for."""

    def __init__(self, need: Need, lane: Lane) -> None:
        self.asked = need
        self.need = need.told()  # as it is granted
        self.lane = lane
        self.events = Events()
        self.leases: dict[LeaseId, LeaseTerms] = {}
        self.doubted: set[LeaseId] = set()
        self.sought: set[LeaseId] = set()
        self.ended: WorldError | None = None
        self.resting = False
        self.growth: Growth | None = None
        self._replaced: set[LeaseId] = set()
        self._paths: dict[LeaseId, tuple[str, ...]] = {}
        self._shared: set[LeaseId] = set()

    @property
    def ready(self) -> bool:
        """Whether the workers of every lease can be reached."""
        return bool(self.leases) and len(self._paths) == len(self.leases)

    def granted(self) -> int:
        """Return how much the leases come to."""
        return sum(terms.need.amount for terms in self.leases.values())

    def add(self, terms: LeaseTerms) -> None:
        """Take in a lease, in place of a lost or doubted one if there is such."""
        self.leases[terms.lease] = terms
        if self.sought:
            self.sought.pop()
        elif self.doubted - self._replaced:
            self._replaced.add(min(self.doubted - self._replaced))
        self.events.tell("lease added", lease=terms.lease, node=terms.node)

    def open(self, doors: Doors) -> None:
        """Let the lane through the doors of a lease."""
        if doors.lease not in self.leases or doors.lease in self._paths:
            return
        if doors.error:
            self.events.tell("not reachable", lease=doors.lease, node=doors.node, why=doors.error)
            if not self.lane_can_wait(doors.lease):
                self.ended = self.ended or Unreachable(doors.error)
                self.lane.no_more_doors()
            return
        self._paths[doors.lease] = doors.paths
        for path in (
            doors.paths if self.need.kind != Kind.STORE else ()
        ):  # no workers: what is behind it speaks otherwise
            self.lane.add_door(
                Door(path=path, node=doors.node, local=doors.local, is_own=doors.is_own, lease=doors.lease)
            )
        if self.ready:
            self.events.tell("ready", workers=sum(len(paths) for paths in self._paths.values()))

    def lane_can_wait(self, without: LeaseId) -> bool:
        """Tell whether workers of another lease are there, or may still come."""
        return bool(self.sought or self.leases.keys() - {without})

    def lose(self, message: LeaseLost) -> None:
        """Close the doors of a lease that ended."""
        early = message.lease in self._replaced
        was_held = self._drop(message.lease, message.why)
        if message.replacing and was_held and not early:
            self.sought.add(message.lease)
        elif not message.replacing:
            self.sought.discard(message.lease)
        self.events.tell("lease lost", lease=message.lease, why=message.why, replacing=message.replacing, asks=True)
        if not self.leases and not self.sought:
            self.lane.no_more_doors(message.why)

    def grow(self, terms: LeaseTerms) -> None:
        """Take in a lease beyond what is needed (elastic.py)."""
        self.leases[terms.lease] = terms
        self.events.tell("lease added", lease=terms.lease, node=terms.node)

    def retire(self, lease: LeaseId) -> None:
        """Give the workers of a lease nothing more."""
        for path in self._paths.setdefault(lease, ()):  # doors that come later stay closed
            self.lane.retire(path)

    def busy(self, lease: LeaseId) -> bool:
        """Tell whether any worker of a lease has a call."""
        return any(self.lane.is_busy(path) for path in self._paths.get(lease, ()))

    def shrink(self, lease: LeaseId, why: str, loss: Loss) -> None:
        """Close the doors of a lease beyond what is needed."""
        if self._drop(lease, why, loss):
            self.events.tell("lease lost", lease=lease, why=why, replacing=False, asks=True)
        if not self.leases and not self.sought:
            self.lane.no_more_doors(why)

    def doubt(self, message: LeaseDoubted) -> None:
        """Note that the node of a lease is silent, or is heard again."""
        terms = self.leases.get(message.lease)
        if terms is None:
            return
        if message.doubted:
            self.doubted.add(message.lease)
            self.lane.doubt(terms.node)
        else:
            self.doubted.discard(message.lease)
            self.lane.trust(terms.node)
        self.events.tell("node silent" if message.doubted else "node heard", lease=message.lease, node=terms.node)

    def end(self, why: WorldError) -> None:
        """All leases have ended at once; open calls fail with the reason."""
        self.ended = why
        self.lane.close(why)
        for lease in list(self.leases):
            self._drop(lease, str(why))
        self.sought.clear()
        self.events.tell("ended", why=str(why))

    def _drop(self, lease: LeaseId, why: str, loss: Loss = Loss.NODE_GONE) -> bool:
        held = self.leases.pop(lease, None) is not None
        self.doubted.discard(lease)
        self._replaced.discard(lease)
        for path in self._paths.pop(lease, ()):
            if self.need.kind != Kind.STORE:
                self.lane.lose_door(path, why, loss)
        return held


class Holding:
    """A granted use. The listening thread tells it what happens; handles share it when it is a gang."""

    def __init__(self, connection: Connection, parts: Sequence[Part]) -> None:
        self.connection = connection
        self.parts = tuple(parts)
        self.use = connection.next_use(self)
        self._answers: SimpleQueue[UseRefused | WorldError | None] = SimpleQueue()
        self._lock = threading.RLock()  # see connection.py
        self._left = {id(part) for part in self.parts}
        self._closed = False

    def ask(self, ttl_ns: int, timeout: float | None) -> None:
        """Ask for all parts and wait for the answer; a refusal is raised with its reason and its hint."""
        self.connection.send(Use(use=self.use, needs=self.needs(), ttl_ns=ttl_ns))
        try:
            answer = self._answers.get(timeout=timeout)
        except Empty:
            raise Unreachable(
                f"no answer in {timeout} s whether this can be had", hint="give it longer: use(..., timeout=60)"
            ) from None
        if isinstance(answer, UseRefused):
            raise NoCapacity(answer.reason, hint=answer.hint)
        if answer is not None:
            raise answer

    def needs(self) -> tuple[Need, ...]:
        """Return what is asked for."""
        return tuple(part.asked for part in self.parts)

    def answer(self, answer: UseRefused | WorldError | None) -> None:
        """Let ``ask`` know what came of it; nothing is: all was granted."""
        self._answers.put(answer)

    def let_go(self, part: Part) -> None:
        """End a part: what still runs in it is stopped. With the last part everything is given back."""
        if part.growth is not None:
            part.growth.close()
        with self._lock:
            self._left.discard(id(part))
            give_back = not self._left and not self._closed
            self._closed = self._closed or give_back
        if give_back:  # before the lane hangs up, so that no worker is made in place of those that end with it
            self.connection.release(self.use, [lease for each in self.parts for lease in list(each.leases)])
        part.lane.close(LeaseEnded("the lease was given back", hint="wait for the results inside the with block"))
        part.events.close()

    def close(self) -> None:
        """End all parts and give everything back."""
        for part in self.parts:
            self.let_go(part)

    @property
    def closed(self) -> bool:
        """Whether everything was given back."""
        return self._closed

    # -- what the listening thread says (connection.Hearer) -----------------------------------------------------------

    def heard(self, message: UseMessage) -> None:
        """Take in a message about this use."""
        match message:
            case UseGranted():
                self._share_out(message.leases)
                self._answers.put(None)
            case UseRefused():
                self._answers.put(message)
            case LeaseAdded():
                self._add(self._part_for(message.terms), message.terms)
            case Doors():
                for part in self._parts_of(message.lease):
                    part.open(message)
            case LeaseWanted():
                for part in self._parts_of(message.lease):
                    part.events.tell("lease wanted", lease=message.lease, within_s=message.grace_ns / 1e9)
            case LeaseDoubted():
                for part in self._parts_of(message.lease):
                    part.doubt(message)
            case LeaseLost():
                for part in self._parts_of(message.lease):
                    part.lose(message)

    def cut(self, why: WorldError) -> None:
        """Take in that the agent is gone, and with it every lease."""
        self._answers.put(why)
        for part in self.parts:
            part.end(why)

    def _share_out(self, leases: tuple[LeaseTerms, ...]) -> None:
        """Give each lease to the part that it was granted for: in order, each part until it has its amount."""
        for terms in leases:
            self._add(self._part_for(terms), terms)

    def _add(self, part: Part, terms: LeaseTerms) -> None:
        part.add(terms)
        self.connection.open_doors(self.use, terms.lease)

    def _part_for(self, terms: LeaseTerms) -> Part:
        alike = [part for part in self.parts if part.need.kind == terms.need.kind] or list(self.parts)
        for part in alike:
            if part.need == terms.need and part.granted() < part.need.amount:
                return part
        return next((part for part in alike if part.granted() < part.need.amount), alike[0])

    def _parts_of(self, lease: LeaseId) -> list[Part]:
        return [part for part in self.parts if lease in part.leases or lease in part.sought]


def nodes_of(parts: Sequence[Part]) -> tuple[NodeId, ...]:
    """Return the nodes on which the leases of these parts lie, each once, sorted."""
    return tuple(sorted({terms.node for part in parts for terms in list(part.leases.values())}))
