"""Programs: what people run. Each asks for a use, submits calls to the workers behind its leases, and ends, well or badly.

Its calls are kept by the real ``kernel.calls.Calls``. It does what the SDK does (sdk/holding.py, lanes/client.py): doors in,
doors out, a silent node doubted and trusted again. Its verdicts are kept for the checkers: which calls it submitted, and what
came out for each.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from worldos.kernel.call_messages import (
    CallsRevoked,
    CallSubmitted,
    ClockTicked,
    DeliverCancelled,
    DeliverError,
    DeliverResult,
    Effect,
    Loss,
    ResultsArrived,
    RevokeCalls,
    SendCall,
    WorkerDoubted,
    WorkerJoined,
    WorkerLost,
    WorkersEnded,
    WorkerTrusted,
)
from worldos.kernel.calls import Calls
from worldos.kernel.events import ClientGone, UseAsked, UseEnded
from worldos.model.ids import ClientId, LeaseId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseAdded, LeaseDoubted, LeaseLost, LeaseWanted, ToClient, UseGranted, UseRefused
from worldos.model.need import LeaseTerms, Need
from worldos.model.resource import Kind
from worldos.sim.lanes import Job, ToLane, answer_to
from worldos.sim.machine import Machine

if TYPE_CHECKING:
    from worldos.sim.world import World

PATIENCE_NS: Final = 6 * SECOND
TICK_NS: Final = 500 * MS


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is going to do. ``dies_after_ns``: it is killed then; 0: it ends well."""

    needs: tuple[Need, ...]
    ttl_ns: int
    calls: int
    retries: int
    service_ns: int
    rest_ns: int
    dies_after_ns: int = 0


class Ended(msgspec.Struct, frozen=True):
    """How a call ended: a result (``failure`` is empty), or an error."""

    call: int
    failure: str


class Program:
    """One program on one machine. ``over``: it has ended, and hears nothing more."""

    def __init__(self, world: World, home: Machine, number: int, plan: Plan) -> None:
        self.world = world
        self.home = home
        self.plan = plan
        self.client = ClientId(f"c{number}")
        self.use = UseId(f"u{number}")
        self.over = False
        self.killed_early = False
        self.refusal = ""
        self.granted: tuple[LeaseTerms, ...] = ()
        self.submitted: dict[int, int] = {}  # call -> retries
        self.ended: list[Ended] = []
        self.wrong: list[str] = []
        self._calls = Calls(patience_ns=PATIENCE_NS)
        self._doors: dict[LeaseId, LeaseTerms] = {}
        self._workers: dict[int, tuple[LeaseId, int]] = {}
        self._doubted: set[LeaseId] = set()
        self._number = 0

    def __repr__(self) -> str:
        return f"program {self.client} on {self.home.name}"

    # -- its life -----------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Ask for what it needs."""
        world, home = self.world, self.home
        world.clients[self.client] = (home, self)
        event = UseAsked(
            now_ns=world.clock_of(home),
            client=self.client,
            use=self.use,
            needs=self.plan.needs,
            ttl_ns=self.plan.ttl_ns,
            nonce=world.dice.getrandbits(63),
        )
        if self.plan.dies_after_ns:
            world.later(self.plan.dies_after_ns, world.on, home, self.die)
        world.feed(home, event)

    def die(self) -> None:
        """End without a word; the agent sees its socket close."""
        if not self.over:
            self.killed_early = bool(self.submitted) and len(self.ended) < len(self.submitted)
            self._end()
            self.world.feed(self.home, ClientGone(now_ns=self.world.clock_of(self.home), client=self.client))

    def killed(self) -> None:
        """End with its machine."""
        self.killed_early = not self.over
        self.over = True

    def finish(self) -> None:
        """Give everything back, and end."""
        if not self.over:
            self._end()
            now_ns = self.world.clock_of(self.home)
            self.world.feed(self.home, UseEnded(now_ns=now_ns, client=self.client, use=self.use))
            self.world.feed(self.home, ClientGone(now_ns=now_ns, client=self.client))

    def _end(self) -> None:
        self.over = True
        self.world.clients.pop(self.client, None)

    def _submit(self) -> None:
        if self.over:
            return
        if len(self.submitted) < self.plan.calls:
            call = len(self.submitted)
            self.submitted[call] = self.plan.retries
            self._act(self._calls.handle(CallSubmitted(call=call, retries=self.plan.retries)))
            self.world.later(self.plan.rest_ns, self.world.on, self.home, self._submit)

    def _tick(self) -> None:
        if not self.over:
            self._act(self._calls.handle(ClockTicked(now_ns=self.world.clock_of(self.home))))
            self.world.later(TICK_NS, self.world.on, self.home, self._tick)

    # -- what its agent says --------------------------------------------------------------------------------------------------

    def told(self, message: ToClient) -> None:
        """Take in what the agent says."""
        if self.over:
            return
        if isinstance(message, UseGranted):
            self.granted = message.leases
            for terms in message.leases:
                self._open(terms)
            self._tick()
            self._submit()
        elif isinstance(message, UseRefused):
            self.refusal = message.reason
            self.finish()
        elif isinstance(message, LeaseAdded):
            self._open(message.terms)
        elif isinstance(message, LeaseLost):
            self.closed(message.lease)
            self._doors.pop(message.lease, None)
            if not message.replacing and not self._doors:
                self._act(self._calls.handle(WorkersEnded()))
        elif isinstance(message, LeaseWanted):
            if self.world.dice.random() < 0.5:  # some end over it, some let it come to the end of the grace
                self.die()
        elif isinstance(message, LeaseDoubted):
            self._doubt(message.lease, doubted=message.doubted)

    def _open(self, terms: LeaseTerms) -> None:
        self._doors[terms.lease] = terms
        machine = self.world.by_id[terms.node]
        self.world.lanes.send(machine, ToLane(self.world.lanes, self, terms.lease))

    def _doubt(self, lease: LeaseId, *, doubted: bool) -> None:
        if doubted:
            self._doubted.add(lease)
        else:
            self._doubted.discard(lease)
        event = WorkerDoubted if doubted else WorkerTrusted
        for worker, (of, _) in list(self._workers.items()):
            if of == lease:
                self._act(self._calls.handle(event(worker=worker)))

    # -- what its lanes say ---------------------------------------------------------------------------------------------------

    def staffed(self, lease: LeaseId, place: int) -> None:
        """A worker stands at this place: give it work."""
        if lease not in self._doors or (lease, place) in self._workers.values():
            return
        self._number += 1
        self._workers[self._number] = (lease, place)
        self._act(self._calls.handle(WorkerJoined(worker=self._number)))
        if lease in self._doubted:
            self._act(self._calls.handle(WorkerDoubted(worker=self._number)))

    def worker_ended(self, lease: LeaseId, place: int) -> None:
        """A worker died by itself."""
        self._lose((lease, place), Loss.CRASHED)

    def result(self, job: Job, answer: str) -> None:
        """Take in a result."""
        if answer != answer_to(job.name):
            self.wrong.append(f"{job.name} gave {answer!r}")
        event = ResultsArrived(worker=job.worker, calls=(job.call,), busy_ns=job.service_ns)
        self._act(self._calls.handle(event))

    def given_back(self, worker: int, calls: tuple[int, ...]) -> None:
        """A worker gave calls back."""
        self._act(self._calls.handle(CallsRevoked(worker=worker, calls=calls)))

    def stopped(self, job: Job) -> None:
        """Nobody stops what a program runs."""
        raise AssertionError(job)

    def closed(self, lease: LeaseId) -> None:
        """A lane is no more: all its workers are lost."""
        if not self.over:
            for worker, (of, place) in list(self._workers.items()):
                if of == lease and worker in self._workers:
                    self._lose((of, place), Loss.NODE_GONE)

    def _lose(self, where: tuple[LeaseId, int], loss: Loss) -> None:
        for worker, place in list(self._workers.items()):
            if place == where:
                del self._workers[worker]
                now_ns = self.world.clock_of(self.home)
                self._act(self._calls.handle(WorkerLost(worker=worker, loss=loss, now_ns=now_ns)))

    # -- what its calls want --------------------------------------------------------------------------------------------------

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendCall():
                    job = Job(f"{self.client}/{effect.call}", effect.call, effect.worker, self.plan.service_ns)
                    self._say(effect.worker, jobs=(job,))
                case RevokeCalls():
                    self._say(effect.worker, revoke=effect.calls)
                case DeliverResult():
                    self.ended.append(Ended(effect.call, ""))
                case DeliverError():
                    self.ended.append(Ended(effect.call, effect.failure.value))
                case DeliverCancelled():
                    raise AssertionError("nothing was cancelled")
                case _:
                    assert_never(effect)
        if len(self.ended) >= self.plan.calls:
            self.world.later(0, self.world.on, self.home, self.finish)

    def _say(self, worker: int, *, jobs: tuple[Job, ...] = (), revoke: tuple[int, ...] = ()) -> None:
        where = self._workers.get(worker)
        if where is not None:
            lease, place = where
            machine = self.world.by_id[self._doors[lease].node]
            word = ToLane(self.world.lanes, self, lease, place, jobs, worker, revoke)
            self.world.lanes.send(machine, word)


def plan_by_chance(dice: Random) -> Plan:
    """Make up a program: small or large, alone or a gang, patient or not."""
    cores = (500, 1000, 2000, 4000)
    kind = dice.random()
    memory = int(dice.random() * 4) << 30 if dice.random() < 0.4 else 0
    if kind < 0.55:
        needs: tuple[Need, ...] = (Need(kind=Kind.CPU, amount=_one_of(dice, cores), memory_bytes=memory),)
    elif kind < 0.85:
        part = Need(kind=Kind.CPU, amount=_one_of(dice, cores[:3]), memory_bytes=memory, apart=dice.random() < 0.6)
        needs = (part,) * (2 + int(dice.random() * 2))
    elif kind < 0.93:
        needs = (Need(kind=Kind.MEMORY, amount=(1 + int(dice.random() * 4)) << 30),)
    else:
        needs = (Need(kind=Kind.CPU, amount=1_000_000, memory_bytes=memory),)  # more than there is
    if dice.random() < 0.3:
        gain_ms, priority = _one_of(dice, (1, 10, 100)), _one_of(dice, (-1, 0, 0, 1))
        needs = tuple(msgspec.structs.replace(need, yields=gain_ms, priority=priority) for need in needs)
    return Plan(
        needs=needs,
        ttl_ns=(2 + int(dice.random() * 8)) * SECOND,
        calls=1 + int(dice.random() * 30),
        retries=_one_of(dice, (0, 0, 1, 3, 3)),
        service_ns=_one_of(dice, (1, 10, 50, 300)) * MS,
        rest_ns=_one_of(dice, (1, 20, 200)) * MS,
        dies_after_ns=int(dice.random() * 8 * SECOND) if dice.random() < 0.25 else 0,
    )


def _one_of(dice: Random, choices: tuple[int, ...]) -> int:
    return choices[int(dice.random() * len(choices))]
