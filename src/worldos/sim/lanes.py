"""Workers without processes: what OpenLane and CloseLane start and end, and the words that go between them and their holder.

A worker runs one call at a time, in order of arrival, for as long as the call says. It dies with its machine, with its lane, or
alone; alone it is replaced at once at the same place, as the real host does. Each start of a call is counted, so that a checker
can see one that ran twice. Words travel by the sessions of the two machines, so they are cut off and lost as these are.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from worldos.model.ids import LeaseId
from worldos.model.limits import MS
from worldos.model.need import LeaseTerms, workers_of
from worldos.sim.machine import Machine

if TYPE_CHECKING:
    from worldos.sim.world import World

START_NS: Final = 20 * MS  # until a worker stands at its place
LOCAL_WORD_NS: Final = 30_000


class Job(NamedTuple):
    """One call as it travels: ``name`` is its own in the whole world, ``worker`` the holder's number of the worker."""

    name: str
    call: int
    worker: int
    service_ns: int


class Holder(Protocol):
    """The holder's end of a lane. Every word names a lease; ``place`` is which of its workers."""

    home: Machine
    over: bool

    def staffed(self, lease: LeaseId, place: int) -> None:
        """A worker stands at this place."""

    def worker_ended(self, lease: LeaseId, place: int) -> None:
        """The worker at this place died by itself."""

    def result(self, job: Job, answer: str) -> None:
        """The result of a call came."""

    def given_back(self, worker: int, calls: tuple[int, ...]) -> None:
        """The worker never began these calls and never will."""

    def stopped(self, job: Job) -> None:
        """The worker ended a call because it was told to."""

    def closed(self, lease: LeaseId) -> None:
        """The lane is closed, or its channel broke."""


class Ear(Protocol):
    """Who wants to know when calls run, whoever has them run."""

    def began(self, name: str, lane: Lane) -> None:
        """A call began to run at a lane."""

    def ended(self, name: str, lane: Lane, *, whole: bool) -> None:
        """It runs no more; ``whole``: it came to its own end."""


class ToLane(NamedTuple):
    """A holder's word to a lane: knock (all empty), run, give back, or ``stop`` what runs under this call's number."""

    lanes: Lanes
    holder: Holder
    lease: LeaseId
    place: int = 0
    jobs: tuple[Job, ...] = ()
    worker: int = -1
    revoke: tuple[int, ...] = ()
    stop: int = -1

    def arrive(self, at: Machine) -> None:
        """Let the lane take it in."""
        self.lanes.heard(at, self)

    def undelivered(self) -> None:
        """The channel broke: its holder knows."""
        self.lanes.world.on(self.holder.home, self.holder.closed, self.lease)


class ToHolder(NamedTuple):
    """A lane's word to its holder: the name of what to tell it, and with what."""

    lanes: Lanes
    holder: Holder
    lease: LeaseId
    name: str
    arguments: tuple[object, ...]

    def arrive(self, at: Machine) -> None:
        """Let the program take it in."""
        if not self.holder.over:
            getattr(self.holder, self.name)(*self.arguments)

    def undelivered(self) -> None:
        """The channel broke: its holder knows."""
        self.lanes.world.on(self.holder.home, self.holder.closed, self.lease)


class Worker:
    """Who stands at one place of a lane."""

    __slots__ = ("alive", "jobs", "running")

    def __init__(self) -> None:
        self.alive = True
        self.running: Job | None = None
        self.jobs: deque[Job] = deque()


class Lane:
    """The workers of one lease."""

    __slots__ = ("guest", "lease", "machine", "open", "workers")

    def __init__(self, machine: Machine, lease: LeaseId) -> None:
        self.machine = machine
        self.lease = lease
        self.open = True
        self.workers: list[Worker | None] = []
        self.guest: Holder | None = None


class MachineLanes:
    """The lanes of one machine, as its node's shell opens and ends them."""

    def __init__(self, lanes: Lanes, machine: Machine) -> None:
        self._lanes = lanes
        self._machine = machine

    def open(self, terms: LeaseTerms, *, gentle: bool = False) -> None:
        """Begin to staff a lease; how much of a processor its workers get makes no difference here."""
        del gentle
        self._lanes.open(self._machine, terms)

    def end(self, lease: LeaseId) -> None:
        """End everything that runs under a lease."""
        self._lanes.close(lease)


class Lanes:
    """All lanes of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lanes: dict[LeaseId, Lane] = {}
        self.started: Counter[str] = Counter()  # how often each call began to run
        self.ears: list[Ear] = []

    # -- what the nodes want ----------------------------------------------------------------------------------------------

    def open(self, machine: Machine, terms: LeaseTerms) -> None:
        """Begin to staff a lease."""
        lane = self.lanes[terms.lease] = Lane(machine, terms.lease)
        lane.workers = [None] * workers_of(terms.need)
        for place in range(len(lane.workers)):
            self.world.later(START_NS, self.world.on, machine, self._staff, lane, place)

    def close(self, lease: LeaseId) -> None:
        """End everything that runs under a lease."""
        lane = self.lanes.pop(lease, None)
        if lane is not None:
            self._end(lane)
            if lane.guest is not None:
                self._tell(lane, "closed", lease)

    def crash(self, machine: Machine) -> None:
        """End every lane of a machine, without a word."""
        for lane in [each for each in self.lanes.values() if each.machine is machine]:
            del self.lanes[lane.lease]
            self._end(lane)

    def kill_worker(self, lane: Lane, place: int) -> None:
        """Let a worker die alone; another takes its place."""
        worker = lane.workers[place]
        if worker is None:
            return
        self._die(lane, worker)
        lane.workers[place] = None
        self._tell(lane, "worker_ended", lane.lease, place)
        self.world.later(START_NS, self.world.on, lane.machine, self._staff, lane, place)

    # -- what holders say -------------------------------------------------------------------------------------------------

    def send(self, target: Machine, word: ToLane) -> None:
        """Let a holder's word travel."""
        self._travel(word.holder.home, target, word)

    def heard(self, machine: Machine, word: ToLane) -> None:
        """Take in a holder's word on the machine of the lane."""
        lane = self.lanes.get(word.lease)
        node = machine.node
        assert node is not None
        holder = word.holder
        if lane is None or lane.machine is not machine or not node.leases.is_live(word.lease, holder.home.id):
            self._travel(machine, holder.home, ToHolder(self, holder, word.lease, "closed", (word.lease,)))
            return
        if word.jobs or word.revoke or word.stop >= 0:
            self._work(lane, word)
        elif lane.guest is None:
            lane.guest = holder
            for place, worker in enumerate(lane.workers):
                if worker is not None:
                    self._tell(lane, "staffed", lane.lease, place)

    # -- inside -----------------------------------------------------------------------------------------------------------

    def _work(self, lane: Lane, word: ToLane) -> None:
        worker = lane.workers[word.place]
        if worker is None:
            return  # it died; its holder is told so, or was
        if word.revoke:
            waiting = [job for job in worker.jobs if job.call in word.revoke]
            worker.jobs = deque(job for job in worker.jobs if job.call not in word.revoke)
            self._tell(lane, "given_back", word.worker, tuple(job.call for job in waiting))
        if worker.running is not None and worker.running.call == word.stop:
            job, worker.running = worker.running, None
            self._hear_end(lane, job, whole=False)
            self._tell(lane, "stopped", job)
        worker.jobs.extend(word.jobs)
        self._begin(lane, worker)

    def _begin(self, lane: Lane, worker: Worker) -> None:
        if worker.running is None and worker.jobs:
            job = worker.running = worker.jobs.popleft()
            self.started[job.name] += 1
            for ear in self.ears:
                ear.began(job.name, lane)
            self.world.later(job.service_ns, self.world.on, lane.machine, self._finish, lane, worker, job)

    def _finish(self, lane: Lane, worker: Worker, job: Job) -> None:
        if not worker.alive or not lane.open or worker.running is not job:
            return
        worker.running = None
        self._hear_end(lane, job, whole=True)
        self._tell(lane, "result", job, answer_to(job.name))
        self._begin(lane, worker)

    def _staff(self, lane: Lane, place: int) -> None:
        if lane.open and lane.workers[place] is None:
            lane.workers[place] = Worker()
            if lane.guest is not None:
                self._tell(lane, "staffed", lane.lease, place)

    def _end(self, lane: Lane) -> None:
        lane.open = False
        for worker in lane.workers:
            if worker is not None:
                self._die(lane, worker)

    def _die(self, lane: Lane, worker: Worker) -> None:
        worker.alive = False
        if worker.running is not None:
            self._hear_end(lane, worker.running, whole=False)

    def _hear_end(self, lane: Lane, job: Job, *, whole: bool) -> None:
        for ear in self.ears:
            ear.ended(job.name, lane, whole=whole)

    def _tell(self, lane: Lane, name: str, *arguments: object) -> None:
        if lane.guest is not None and not lane.guest.over:
            word = ToHolder(self, lane.guest, lane.lease, name, arguments)
            self._travel(lane.machine, lane.guest.home, word)

    def _travel(self, source: Machine, target: Machine, word: ToLane | ToHolder) -> None:
        if source is target:
            self.world.later(LOCAL_WORD_NS, self.world.on, target, self._land, word, target, target.boot)
        else:
            self.world.sessions.send(source, target.id, word, is_word=True)

    def _land(self, word: ToLane | ToHolder, target: Machine, boot: int) -> None:
        if target.boot == boot:
            word.arrive(target)


def answer_to(name: str) -> str:
    """Return the right result of a call."""
    return f"result of {name}"
