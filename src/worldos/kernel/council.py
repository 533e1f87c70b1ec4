"""Who should sit in a council: 1, 3 or 5 of those that are mostly on, changed by one step at a time.

The leader asks every second or so, and takes the step through Raft. From three members that are on, a council has three seats,
from seven five. It does not shrink because members go home for the night: only a seat that is dead for long and that nobody can
take is given up, and then the council goes on with an odd number. Replacing is promoting first and removing next, so the council
never has fewer votes than before. Nothing flaps: a newcomer must be settled, two seats are added only when both are caught up, a
fitter node must be twice as fit for ten minutes, and one that did not catch up is passed over for a while.

Invariant: after each step a majority of the voters is working. Members of whom nothing is known count as dead. Times in ns of
the leader's clock, and counted anew by a new leader; so is how long a node has been on, which adds to its fitness.
Source: D. Ongaro, thesis, chapter 4 (one change at a time; catching up before voting).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from worldos.kernel.fitness import FITNESS_MAX, clamped, uptime_points
from worldos.kernel.raft.effects import AddLearner, ConfigStep, Promote, Remove
from worldos.model.ids import NodeId
from worldos.model.limits import (
    SEAT_DEAD_NS,
    SEAT_FITTER_NS,
    SEAT_FITTER_TIMES,
    SEAT_GIVEN_UP_NS,
    SEAT_LEARN_NS,
    SEAT_PASSED_OVER_NS,
    SEAT_SETTLED_NS,
)
from worldos.model.raft import Config
from worldos.model.realm import Contact

SIZES: Final = ((7, 5), (3, 3))  # (members that are on, seats)
SEATS_MAX: Final = 5


class Sitter(msgspec.Struct, frozen=True, kw_only=True):
    """A node that may sit in the council, or does, as the leader sees it now: its fitness without what time adds to it."""

    contact: Contact
    fitness: int
    alive: bool

    @property
    def node(self) -> NodeId:
        """Return who it is."""
        return self.contact.node


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """Let this voter lead: it is much fitter."""

    node: NodeId


Step = ConfigStep | HandOver


class Council(msgspec.Struct, kw_only=True):
    """What a leader remembers from one look to the next.

    ``alive_ns``: since when a node is alive; ``dead_ns``: since when a member is not; ``learn_ns``: since when a learner
    learns; ``passed_ns``: until when a node is not asked; ``fitter_ns``: since when each is much fitter than the least fit.
    """

    alive_ns: dict[NodeId, int] = {}
    dead_ns: dict[NodeId, int] = {}
    learn_ns: dict[NodeId, int] = {}
    passed_ns: dict[NodeId, int] = {}
    fitter_ns: dict[NodeId, int] = {}

    def next_step(
        self, now_ns: int, config: Config, me: NodeId, sitters: Sequence[Sitter], caught_up: Collection[NodeId]
    ) -> Step | None:
        """Return the next step towards the council that should be, or None. ``caught_up``: learners that could vote."""
        look = _Look(now_ns, config, me, sitters, caught_up, self)
        return look.clean() or look.replace() or look.shrink() or look.grow() or look.improve()


class _Look:
    """One look at the council; lives for one call."""

    def __init__(
        self,
        now_ns: int,
        config: Config,
        me: NodeId,
        sitters: Sequence[Sitter],
        caught_up: Collection[NodeId],
        memory: Council,
    ) -> None:
        self.now_ns = now_ns
        self.voters = config.voters
        self.learners = config.learners
        self.me = me
        self.memory = memory
        self.known = {sitter.node: sitter for sitter in sitters}
        self._remember()
        self.working = [n for n in self.voters if n not in memory.dead_ns]
        self.late = [n for n in self.voters if self._is_gone(n)]
        self.ready = [n for n in self.learners if n in caught_up and n not in memory.dead_ns]
        self.able = self._able()
        self.rival = self._fitter_since()
        learning = [n for n in self.learners if n not in memory.dead_ns]
        on = len(self.voters) - len(self.late) + len(learning) + len(self.able)
        grown = next((seats for least, seats in SIZES if on >= least), 1)
        lost = [n for n in self.late if self._dead_for(n) >= SEAT_GIVEN_UP_NS]
        kept = max(1, len(self.voters) - len(lost))
        self.size = min(SEATS_MAX, max(grown, kept - 1 + kept % 2))

    # -- the steps, in order of urgency -----------------------------------------------------------------------------------

    def clean(self) -> Step | None:
        """Let learners go that are gone or do not catch up; their place is for others."""
        for node in self.learners:
            if node in self.memory.dead_ns and self._dead_for(node) >= SEAT_SETTLED_NS:
                return Remove(node=node)
            if node not in self.ready and self.now_ns - self.memory.learn_ns[node] >= SEAT_LEARN_NS:
                self.memory.passed_ns[node] = self.now_ns + SEAT_PASSED_OVER_NS
                return Remove(node=node)
        return None

    def replace(self) -> Step | None:
        """Give the seat of a member that is gone to another."""
        if not self.late or len(self.voters) > self.size:
            return None
        if self.ready:
            return Promote(node=self._best(self.ready))
        return AddLearner(node=self.able[0]) if self.able and not self.learners else None

    def shrink(self) -> Step | None:
        """Take a seat away where there is one too many: of one that is gone, else of the least fit."""
        if len(self.voters) <= self.size:
            return None
        others = [node for node in self.voters if node != self.me]
        best = self._best(self.working)
        if not self.late and self._worst(self.voters) == self.me and self._is_much_fitter(best, self.me):
            return HandOver(node=best)
        node = self._worst(self.late or others)
        left = len(self.voters) - 1
        still_working = len(self.working) - (node in self.working)
        return Remove(node=node) if still_working >= left // 2 + 1 else None

    def grow(self) -> Step | None:
        """Add seats, so that their number is odd again at once."""
        missing = self.size - len(self.voters)
        if missing <= 0:
            return None
        if len(self.ready) >= 1 + (missing - 1) % 2:
            return Promote(node=self._best(self.ready))
        wanted = min(missing, 2) - len(self.learners)
        return AddLearner(node=self.able[0]) if wanted > 0 and self.able else None

    def improve(self) -> Step | None:
        """Give the seat of the least fit to one that is much fitter for long; let a much fitter one lead."""
        if len(self.voters) != self.size or self.late:
            return None
        fitter_ns = self.memory.fitter_ns.get(self.rival) if self.rival else None
        if self.rival is None or fitter_ns is None or self.now_ns - fitter_ns < SEAT_FITTER_NS:
            return Remove(node=self.learners[0]) if self.learners else None
        if self.rival in self.voters:
            return HandOver(node=self.rival)
        if self.rival in self.learners:
            return Promote(node=self.rival) if self.rival in self.ready else None
        return AddLearner(node=self.rival) if not self.learners else Remove(node=self.learners[0])

    # -- what there is to see ---------------------------------------------------------------------------------------------

    def _remember(self) -> None:
        memory, now_ns = self.memory, self.now_ns
        seated = (*self.voters, *self.learners)
        alive = [n for n, sitter in self.known.items() if sitter.alive or n == self.me]
        memory.alive_ns = {n: memory.alive_ns.get(n, now_ns) for n in alive}
        quiet = [n for n in seated if n != self.me and n not in memory.alive_ns]
        memory.dead_ns = {n: memory.dead_ns.get(n, now_ns) for n in quiet}
        memory.learn_ns = {n: memory.learn_ns.get(n, now_ns) for n in self.learners}
        memory.passed_ns = {n: until_ns for n, until_ns in memory.passed_ns.items() if until_ns > now_ns}

    def _able(self) -> list[NodeId]:
        """Return who could take a seat, the fittest first."""
        seated = (*self.voters, *self.learners)
        memory = self.memory
        able = [
            n
            for n, since_ns in memory.alive_ns.items()
            if n not in seated and n not in memory.passed_ns and self.now_ns - since_ns >= SEAT_SETTLED_NS
        ]
        return sorted(able, key=self._rank)

    def _fitter_since(self) -> NodeId | None:
        """Note who is much fitter than the least fit member (or, where that leads, which member is); return one."""
        weakest = self._worst(self.voters)
        memory = self.memory
        rivals = [n for n in self.working if n != self.me] if weakest == self.me else []
        rivals = rivals or [*self.able, *(n for n in self.learners if n not in memory.dead_ns)]
        fitter = [n for n in rivals if self._is_much_fitter(n, weakest)]
        memory.fitter_ns = {n: memory.fitter_ns.get(n, self.now_ns) for n in fitter}
        return min(memory.fitter_ns, key=lambda n: (memory.fitter_ns[n], *self._rank(n)), default=None)

    def _is_gone(self, node: NodeId) -> bool:
        return node in self.memory.dead_ns and self._dead_for(node) >= SEAT_DEAD_NS

    def _dead_for(self, node: NodeId) -> int:
        return self.now_ns - self.memory.dead_ns[node]

    def _is_much_fitter(self, node: NodeId, other: NodeId) -> bool:
        return self._fitness(node) >= SEAT_FITTER_TIMES * max(1, self._fitness(other))

    def _fitness(self, node: NodeId) -> int:
        sitter = self.known.get(node)
        if sitter is None:  # a leader that says nothing of itself is not judged
            return FITNESS_MAX if node == self.me else 0
        alive_ns = self.now_ns - self.memory.alive_ns.get(node, self.now_ns)
        return clamped(clamped(sitter.fitness) + uptime_points(alive_ns))

    def _rank(self, node: NodeId) -> tuple[int, NodeId]:
        return (-self._fitness(node), node)

    def _best(self, nodes: Collection[NodeId]) -> NodeId:
        return min(nodes, key=self._rank)

    def _worst(self, nodes: Collection[NodeId]) -> NodeId:
        return max(nodes, key=self._rank)
