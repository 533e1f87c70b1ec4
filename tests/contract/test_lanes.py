"""What both kinds of lanes promise: as many workers as the lease says, calls answered, the dead replaced, the end an end.

``agent``: worker processes, reached by the real client. ``sim``: simulated workers, reached by a simulated program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.sim.worlds import plan, world_of
from worldos.agent.lanes import Lanes as AgentLanes
from worldos.agent.scanner import Scanner
from worldos.lanes.client import Door, Lane
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import UseGranted
from worldos.model.need import LeaseTerms, Need
from worldos.model.wire import LeaseAsk
from worldos.ports import Lanes
from worldos.sim.programs import Program

PATIENCE_S = 45.0


class Stage(Protocol):
    """One machine and one holder. ``ended`` counts outcomes of calls: True is a result."""

    ended: list[bool]

    @property
    def lanes(self) -> Lanes:
        """The port."""

    def terms(self, cores: int) -> LeaseTerms: ...
    def workers(self, terms: LeaseTerms) -> int: ...
    def call(self, terms: LeaseTerms, calls: int, *, seconds: float = 0.001) -> None: ...
    def kill_one(self, terms: LeaseTerms) -> None: ...
    def wait(self, condition: Callable[[], bool]) -> bool: ...
    def close(self) -> None: ...


class OnLoop:
    """The agent's lanes, called from the loop's own thread."""

    def __init__(self, stage: RealStage) -> None:
        self.stage = stage

    def open(self, terms: LeaseTerms) -> None:
        self.stage.call_in_loop(self.stage.real.open, terms)

    def end(self, lease: LeaseId) -> None:
        self.stage.call_in_loop(self.stage.real.end, lease)


class RealStage:
    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.real = AgentLanes(Scanner([str(folder)], print), lambda lease, why: pytest.fail(why))
        self.do(self.real.start())
        self.lanes = OnLoop(self)
        self.ended: list[bool] = []
        self.pids: set[int] = set()
        self.held: list[Lane] = []
        self.number = 0

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def call_in_loop(self, function, *arguments) -> None:
        async def run() -> None:
            function(*arguments)

        self.do(run())

    def terms(self, cores: int) -> LeaseTerms:
        self.number += 1
        return LeaseTerms(
            lease=LeaseId(f"l{self.number}"),
            node=NodeId("n"),
            boot=1,
            need=Need(kind="CPU", amount=cores * 1000),
            resources=(ResourceId("n/cpu/0"),),
            ttl_ns=10**10,
        )

    def workers(self, terms: LeaseTerms) -> int:
        return self.real.statistics().get(terms.lease, {}).get("workers", 0)

    def call(self, terms: LeaseTerms, calls: int, *, seconds: float = 0.001) -> None:
        paths = self.do(self.real.paths_of(terms.lease))
        lane = Lane([Door(path=path, node="here", local=True) for path in paths], patience_s=2.0)
        self.held.append(lane)
        for _ in range(calls):
            lane.submit(time.sleep, seconds).add_done_callback(lambda done: self.ended.append(done.exception() is None))
        lane.submit(os.getpid).add_done_callback(lambda done: done.exception() or self.pids.add(done.result()))

    def kill_one(self, terms: LeaseTerms) -> None:
        (use,) = [use for use in self.real._host.statistics() if use.lease == terms.lease]
        os.kill(use.pids[0], signal.SIGKILL)

    def wait(self, condition: Callable[[], bool]) -> bool:
        end_s = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < end_s:
            time.sleep(0.01)
        return condition()

    def close(self) -> None:
        for lane in self.held:
            lane.shutdown(wait=False, cancel_futures=True)
        self.do(self.real.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(15)
        self.loop.close()


class SimulatedStage:
    def __init__(self, folder: Path) -> None:
        self.world = world_of(8)
        self.machine = self.world.machines[0]
        self.lanes = self.machine.lanes
        self.programs: list[Program] = []
        self.number = 0

    @property
    def ended(self) -> list[bool]:
        return [not each.failure for program in self.programs for each in program.ended]

    def terms(self, cores: int) -> LeaseTerms:
        self.number += 1
        need = Need(kind="CPU", amount=cores * 1000)
        resource = next(name for name in self.machine.node.leases.kinds if "/cpu/" in name)
        ask = LeaseAsk(
            ask=self.number, use=UseId("u"), need=need, resources=(resource,), ttl_ns=60 * SECOND, hold=False
        )
        effects = self.machine.node.leases.ask(self.world.clock_of(self.machine), self.machine.id, ask)
        return effects[0].terms

    def workers(self, terms: LeaseTerms) -> int:
        lane = self.world.lanes.lanes.get(terms.lease)
        return sum(worker is not None for worker in lane.workers) if lane is not None else 0

    def call(self, terms: LeaseTerms, calls: int, *, seconds: float = 0.001) -> None:
        what = plan(terms.need.amount, calls=calls, service_ns=int(seconds * 1e9), rest_ns=0)
        program = Program(self.world, self.machine, self.number, what)
        self.programs.append(program)
        program.told(UseGranted(use=program.use, leases=(terms,)))

    def kill_one(self, terms: LeaseTerms) -> None:
        self.world.lanes.kill_worker(self.world.lanes.lanes[terms.lease], 0)

    def wait(self, condition: Callable[[], bool]) -> bool:
        end_ns = self.world.now_ns + int(PATIENCE_S * 1e9)
        while not condition() and self.world.now_ns < end_ns:
            self.world.run_until(self.world.now_ns + 10 * MS)
        return condition()

    def close(self) -> None:
        pass


@pytest.fixture(params=[RealStage, SimulatedStage], ids=["agent", "sim"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = request.param(tmp_path)
    yield made
    made.close()


def test_as_many_workers_stand_as_the_lease_has_cores(stage: Stage) -> None:
    terms = stage.terms(2)
    stage.lanes.open(terms)
    assert stage.wait(lambda: stage.workers(terms) == 2)


def test_calls_are_answered_once_each(stage: Stage) -> None:
    terms = stage.terms(2)
    stage.lanes.open(terms)
    stage.call(terms, 50)
    assert stage.wait(lambda: len(stage.ended) >= 50)
    assert stage.ended == [True] * 50


def test_a_worker_that_dies_is_replaced_and_its_call_runs_again(stage: Stage) -> None:
    terms = stage.terms(1)
    stage.lanes.open(terms)
    stage.call(terms, 3, seconds=0.3)
    assert stage.wait(lambda: len(stage.ended) == 1)
    stage.kill_one(terms)
    assert stage.wait(lambda: len(stage.ended) >= 3)
    assert stage.ended == [True] * 3
    assert stage.workers(terms) == 1


def test_after_the_end_nothing_runs_and_every_call_has_an_outcome(stage: Stage) -> None:
    terms = stage.terms(1)
    stage.lanes.open(terms)
    stage.call(terms, 20, seconds=0.2)
    assert stage.wait(lambda: len(stage.ended) >= 1)
    stage.lanes.end(terms.lease)
    assert stage.wait(lambda: stage.workers(terms) == 0)
    assert stage.wait(lambda: len(stage.ended) >= 20)
    assert stage.ended.count(False) > 0
    assert len(stage.ended) == 20


def test_one_lane_ends_without_the_other(stage: Stage) -> None:
    one, other = stage.terms(1), stage.terms(1)
    stage.lanes.open(one)
    stage.lanes.open(other)
    assert stage.wait(lambda: stage.workers(one) == stage.workers(other) == 1)
    stage.lanes.end(one.lease)
    assert stage.wait(lambda: stage.workers(one) == 0)
    assert stage.workers(other) == 1


def test_a_lane_may_end_while_it_is_staffed_and_twice_and_unknown(stage: Stage) -> None:
    terms = stage.terms(2)
    stage.lanes.open(terms)
    stage.lanes.end(terms.lease)
    stage.lanes.end(terms.lease)
    stage.lanes.end(LeaseId("never was"))
    assert stage.wait(lambda: stage.workers(terms) == 0)
