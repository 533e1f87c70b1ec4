"""Ports: what a shell carries out for a node, where the two shells do it in two ways.

Each port has an implementation in ``agent`` and one in ``sim``, and one contract suite (tests/contract) that tells both the same
stories; so what the simulator takes for granted is what machines do. Absent on purpose: a clock and dice, which reach the kernel
as numbers in events, and what one shell only passes on (``Tell``, ``Notice``).
"""

from __future__ import annotations

from typing import Protocol

from worldos.kernel.effects import Effect
from worldos.kernel.events import Event
from worldos.model.ids import LeaseId, NodeId
from worldos.model.need import LeaseTerms
from worldos.model.raft import Entry, Snapshot, Vote
from worldos.model.wire import PeerMessage


class Wire(Protocol):
    """The way to other nodes. Between two lives of two nodes a message comes once and in order, or is lost with one of them."""

    def send(self, node: NodeId, message: PeerMessage) -> None:
        """Let a message travel, now or when there is a way; to one that is no member it goes nowhere."""

    def forget(self, node: NodeId, why: str) -> None:
        """Cut every link to a node; what was under way is lost."""


class Lanes(Protocol):
    """What stands behind the leases of this machine. Both calls return at once, and the work goes on beside."""

    def open(self, terms: LeaseTerms, *, gentle: bool = False) -> None:
        """Begin to staff a lease: its workers stand soon, and one that dies is replaced. ``gentle``: on what is left over."""

    def end(self, lease: LeaseId) -> None:
        """End all that runs under a lease, also one that is still being staffed. Unknown ones have ended already."""


class Journal(Protocol):
    """Everything that happened to a node, so that it can happen again."""

    def append(self, event: Event, effects: list[Effect]) -> None:
        """Write down an event and what it led to, before any of it is carried out."""


class Disk(Protocol):
    """What a council seat has promised, kept through power cuts. It calls ``done(number)`` when all up to it is safe."""

    def append(self, number: int, vote: Vote | None, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        """Begin to write down a ``Persist``; numbers rise. The next life is given all that was done, and never half of one."""

    def mended(self) -> None:
        """Note that a damage named at the beginning of this life is made good."""
