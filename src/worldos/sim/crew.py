"""The leases of a simulated runner for tasks of one need, and the attempts that wait for one of them.

A model of ``jobs/crew``: leases are asked for one after another while more attempts wait than berths are free; one that was
granted serves attempt after attempt and is given back when none came for a while; when nothing is granted and nothing runs for
long, the attempts that wait are handed back to the line. The lease and its worker are those of the simulated world (lanes.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.kernel.events import UseAsked, UseEnded
from worldos.kernel.line.rooms import amounts
from worldos.model.ids import LeaseId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseAdded, LeaseDoubted, LeaseLost, LeaseWanted, UseGranted, UseRefused
from worldos.model.need import All, Compare, LeaseTerms, Need
from worldos.model.work import Lost
from worldos.sim.attempt import Run, name_of, service_ns
from worldos.sim.lanes import Job, ToLane, answer_to

if TYPE_CHECKING:
    from worldos.sim.runner import Runner

# As in jobs/limits: that room is above this one.
BERTH_IDLE_NS: Final = 1 * SECOND
BERTHS_MAX: Final = 512
LEASE_TTL_NS: Final = 10 * SECOND
CUT_OFF_NS: Final = LEASE_TTL_NS * 9 // 8 + 1 * SECOND
LEASE_WAIT_NS: Final = 30 * SECOND
REFUSED_WAIT_NS: Final = 15 * SECOND
ASK_AGAIN_NS: Final = 500 * MS

UseWord = UseGranted | UseRefused | LeaseAdded | LeaseLost | LeaseDoubted | LeaseWanted


class Berth:
    """One lease of a runner: asked for, opened, used for one attempt after another, given back. It is the lane's holder."""

    def __init__(self, crew: Crew, use: UseId) -> None:
        self.crew = crew
        self.runner = crew.runner
        self.home = crew.runner.machine
        self.use = use
        self.over = False
        self.terms: LeaseTerms | None = None
        self.run: Run | None = None
        self.calls = 0
        self.manned = False  # its worker stands
        self._idle_turn = 0

    @property
    def idle(self) -> bool:
        """Whether it waits for an attempt."""
        return self.terms is not None and self.run is None

    def granted(self, terms: LeaseTerms) -> None:
        """There is the lease: knock at its lane."""
        self.terms = terms
        self._send()

    def begin(self, run: Run) -> None:
        """Have an attempt run."""
        assert self.terms is not None
        self.run, run.berth = run, self
        self.calls += 1
        self.runner.began(run, self.terms.node)
        job = Job(name_of(run.attempt), self.calls, 0, service_ns(run.spec))
        self._send(jobs=(job,))

    def stop(self, run: Run) -> None:
        """Have what runs here stop."""
        if self.run is run:
            self._send(stop=self.calls)

    def _send(self, jobs: tuple[Job, ...] = (), stop: int = -1) -> None:
        if self.terms is not None:
            world = self.runner.world
            word = ToLane(world.lanes, self, self.terms.lease, 0, jobs, 0, (), stop)
            world.lanes.send(world.by_id[self.terms.node], word)

    def rest(self) -> None:
        """Wait for the next attempt, but not for long."""
        self._idle_turn += 1
        self.runner.after(BERTH_IDLE_NS, self._rested, self._idle_turn)

    def _rested(self, turn: int) -> None:
        if not self.over and self.run is None and turn == self._idle_turn:
            self.crew.leave(self)

    # -- what its lane says ------------------------------------------------------------------------------------------------

    def staffed(self, lease: LeaseId, place: int) -> None:
        """Its worker stands."""
        del lease, place
        if not self._ended() and not self.manned:
            self.manned = True
            self.crew.serve(self)

    def worker_ended(self, lease: LeaseId, place: int) -> None:
        """Its worker died."""
        del lease, place
        self._broken("its worker died")

    def result(self, job: Job, answer: str) -> None:
        """What ran here has come to its end."""
        assert answer == answer_to(job.name), answer
        run = self._done(job)
        if run is not None:
            self.runner.finished(run)
            self.crew.serve(self)

    def stopped(self, job: Job) -> None:
        """What ran here was stopped."""
        run = self._done(job)
        if run is not None:
            self.runner.say(run, run.unbegun())
            self.crew.serve(self)

    def given_back(self, worker: int, calls: tuple[int, ...]) -> None:
        """Nothing is asked back here."""
        raise AssertionError((worker, calls))

    def closed(self, lease: LeaseId) -> None:
        """The lane is no more."""
        del lease
        self._broken("its lane was closed")

    def lost(self) -> None:
        """The lease is no more; where its node is only cut off, it goes on there for as long as it was granted."""
        afar = self.terms is not None and self.terms.node != self.runner.machine.id
        self._broken("its lease was lost", CUT_OFF_NS if afar else 0)

    def _done(self, job: Job) -> Run | None:
        if self._ended() or self.run is None or job.call != self.calls:
            return None
        run, self.run = self.run, None
        run.berth = None
        return run

    def _broken(self, why: str, wait_ns: int = 0) -> None:
        if self._ended():
            return
        run, self.run = self.run, None
        if run is not None:
            run.berth = None
            if wait_ns and not run.spec.twice and not run.dropped:
                self.runner.after(wait_ns, self._lost_now, run, why)
            else:
                self._lost_now(run, why)
        self.crew.leave(self, wait_ns=0 if self.manned else ASK_AGAIN_NS)

    def _lost_now(self, run: Run, why: str) -> None:
        self.runner.say(run, None if run.dropped else Lost(attempt=run.attempt, why=why))

    def _ended(self) -> bool:
        return self.over or self.runner.over


def _not_at(runner: Runner, apart: tuple[str, ...]) -> list[Compare]:
    """Say which machines may not do a task: those whose owners did it or are at it; once ours did, all but ours."""
    barred = [each for each in runner.world.machines if each.owner and (each.owner in apart or "" in apart)]
    return [Compare(fact="node", op="!=", value=str(each.id)) for each in barred] if apart else []


class Crew:
    """The berths for one need."""

    def __init__(self, runner: Runner, need: Need, apart: tuple[str, ...] = ()) -> None:
        self.runner = runner
        kept = _not_at(runner, apart)
        if kept:
            need = msgspec.structs.replace(need, where=All(parts=(*([need.where] if need.where else []), *kept)))
        self._need = msgspec.structs.replace(need, workers=1, near=need.near or str(runner.machine.id))
        self._waiting: deque[Run] = deque()
        self._berths: dict[UseId, Berth] = {}
        self._asking: Berth | None = None
        self._rests = False  # after a refusal
        self._refused_ns = 0  # since when nothing was granted and nothing ran

    def add(self, runs: list[Run]) -> None:
        """Take attempts in."""
        self._waiting.extend(runs)
        for berth in list(self._berths.values()):
            if berth.idle and berth.manned and self._waiting:
                self.serve(berth)
        self._seek()

    def withdraw(self, run: Run) -> bool:
        """Take an attempt out, if it still waits for a berth."""
        if run not in self._waiting:
            return False
        self._waiting.remove(run)
        return True

    @property
    def leased(self) -> dict[str, int]:
        """What there are leases for on this machine, by kind."""
        here = sum(
            berth.terms is not None and berth.terms.node == self.runner.machine.id for berth in self._berths.values()
        )
        return {kind: amount * here for kind, amount in amounts(self._need).items()} if here else {}

    @property
    def empty(self) -> bool:
        """Whether there is nothing left of it."""
        return not (self._waiting or self._berths or self._asking or self._rests)

    def told(self, message: UseWord) -> None:
        """Take in a word of the agent about one of its uses."""
        if self._asking is not None and message.use == self._asking.use:
            self._answered(message)
            return
        berth = self._berths.get(message.use)
        if berth is not None and isinstance(message, LeaseLost):
            berth.lost()

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _seek(self) -> None:
        """Ask for a lease, if more wait than are served at once."""
        idle = sum(berth.idle for berth in self._berths.values())
        if self._asking or self._rests or len(self._waiting) <= idle or len(self._berths) >= BERTHS_MAX:
            return
        runner = self.runner
        use = UseId(runner.next_use())
        self._asking = Berth(self, use)
        nonce = runner.world.dice.getrandbits(63)
        runner.after(LEASE_WAIT_NS, self._unanswered, self._asking)
        runner.feed(
            lambda now_ns: UseAsked(
                now_ns=now_ns, client=runner.client, use=use, needs=(self._need,), ttl_ns=LEASE_TTL_NS, nonce=nonce
            )
        )

    def _answered(self, message: UseWord) -> None:
        berth = self._asking
        assert berth is not None
        if isinstance(message, UseRefused):
            self._refused(berth)
        elif isinstance(message, UseGranted):
            self._asking, self._refused_ns = None, 0
            self._berths[berth.use] = berth
            berth.granted(message.leases[0])
            self.runner.tidy()
            self._seek()

    def _unanswered(self, berth: Berth) -> None:
        if self._asking is berth:
            self._refused(berth)

    def _refused(self, berth: Berth) -> None:
        """Wait a little after a refusal; hand back what waits when that went on for long."""
        self._asking, self._rests = None, True
        self._give_back(berth)
        runner = self.runner
        if self._berths:
            self._refused_ns = 0
        elif not self._refused_ns:
            self._refused_ns = runner.now_ns
        elif runner.now_ns > self._refused_ns + REFUSED_WAIT_NS:
            self._refused_ns = 0
            hopeless, self._waiting = self._waiting, deque()
            for run in hopeless:
                runner.say(run, Lost(attempt=run.attempt, why="no lease can be had"))
        runner.after(ASK_AGAIN_NS, self._rested)

    def _rested(self) -> None:
        self._rests = False
        self._seek()
        self.runner.tidy()

    # -- berths ------------------------------------------------------------------------------------------------------------

    def serve(self, berth: Berth) -> None:
        """Give a berth its next attempt, or let it wait for one."""
        if self._waiting:
            berth.begin(self._waiting.popleft())
        else:
            berth.rest()

    def leave(self, berth: Berth, *, wait_ns: int = 0) -> None:
        """Give a berth's lease back; ``wait_ns``: until another may be asked for in its place."""
        del self._berths[berth.use]
        self._give_back(berth)
        if wait_ns and not self._rests:
            self._rests = True
            self.runner.after(wait_ns, self._rested)
        self._seek()
        self.runner.tidy()

    def _give_back(self, berth: Berth) -> None:
        berth.over = True
        runner = self.runner
        runner.feed(lambda now_ns: UseEnded(now_ns=now_ns, client=runner.client, use=berth.use))
