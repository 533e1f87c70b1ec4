"""Rooms: how much of each node the line may still use, while a plan is made.

A node's offer says what is free beside all leases. To that comes what its runner has leases for already, and from it goes what
the attempts there are to take: for each job as many *berths* as its attempts fill. Tasks that are known to be short are given
several to a berth, to run one after another, so that a runner need not wait for the line between two of them.

Memory that a job does not say it needs, and that earlier tasks of its command took, is counted beside that: nothing is leased for
it, but no more are begun side by side than fit. What a machine says is free lacks already what those have taken that run there
for long (``grown``); what others will yet take is ``due``.

Amounts by kind in its base unit. Used amounts may pass what there is (offers are old); then nothing is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from worldos.kernel.line.job import Job, Running
from worldos.kernel.line.line import Line
from worldos.kernel.line.scene import QUIET_MS, Scene
from worldos.kernel.question import Question, memory_of
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Kind, Resource
from worldos.model.work import JobId

BERTH_MS: Final = 500  # so much work lies before a berth at most, if its tasks are short,
BERTH_TASKS_MAX: Final = 512  # ... and so many tasks;
BERTH_LONG_MS: Final = 2_000  # behind one that takes longer none waits


class Room:
    """One node. ``used`` is beside its offer: below zero where the line gives back more than it takes."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.used: Counter[str] = Counter()
        self.leaving: Counter[str] = Counter()  # of attempts that were asked to stop
        self.ending: Counter[str] = Counter()  # of all attempts that take up room here
        self.attempts: dict[JobId, int] = {}
        self.begun: dict[JobId, int] = {}
        self.begun_use: Counter[str] = Counter()
        self.kept_for: Job | None = None
        self.slack: Counter[str] = Counter()  # what others may take beside the one for whom this node is kept,
        self.kept_ms = 0  # ... and who ends before that may take anything
        self.due_bytes = 0  # memory that tasks here will yet take,
        self.grown_bytes = 0  # ... and that they have taken
        self.version = 0  # of ``now``
        self._now: Offer | None = None

    def now(self) -> Offer:
        """Return the node's offer as it is for the line."""
        if self._now is None:
            self._now = lessened(self.offer, self.used)
        return self._now

    def without(self, gone: Mapping[str, int]) -> Offer:
        """Return the offer as it will be when attempts of so much have stopped."""
        return lessened(self.offer, {kind: self.used[kind] - gone.get(kind, 0) for kind in {**self.used, **gone}})

    def berths(self, job: Job) -> int:
        """Return how many berths a job's attempts here take up: as many as run, and as many as their number fills."""
        return max(self.begun.get(job.id, 0), -(-self.attempts.get(job.id, 0) // berth_tasks(job)))

    def hold(self, job: Job, share: Mapping[str, int], count: int, begun: int, asked: int) -> None:
        """Count what attempts of a job take up here: so many, of which so many have begun or were asked to stop."""
        self.attempts[job.id], self.begun[job.id] = count, begun
        for kind, amount in share.items():
            self.begun_use[kind] += amount * begun
            self.ending[kind] += amount * count
            self.leaving[kind] += amount * asked
        self.take(job.spec.need, self.berths(job))

    def learned(self, each_bytes: int, runs: list[Running], since_ms: int) -> None:
        """Count memory that attempts here take though they lease none; those begun before have what they need."""
        grown = sum(0 < run.begun_ms <= since_ms for run in runs)
        self.grown_bytes += each_bytes * grown
        self.due_bytes += each_bytes * (len(runs) - grown)

    @property
    def spare_bytes(self) -> int:
        """Return how much memory is free beside what tasks here will yet take."""
        memory = memory_of(self.now())
        return memory.free - self.due_bytes if memory else 0

    @property
    def most_bytes(self) -> int:
        """Return how much memory would be free if no task of the line took any."""
        memory = memory_of(self.now())
        return min(memory.capacity, memory.free + self.grown_bytes) if memory else 0

    def take(self, need: Need, berths: int = 1, learned_bytes: int = 0) -> None:
        """Take room for so many berths."""
        self.due_bytes += learned_bytes * berths
        for kind, amount in amounts(need).items():
            self.used[kind] += amount * berths
        self.version += 1
        self._now = None


def rooms_of(line: Line, scene: Scene) -> dict[NodeId, Room]:
    """Return what there is on each node whose runner can be given tasks, less what the line has there."""
    quiet = (node for node, silent_ms in scene.silent_ms.items() if silent_ms >= QUIET_MS)
    out = scene.view.gone.union(quiet)
    rooms = {
        node: Room(scene.offers[node]) for node in sorted(scene.runners) if node in scene.offers and node not in out
    }
    fits: dict[bytes, set[NodeId]] = {}
    for job in line.book.busy.values():
        share = amounts(job.spec.need)
        key = line.book.need_of(job)
        if key not in fits:
            question = Question(job.spec.need, scene.view)
            fits[key] = {node for node, room in rooms.items() if question.place(whole(room.offer)) is not None}
        fitting = fits[key]
        runs = [run for _, run in job.runs()]
        here = Counter([run.node for run in runs if not run.at or run.at == run.node])
        there = Counter([run.node for run in runs if run.at == run.node])
        asked = Counter([run.node for run in runs if run.asked]) if job.spec.preemptible else Counter()
        learned = line.book.learned_bytes(job)
        for node, count in here.items():
            if node in fitting:  # else its lease will be at another node
                rooms[node].hold(job, share, count, there[node], asked[node])
                if learned:
                    mine = [run for run in runs if run.node == node and run.at in ("", node)]
                    rooms[node].learned(learned, mine, scene.wall_ms - likely_ms(job) // 2)
    for node, room in rooms.items():
        room.used.subtract(scene.leased.get(node, room.begun_use))
    return rooms


def running(line: Line) -> Iterator[tuple[Job, int, Running]]:
    """Give all attempts that run, job by job."""
    for job in line.book.busy.values():
        for index, run in job.runs():
            yield job, index, run


def amounts(need: Need) -> dict[str, int]:
    """Return what a need takes, by kind."""
    taken = {need.kind: need.amount}
    if need.memory_bytes and need.kind != Kind.MEMORY:
        taken[Kind.MEMORY] = need.memory_bytes
    return taken


def whole(offer: Offer) -> Offer:
    """Return an offer as if nothing of it were leased."""
    if all(item.free == item.capacity for item in offer.resources):
        return offer
    return msgspec.structs.replace(offer, resources=tuple(_with_free(item, item.capacity) for item in offer.resources))


def yielding_of(offer: Offer) -> Counter[str]:
    """Return how much of each kind would be asked back for a need that does not yield."""
    lent: Counter[str] = Counter()
    for item in offer.resources:
        if item.yielding:
            lent[item.kind] += item.yielding
    return lent


def free_of(offer: Offer) -> Counter[str]:
    """Return how much of each kind is free."""
    free: Counter[str] = Counter()
    for item in offer.resources:
        free[item.kind] += item.free
    return free


def berth_tasks(job: Job) -> int:
    """Return how many tasks of a job may stand at one berth: one, unless they are known to be short."""
    mean_us = job.mean_us or BERTH_LONG_MS * 1000
    if mean_us >= BERTH_LONG_MS * 1000:
        return 1
    return min(BERTH_TASKS_MAX, 1 + -(-BERTH_MS * 1000 // mean_us))


def likely_ms(job: Job) -> int:
    """Return how long a task of a job takes: its own limit, else as long as others took, else 0: nobody knows."""
    if job.spec.runtime_s:
        return job.spec.runtime_s * 1000
    return -(-job.mean_us // 1000)


def lessened(offer: Offer, used: Mapping[str, int]) -> Offer:
    """Return an offer with so much less free of each kind (less than zero: more), each resource within what it has."""
    left = {kind: amount for kind, amount in used.items() if amount}
    if not left:
        return offer
    resources = []
    # Of several GPUs those that are free the most give first, so that what is left is whole ones.
    for item in sorted(offer.resources, key=lambda item: (-item.free, item.id)):
        amount = left.get(item.kind, 0)
        if not amount:
            resources.append(item)
            continue
        free = max(0, min(item.capacity, item.free - amount))
        left[item.kind] = amount - (item.free - free)
        resources.append(_with_free(item, free))
    return msgspec.structs.replace(offer, resources=tuple(resources))


def _with_free(item: Resource, free: int) -> Resource:
    return msgspec.structs.replace(item, free=free)
