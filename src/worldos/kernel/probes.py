"""Probes: the pings that have no answer yet, ours and those we run for others, and whose turn is next.

``health`` is how much we should doubt ourselves (Lifeguard's local health multiplier): 0 is well, and each step
stretches the time-outs of new probes once more. A ping's number never repeats in the lives of a node: the life number
is its upper part.

Invariant: at most one probe per target; ``probing`` is the index of ``open`` by target. Times in ns of the node's own
clock.
Source: SWIM (DSN 2002), section 4.3; Lifeguard (arXiv:1707.00788), "LHA-Probe".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from worldos.kernel.dice import Dice
from worldos.kernel.roster import Roster
from worldos.model.ids import NodeId
from worldos.model.limits import PROBE_INDIRECT_TIMEOUT_NS

HEALTH_MAX: Final = 8
ERRAND_TIMEOUT_NS: Final = PROBE_INDIRECT_TIMEOUT_NS * 4 // 5  # a Nack must be back before the asker gives up
ERRANDS_MAX: Final = 1024
NUMBERS_PER_LIFE_BITS: Final = 28

assert ERRAND_TIMEOUT_NS < PROBE_INDIRECT_TIMEOUT_NS


class Probe(msgspec.Struct, kw_only=True):
    """A ping of ours. ``helpers`` are the peers that try for us and have said nothing yet."""

    target: NodeId
    deadline_ns: int
    hinted: bool = False  # its link closed: silence is not our fault
    indirect: bool = False
    helped: bool = False
    helpers: list[NodeId] = []


class Errand(msgspec.Struct, kw_only=True):
    """A ping on behalf of ``asker``, who knows it as ``number``."""

    asker: NodeId
    number: int
    target: NodeId
    deadline_ns: int


class Probes(msgspec.Struct, kw_only=True):
    """Everything that waits for an answer, by number of the ping."""

    dice: Dice
    number: int
    health: int = 0
    open: dict[int, Probe] = {}
    probing: dict[NodeId, int] = {}
    errands: dict[int, Errand] = {}
    order: list[NodeId] = []
    position: int = 0
    started: int = 0
    missed: int = 0

    def next_number(self) -> int:
        """Return a number that no ping of ours had."""
        self.number += 1
        return self.number

    def start(self, number: int, target: NodeId, now_ns: int, timeout_ns: int, *, hinted: bool) -> Probe:
        """Expect an answer of ``target`` in time; an older probe of it no longer counts."""
        self.stop(target)
        self.started += 1
        probe = Probe(target=target, deadline_ns=now_ns + self.stretched(timeout_ns), hinted=hinted)
        self.open[number] = probe
        self.probing[target] = number
        return probe

    def stop(self, target: NodeId) -> None:
        """Expect nothing of ``target`` any more."""
        number = self.probing.pop(target, None)
        if number is not None:
            del self.open[number]

    def overdue(self, now_ns: int) -> list[tuple[int, Probe]]:
        """Return our pings whose time is over, oldest first; they stay open."""
        return [(number, probe) for number, probe in self.open.items() if probe.deadline_ns <= now_ns]

    def failed_errands(self, now_ns: int) -> list[Errand]:
        """Take out the pings for others whose time is over."""
        overdue = [number for number, errand in self.errands.items() if errand.deadline_ns <= now_ns]
        return [self.errands.pop(number) for number in overdue]

    def turn(self, roster: Roster) -> NodeId | None:
        """Return whom to probe next: everyone once in random order, then everyone once in another."""
        for _ in range(2):
            while self.position < len(self.order):
                node = self.order[self.position]
                self.position += 1
                member = roster.members.get(node)
                if member and member.here and node not in self.probing:
                    return node
            self.order = self.dice.shuffled(sorted(roster.here()))
            self.position = 0
        return None

    def insert(self, node: NodeId) -> None:
        """Give a newcomer a random place in the cycle that runs."""
        place = self.position + self.dice.below(len(self.order) - self.position + 1)
        self.order.insert(place, node)

    def sample(self, nodes: Iterable[NodeId], amount: int) -> list[NodeId]:
        """Return some of the nodes by chance."""
        return self.dice.sample(sorted(nodes), amount)

    def stretched(self, timeout_ns: int) -> int:
        """Return how long to wait, given how well we are."""
        return timeout_ns * (self.health + 1)

    def ail(self) -> None:
        """Note a sign that the fault is ours."""
        self.health = min(HEALTH_MAX, self.health + 1)

    def mend(self) -> None:
        """Note a sign that we are well."""
        self.health = max(0, self.health - 1)

    def shift(self, by_ns: int) -> None:
        """Move every deadline."""
        for probe in self.open.values():
            probe.deadline_ns += by_ns
        for errand in self.errands.values():
            errand.deadline_ns += by_ns

    def due_ns(self, at_most_ns: int) -> int:
        """Return the first deadline, or ``at_most_ns`` if that is sooner."""
        due_ns = at_most_ns
        for probe in self.open.values():
            if probe.deadline_ns < due_ns:  # noqa: PLR1730 - asked at every answer: a call of min() costs as much again
                due_ns = probe.deadline_ns
        for errand in self.errands.values():
            due_ns = min(due_ns, errand.deadline_ns)
        return due_ns
